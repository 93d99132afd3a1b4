import { request } from 'node:http';
import { LabError } from '../errors.ts';

/** An answer of the agent's HTTP API. */
export interface AgentAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** Asks an agent over its Unix socket. Throws `agent-failed` when nobody answers there. */
export function askAgent(
  socket: string,
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
  timeoutMs = 30_000,
): Promise<AgentAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void => {
      reject(
        new LabError(
          'agent-failed',
          `nobody at ${socket} answers ${method} ${path}: ${cause.message}`,
          {
            value: path,
            cause,
          },
        ),
      );
    };
    const text = body === undefined ? undefined : JSON.stringify(body);
    const call = request({
      socketPath: socket,
      method,
      path,
      timeout: timeoutMs,
      agent: false,
      headers:
        text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
    });
    call.on('timeout', () => call.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    call.on('error', fail);
    call.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        try {
          resolve({
            status: response.statusCode ?? 0,
            body: JSON.parse(Buffer.concat(chunks).toString()),
          });
        } catch (cause) {
          fail(cause as Error);
        }
      });
    });
    call.end(text);
  });
}
