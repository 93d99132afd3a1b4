import http from 'node:http';
import net from 'node:net';
import type { Address } from '@causeway/ip';
import type { HealthCheck } from '@causeway/loadbalancing';

/** Where and how to try. */
export interface ProbeTarget {
  readonly address: Address;
  readonly port: number;
  readonly check: HealthCheck;
}

/** One try: undefined, or why it failed. Never throws; an aborted one counts as failed. */
export type Probe = (target: ProbeTarget, signal: AbortSignal) => Promise<string | undefined>;

/** Headers of an answer that are read at most; its body is not read at all. */
const MAX_HEADERS = 16_384;

/**
 * Tries from the node's own network, the way in which its probes of pods go. What a hostile backend can cost is one
 * socket until the time is over.
 */
export const probe: Probe = (target, signal) => {
  const { check } = target;
  const time = AbortSignal.timeout(check.timeoutMs);
  const both = AbortSignal.any([signal, time]);
  const failed = (error: Error) =>
    time.aborted ? `no answer in ${check.timeoutMs} ms` : reasonOf(error);
  return check.type === 'tcp' ? tryTcp(target, both, failed) : tryHttp(target, both, failed);
};

type Failed = (error: Error) => string;

function tryTcp({ address, port }: ProbeTarget, signal: AbortSignal, failed: Failed) {
  return new Promise<string | undefined>((resolve) => {
    const socket = net.connect({ host: address, port });
    const end = (result: string | undefined) => {
      signal.removeEventListener('abort', give);
      socket.destroy();
      resolve(result);
    };
    const give = () => end(failed(signal.reason as Error));
    signal.addEventListener('abort', give);
    socket.once('connect', () => end(undefined));
    socket.on('error', (error) => end(failed(error)));
  });
}

function tryHttp({ address, port, check }: ProbeTarget, signal: AbortSignal, failed: Failed) {
  return new Promise<string | undefined>((resolve) => {
    const request = http.get({
      host: address,
      port,
      path: check.path,
      agent: false,
      signal,
      maxHeaderSize: MAX_HEADERS,
      headers: { 'user-agent': 'causeway-health-check', connection: 'close' },
    });
    request.once('response', (response) => {
      const { statusCode = 0 } = response;
      response.on('error', () => {});
      response.destroy();
      resolve(statusCode >= 200 && statusCode < 400 ? undefined : `HTTP status ${statusCode}`);
    });
    // A protocol switch is an answer, but not one that was asked for.
    request.once('upgrade', (_, socket) => {
      socket.destroy();
      resolve('HTTP status 101');
    });
    request.on('error', (error) => resolve(failed(error)));
    request.once('close', () => resolve('the connection was closed without an answer'));
  });
}

function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'no route';
    case 'ECONNRESET':
      return 'connection reset';
    default:
      return (code ?? error.message).slice(0, 100);
  }
}
