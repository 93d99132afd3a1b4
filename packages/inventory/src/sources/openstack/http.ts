import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { InventoryError } from '../../errors.ts';

// Not by `import`: a module's facade of Node's HTTP loads fetch and WebSocket with it, some 14 MiB.
const http = process.getBuiltinModule('node:http');
const https = process.getBuiltinModule('node:https');

/** One exchange with a server, no more: no redirects, no retries, no tokens of its own. */
export interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
}

export type Transport = (exchange: Exchange, signal: AbortSignal) => Promise<Reply>;

export interface TransportOptions {
  readonly timeoutMs: number;
  readonly answerBytes: number;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

/**
 * HTTP/1.1 over kept connections. @throws InventoryError `source-unreachable` for what never was a whole
 * answer (also one that is cut off or takes too long), `bad-answer` for one that is too large.
 */
export function httpTransport(options: TransportOptions): Transport & AsyncDisposable {
  const agents = {
    'http:': new http.Agent({ keepAlive: true, maxSockets: 8 }),
    'https:': new https.Agent({ keepAlive: true, maxSockets: 8, ...options.tls }),
  };
  const send: Transport = async (exchange, signal) => {
    const url = new URL(exchange.url);
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(options.timeoutMs)]);
    try {
      const message = await open(url, agents, exchange, deadline);
      return {
        status: message.statusCode ?? 0,
        headers: singles(message),
        text: await read(message, options.answerBytes, url),
      };
    } catch (cause) {
      if (cause instanceof InventoryError) throw cause;
      const why = deadline.aborted && !signal.aborted ? ` within ${options.timeoutMs} ms` : '';
      throw new InventoryError(
        'source-unreachable',
        `no whole answer of ${url.host} to ${exchange.method} ${url.pathname}${why}`,
        { field: 'endpoints', value: url.origin, cause },
      );
    }
  };
  return Object.assign(send, {
    [Symbol.asyncDispose]: async () => {
      agents['http:'].destroy();
      agents['https:'].destroy();
    },
  });
}

function open(
  url: URL,
  agents: { readonly 'http:': RequestOptions['agent']; readonly 'https:': RequestOptions['agent'] },
  exchange: Exchange,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const request = (secure ? https : http).request(
      url,
      {
        method: exchange.method,
        agent: secure ? agents['https:'] : agents['http:'],
        signal,
        headers: {
          accept: 'application/json',
          ...(exchange.body === undefined
            ? {}
            : {
                'content-type': 'application/json',
                'content-length': String(Buffer.byteLength(exchange.body)),
              }),
          ...exchange.headers,
        },
      },
      resolve,
    );
    request.on('error', reject);
    request.end(exchange.body);
  });
}

async function read(message: IncomingMessage, limit: number, url: URL): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) {
      message.destroy();
      throw new InventoryError(
        'bad-answer',
        `${url.host} answers ${url.pathname} with more than ${limit} bytes`,
        { field: 'limits.answerBytes', value: limit, hint: 'ask for smaller pages or allow more' },
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function singles(message: IncomingMessage): Record<string, string | undefined> {
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(message.headers))
    headers[name] = Array.isArray(value) ? value[0] : value;
  return headers;
}
