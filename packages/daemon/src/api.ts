import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { z } from 'zod';
import { fieldName, valueAt } from './config.ts';
import { DaemonError, errorBody } from './errors.ts';

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
 * allowed. Routes are added by the program; `app.request(path)` is how tests call them without a socket.
 */
export function createApi(options: ApiOptions): Hono {
  const app = new Hono();
  app.use(
    bodyLimit({
      maxSize: options.requestBytes,
      onError: () => {
        throw new DaemonError(
          'body-too-large',
          `the request body exceeds ${options.requestBytes} bytes`,
          options.bodyHint === undefined ? {} : { hint: options.bodyHint },
        );
      },
    }),
  );
  app.notFound((c) => {
    const { body, status } = errorBody(
      new DaemonError(
        'unknown-route',
        `the ${options.program} has no ${c.req.method} ${c.req.path}`,
        {
          field: 'path',
          value: c.req.path,
          hint: 'GET /v1/status answers; see the README for the list',
        },
      ),
    );
    return c.json(body, status as 404);
  });
  app.onError((error, c) => {
    const { body, status } = errorBody(error);
    if (status >= 500) options.onError(error, { method: c.req.method, path: c.req.path });
    return c.json(body, status as 500);
  });
  return app;
}

/** A request that takes too long gets an answer; the work goes on and a repeat of it joins in. */
export async function withDeadline(
  c: Context,
  seconds: number,
  work: () => Promise<Response>,
): Promise<Response> {
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
      value: text.slice(0, 80),
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
  throw new DaemonError('bad-request', `${field}: ${describe(issue)}`, {
    field,
    value: valueAt(body, at),
  });
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return 'no such field';
  if (issue.code === 'invalid_format') return `must be ${issue.message}`;
  return issue.message;
}

/** @throws DaemonError `not-found` naming what was asked for. */
export function found<T>(value: T | undefined, field: string, wanted: unknown): T {
  if (value !== undefined) return value;
  throw new DaemonError('not-found', `nothing here has ${field} ${String(wanted)}`, {
    field,
    value: wanted,
  });
}

/** JSON of values that JSON has no words for: 64-bit counters, maps and sets. */
export function jsonAnswer(c: Context, value: unknown): Response {
  const text = JSON.stringify(value, (_, each) => {
    if (typeof each === 'bigint')
      return each <= Number.MAX_SAFE_INTEGER ? Number(each) : String(each);
    if (each instanceof Map) return Object.fromEntries(each);
    if (each instanceof Set) return [...each];
    return each;
  });
  return c.body(text ?? 'null', 200, { 'content-type': 'application/json' });
}

/** A stream of lines of JSON, as EventStreams gives them. */
export const streamAnswer = (stream: ReadableStream<Uint8Array>): Response =>
  new Response(stream, { headers: { 'content-type': 'application/x-ndjson' } });
