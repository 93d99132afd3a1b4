import { dirname, join } from 'node:path';
import { ApiClient, ApiError, DaemonError } from '@causeway/daemon/client';
import { CliError } from './errors.ts';

const SILENT = 'is it running? its socket is named in the context, or give --context';
/** Some questions go to every node's whole table. */
const TIMEOUT_MS = 60_000;

/** The HTTP API of a node's agent, or of another program beside it, over its Unix socket. */
export class AgentClient {
  readonly node: string;
  /** As in `the agent on node-1 does not answer`. */
  readonly program: string;
  readonly #client: ApiClient;

  constructor(node: string, socket: string, program = 'agent') {
    this.node = node;
    this.program = program;
    this.#client = new ApiClient(`${program} on ${node}`, socket, TIMEOUT_MS, SILENT);
  }

  /** Another program of the same node, whose socket stands beside the agent's. */
  beside(program: string, file: string): AgentClient {
    return new AgentClient(this.node, join(dirname(this.#client.socket), file), program);
  }

  get(path: string): Promise<unknown> {
    return this.ask('GET', path);
  }

  /** The answer's body. Throws `unreachable`, or `agent-refused` with the agent's own words. */
  async ask(
    method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<unknown> {
    try {
      return await this.#client.ask(method, path, body);
    } catch (error) {
      throw inOurWords(error);
    }
  }

  /** Lines of a stream that goes on until the signal, each parsed. */
  async *stream(path: string, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    try {
      yield* this.#client.lines(path, signal);
    } catch (error) {
      throw inOurWords(error);
    }
  }
}

/** The program's error as one of ours, its own code kept for the exit status. */
function inOurWords(error: unknown): unknown {
  if (!(error instanceof ApiError)) return error;
  const { code, message, field, value, hint } = error;
  if (error instanceof DaemonError && code === 'unreachable')
    return new CliError('unreachable', message, {
      value,
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  const known = new CliError('agent-refused', message, {
    ...(field === undefined ? {} : { field }),
    value,
    ...(hint === undefined ? {} : { hint }),
  });
  return code === 'internal' ? known : Object.assign(known, { code });
}
