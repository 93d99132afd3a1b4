import type { IncomingMessage } from 'node:http';
import { ApiError, DaemonError, type ErrorBody } from './errors.ts';
import { request } from './http.ts';

/** For an answer, where nothing else is said. */
const TIMEOUT_MS = 10_000;
/** A line or an answer longer than this is no answer of ours. */
const MAX_ANSWER = 256 * 1024 * 1024;
const MAX_LINE = 16 * 1024 * 1024;

/** Another program's API over its Unix socket. `program` names it in errors. */
export class ApiClient {
  readonly program: string;
  readonly socket: string;
  readonly #timeoutMs: number;
  readonly #hint: string | undefined;

  /** `hint` says what to do when nobody answers. */
  constructor(program: string, socket: string, timeoutMs = TIMEOUT_MS, hint?: string) {
    this.program = program;
    this.socket = socket;
    this.#timeoutMs = timeoutMs;
    this.#hint = hint;
  }

  /**
   * The answer's body. @throws DaemonError `unreachable`, or ApiError with the code, field, value and
   * hint that the program refused with.
   */
  async ask(
    method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<unknown> {
    const response = await this.#call(method, path, body, undefined);
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of response) {
        chunks.push(chunk as Buffer);
        length += (chunk as Buffer).length;
        if (length > MAX_ANSWER) throw new Error(`an answer of over ${MAX_ANSWER} bytes`);
      }
    } catch (cause) {
      throw this.#unreachable(cause);
    }
    const value = this.#parse(Buffer.concat(chunks).toString());
    if ((response.statusCode ?? 500) >= 400) throw this.#refusal(response.statusCode, value);
    return value;
  }

  /**
   * Lines of a stream, each parsed, until the signal aborts; then it ends. @throws as `ask` does, and
   * `unreachable` when the program ends the stream.
   */
  async *lines(path: string, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    let rest = '';
    try {
      const response = await this.#call('GET', path, undefined, signal);
      for await (const chunk of response.setEncoding('utf8')) {
        const lines = (rest + String(chunk)).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > MAX_LINE) throw new Error(`a line of over ${MAX_LINE} characters`);
        if ((response.statusCode ?? 500) >= 400) continue;
        for (const line of lines) if (line !== '') yield this.#parse(line);
      }
      if ((response.statusCode ?? 500) >= 400)
        throw this.#refusal(response.statusCode, this.#parse(rest));
    } catch (cause) {
      if (signal.aborted) return;
      throw cause instanceof ApiError ? cause : this.#unreachable(cause);
    }
    if (!signal.aborted) throw this.#unreachable(new Error('it ended the stream'));
  }

  #call(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.socket,
        method,
        path,
        agent: false,
        // A stream may be silent for as long as nothing happens.
        ...(signal === undefined ? { timeout: this.#timeoutMs } : { signal }),
        headers:
          text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
      });
      call.on('response', resolve);
      call.on('timeout', () => call.destroy(new Error(`no answer in ${this.#timeoutMs / 1000} s`)));
      call.on('error', (cause) => reject(this.#unreachable(cause)));
      call.end(text);
    });
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw this.#unreachable(
        new Error(`no JSON but ${JSON.stringify(text.slice(0, 80))}`, { cause }),
      );
    }
  }

  #unreachable(cause: unknown): DaemonError {
    if (cause instanceof DaemonError) return cause;
    return new DaemonError(
      'unreachable',
      `the ${this.program} does not answer on ${this.socket}: ${(cause as Error).message}`,
      { value: this.socket, cause, ...(this.#hint === undefined ? {} : { hint: this.#hint }) },
    );
  }

  #refusal(status: number | undefined, body: unknown): ApiError {
    const error: Partial<ErrorBody['error']> = (body as Partial<ErrorBody> | null)?.error ?? {};
    return new ApiError(
      typeof error.code === 'string' ? error.code : 'internal',
      status ?? 500,
      `the ${this.program} refuses: ${String(error.message ?? 'without a reason')}`,
      {
        ...(typeof error.field === 'string' ? { field: error.field } : {}),
        ...(error.value === undefined ? {} : { value: error.value }),
        ...(typeof error.hint === 'string' ? { hint: error.hint } : {}),
      },
    );
  }
}
