import type { z } from 'zod';
import { Answer } from './answer.ts';
import { fieldName, isSecret } from './config.ts';
import { DaemonError, errorBody } from './errors.ts';
import { issueText } from './issue-text.ts';
import {
  type ApiRequest,
  Context,
  findRoute,
  type Handler,
  type Method,
  type Route,
  type RouteOptions,
  segmentsOf,
} from './router.ts';
import { valueAt } from './schema-keys.ts';

export interface ApiOptions {
  /** As in `the agent has no GET /v1/x`. */
  readonly program: string;
  readonly requestBytes: number;
  /** What to change if a larger body was meant. */
  readonly bodyHint?: string;
  /** Told of what is our fault (5xx), not of what the caller did wrong. */
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

/**
 * An HTTP application that answers every refusal with our error body and takes no body larger than
 * allowed. Routes are added by the program; `api.request(path)` is how tests call them without a socket.
 *
 * Ours and not a framework's: those answer with the Response of fetch, which costs a process 14 MiB that
 * a program on every node should not have, four times over.
 */
export class Api {
  readonly #options: ApiOptions;
  readonly #routes: Route[] = [];

  constructor(options: ApiOptions) {
    this.#options = options;
  }

  get(path: string, handler: Handler): void {
    this.#add('GET', path, handler);
  }

  put(path: string, handler: Handler): void {
    this.#add('PUT', path, handler);
  }

  post(path: string, handler: Handler, options: RouteOptions = {}): void {
    this.#add('POST', path, handler, options);
  }

  patch(path: string, handler: Handler): void {
    this.#add('PATCH', path, handler);
  }

  delete(path: string, handler: Handler): void {
    this.#add('DELETE', path, handler);
  }

  #add(method: Method, path: string, handler: Handler, options: RouteOptions = {}): void {
    this.#routes.push({ method, segments: segmentsOf(path), handler, options });
  }

  /** A call from inside the process. */
  request(
    url: string,
    init: { readonly method?: string; readonly body?: string; readonly headers?: object } = {},
  ): Promise<Answer> {
    const body = init.body ?? '';
    return this.handle(init.method ?? 'GET', url, async (maxBytes) => {
      if (Buffer.byteLength(body) > maxBytes) throw this.#tooLarge(maxBytes);
      return body;
    });
  }

  /** Never throws: what a handler throws becomes an answer. `read` gives the body, of so many bytes at most. */
  async handle(
    method: string,
    url: string,
    read: (maxBytes: number) => Promise<string>,
  ): Promise<Answer> {
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    try {
      const found = findRoute(this.#routes, method, path);
      if (found === undefined) throw this.#unknown(method, path);
      const { params, route } = found;
      const query = queryOf(mark < 0 ? '' : url.slice(mark + 1));
      const most = Math.min(this.#options.requestBytes, route.options.maxBytes ?? Infinity);
      const pick = (from: Readonly<Record<string, string>>) => (name?: string) =>
        name === undefined ? from : from[name];
      return await route.handler(
        new Context({
          method,
          path,
          param: pick(params) as ApiRequest['param'],
          query: pick(query) as ApiRequest['query'],
          text: () => read(most),
        }),
      );
    } catch (error) {
      const { body, status } = errorBody(error);
      if (status >= 500) this.#options.onError(error, { method, path });
      return new Answer(JSON.stringify(body), status, { 'content-type': 'application/json' });
    }
  }

  #tooLarge(maxBytes: number): DaemonError {
    return bodyTooLarge(maxBytes, this.#options.bodyHint);
  }

  #unknown(method: string, path: string): DaemonError {
    return new DaemonError(
      'unknown-route',
      `the ${this.#options.program} has no ${method} ${path}`,
      {
        field: 'path',
        value: path,
        hint: 'GET /v1/status answers; see the README for the list',
      },
    );
  }

  /** For whoever reads bodies from a socket. */
  refuseBody(maxBytes: number): never {
    throw this.#tooLarge(maxBytes);
  }
}

export const createApi = (options: ApiOptions): Api => new Api(options);

const bodyTooLarge = (maxBytes: number, hint: string | undefined): DaemonError =>
  new DaemonError(
    'body-too-large',
    `the request body exceeds ${maxBytes} bytes`,
    hint === undefined ? {} : { hint },
  );

function queryOf(text: string): Record<string, string> {
  const query: Record<string, string> = {};
  if (text !== '')
    for (const [key, value] of new URLSearchParams(text))
      if (!Object.hasOwn(query, key)) query[key] = value;
  return query;
}

/** A request that takes too long gets an answer; the work goes on and a repeat of it joins in. */
export async function withDeadline(
  c: Context,
  seconds: number,
  work: () => Promise<Answer>,
): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new DaemonError('timeout', `${c.req.method} ${c.req.path} took over ${seconds} s`, {
          hint: 'repeat the request: it joins the work under way',
        }),
      );
    }, seconds * 1000);
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The body as JSON of the wanted shape. @throws DaemonError `bad-request` naming the field. */
export async function readBody<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  return parseBody(schema, await readJson(c));
}

/** The body as JSON of any shape. @throws DaemonError `bad-request`. */
export async function readJson(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DaemonError('bad-request', 'the request body is not JSON', {
      field: '(body)',
      cause,
    });
  }
}

/** @throws DaemonError `bad-request` with the path of the first bad field and what is allowed there. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const at = [...issue.path, ...(issue.code === 'unrecognized_keys' ? [issue.keys[0]!] : [])];
  const field = fieldName(at) || '(body)';
  const text = issue.code === 'unrecognized_keys' ? 'no such field' : issueText(issue);
  throw new DaemonError('bad-request', `${field}: ${text}`, {
    field,
    value: isSecret(at.at(-1)) ? '(secret)' : valueAt(body, at),
  });
}

/** @throws DaemonError `not-found` naming what was asked for; `hint` says where the right ones stand. */
export function found<T>(value: T | undefined, field: string, wanted: unknown, hint?: string): T {
  if (value !== undefined) return value;
  throw new DaemonError('not-found', `nothing here has ${field} ${String(wanted)}`, {
    field,
    value: wanted,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** JSON of values that JSON has no words for: 64-bit counters, maps and sets. */
export function jsonAnswer(c: Context, value: unknown): Answer {
  const text = JSON.stringify(value, (_, each) => {
    if (typeof each === 'bigint')
      return each <= Number.MAX_SAFE_INTEGER ? Number(each) : String(each);
    if (each instanceof Map) return Object.fromEntries(each);
    if (each instanceof Set) return [...each];
    return each;
  });
  return c.body(text ?? 'null', 200, { 'content-type': 'application/json' });
}

/** A stream of lines of JSON, as EventStreams gives them; or of something else. */
export const streamAnswer = (
  stream: ReadableStream<Uint8Array>,
  type = 'application/x-ndjson',
): Answer => new Answer(stream, 200, { 'content-type': type });
