/**
 * The quick way in. Starting Node takes longer than all the work of an ADD, so `bin/causeway-cni` first hands the
 * call over to the agent, which runs the same code (`execute`) in a process that is warm. Only if the agent does not
 * answer, the plugin starts its own Node and runs it there.
 *
 * The call goes as `POST /v1/cni` with a text body: one `NAME=VALUE` a line (CNI's variables; `AGENT_SOCKET`, the socket
 * that was called; `NETNS_HANDLE`, the namespace as the shell holds it open), an empty line, the configuration. The answer's status is 200 for exit code
 * 0 and 422 for exit code 1; its body is what goes to standard output.
 */
import { type CniCall, execute } from './execute.ts';
import { nodeSurroundings, writeLog } from './node-surroundings.ts';
import type { AgentTransport } from './transport.ts';

export const RELAY_PATH = '/v1/cni';
const NAMES = new Set([
  'CNI_COMMAND',
  'CNI_CONTAINERID',
  'CNI_NETNS',
  'CNI_IFNAME',
  'CNI_ARGS',
  'CNI_PATH',
]);

export interface RelayedCall extends CniCall {
  /** The socket over which the call came, by the caller's name for it. */
  readonly agentSocket: string;
}

/** Undefined for a body that is not of this form: the plugin then does without the relay. */
export function parseRelayedCall(body: string): RelayedCall | undefined {
  const environment: Record<string, string> = {};
  let netnsHandle: string | undefined;
  let agentSocket: string | undefined;
  let at = 0;
  for (;;) {
    const end = body.indexOf('\n', at);
    if (end < 0) return undefined;
    const line = body.slice(at, end);
    at = end + 1;
    if (line === '') break;
    const equals = line.indexOf('=');
    const name = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (name === 'NETNS_HANDLE') {
      if (!/^\/proc\/[1-9]\d{0,9}\/fd\/\d{1,7}$/.test(value)) return undefined;
      netnsHandle = value;
    } else if (name === 'AGENT_SOCKET') agentSocket = value;
    else if (NAMES.has(name)) environment[name] = value;
    else return undefined;
  }
  if (agentSocket === undefined) return undefined;
  const config = body.slice(at);
  return {
    environment,
    config,
    agentSocket,
    ...(netnsHandle === undefined ? {} : { netnsHandle }),
  };
}

export interface RelayAnswer {
  readonly status: 200 | 400 | 422;
  readonly body: string;
}

/** Answers a relayed call. `transport` reaches the agent's own routes without a socket. Never rejects. */
export async function answerRelayedCall(
  body: string,
  transport: AgentTransport,
): Promise<RelayAnswer> {
  const call = parseRelayedCall(body);
  if (call === undefined) return { status: 400, body: 'not a relayed CNI call\n' };
  const started = performance.now();
  const outcome = await execute(call, nodeSurroundings({ socket: call.agentSocket, transport }));
  writeLog(outcome, performance.now() - started);
  return { status: outcome.exitCode === 0 ? 200 : 422, body: outcome.stdout };
}
