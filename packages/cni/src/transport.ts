import http from 'node:http';

/** An HTTP answer whose body was JSON, or is undefined where it was empty or something else. */
export interface AgentAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterSeconds?: number;
}

/** One request to the agent's API. Rejects with Unreachable, and with nothing else. */
export type AgentTransport = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
) => Promise<AgentAnswer>;

/** No answer came: nobody listens, the agent went away in the middle, or it took too long. */
export class Unreachable extends Error {
  readonly reason: string;

  constructor(socketPath: string, reason: string, cause?: unknown) {
    super(`no answer from the agent at ${socketPath}: ${reason}`, { cause });
    this.name = 'Unreachable';
    this.reason = reason;
  }
}

/** The largest answer that is read, in bytes: a list of 500 endpoints has about a quarter of it. */
const MAX_ANSWER_BYTES = 4 * 1_048_576;

export function socketTransport(socketPath: string, timeoutMs: number): AgentTransport {
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const fail = (reason: string, cause?: unknown) =>
        reject(new Unreachable(socketPath, reason, cause));
      const request = http.request({
        socketPath,
        method,
        path,
        headers: {
          connection: 'close',
          ...(payload === undefined
            ? {}
            : {
                'content-type': 'application/json',
                'content-length': Buffer.byteLength(payload),
              }),
        },
      });
      // A deadline for the whole exchange, so that an agent that answers by the byte ends it too.
      const deadline = setTimeout(() => {
        fail(`it took over ${timeoutMs / 1000} s`);
        request.destroy();
      }, timeoutMs);
      request.on('close', () => clearTimeout(deadline));
      request.on('error', (error: NodeJS.ErrnoException) =>
        fail(error.code ?? error.message, error),
      );
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          chunks.push(chunk);
          if (size <= MAX_ANSWER_BYTES) return;
          fail(`its answer has over ${MAX_ANSWER_BYTES} bytes`);
          request.destroy();
        });
        response.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
        response.on('end', () => {
          const after = Number(response.headers['retry-after']);
          resolve({
            status: response.statusCode ?? 0,
            body: parse(Buffer.concat(chunks).toString()),
            ...(after >= 0 ? { retryAfterSeconds: after } : {}),
          });
        });
      });
      request.end(payload);
    });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
