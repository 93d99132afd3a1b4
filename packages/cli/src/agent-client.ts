import type { IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { CliError } from './errors.ts';

// Not by import, which would load fetch and WebSocket with it: time for every command, memory for every daemon.
const { request } = process.getBuiltinModule('node:http');

const TIMEOUT_MS = 60_000;

/** The HTTP API of a node's agent, or of another program beside it, over its Unix socket. */
export class AgentClient {
  readonly node: string;
  /** As in `the agent on node-1 does not answer`. */
  readonly program: string;
  readonly #socket: string;

  constructor(node: string, socket: string, program = 'agent') {
    this.node = node;
    this.program = program;
    this.#socket = socket;
  }

  /** Another program of the same node, whose socket stands beside the agent's. */
  beside(program: string, file: string): AgentClient {
    return new AgentClient(this.node, join(dirname(this.#socket), file), program);
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
    const response = await this.#call(method, path, body, TIMEOUT_MS);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new CliError(
        'unreachable',
        `the ${this.program} on ${this.node} answered ${path} with no JSON`,
        {
          value: text.slice(0, 200),
          cause,
        },
      );
    }
    if ((response.statusCode ?? 500) >= 400) throw refusal(this, value);
    return value;
  }

  /** Lines of a stream that goes on until the signal, each parsed. */
  async *stream(path: string, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const response = await this.#call('GET', path, undefined, undefined, signal);
    let rest = '';
    try {
      for await (const chunk of response.setEncoding('utf8')) {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line) as unknown;
      }
    } catch (cause) {
      if (signal.aborted) return;
      throw new CliError(
        'unreachable',
        `the ${this.program} on ${this.node} hung up: ${(cause as Error).message}`,
        { cause },
      );
    }
    if ((response.statusCode ?? 500) >= 400) throw refusal(this, JSON.parse(rest || 'null'));
    if (!signal.aborted)
      throw new CliError('unreachable', `the ${this.program} on ${this.node} ended the stream`, {
        hint: 'it was stopped or is starting anew; call again',
      });
  }

  #call(
    method: string,
    path: string,
    body: unknown,
    timeout?: number,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.#socket,
        method,
        path,
        agent: false,
        ...(timeout === undefined ? {} : { timeout }),
        ...(signal === undefined ? {} : { signal }),
        headers:
          text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      });
      call.on('response', resolve);
      call.on('timeout', () => call.destroy(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)));
      call.on('error', (cause) => {
        reject(
          new CliError(
            'unreachable',
            `the ${this.program} on ${this.node} does not answer: ${cause.message}`,
            {
              value: this.#socket,
              hint: 'is it running? its socket is named in the context, or give --context',
              cause,
            },
          ),
        );
      });
      call.end(text);
    });
  }
}

/** The program's error as one of ours, its own code kept for the exit status. */
function refusal({ program, node }: AgentClient, body: unknown): Error {
  const error = (body as { error?: Partial<Record<string, unknown>> } | null)?.error ?? {};
  const known = new CliError(
    'agent-refused',
    `${program} on ${node}: ${String(error.message ?? 'refused without a reason')}`,
    {
      ...(typeof error.field === 'string' ? { field: error.field } : {}),
      value: error.value,
      ...(typeof error.hint === 'string' ? { hint: error.hint } : {}),
    },
  );
  return typeof error.code === 'string' ? Object.assign(known, { code: error.code }) : known;
}
