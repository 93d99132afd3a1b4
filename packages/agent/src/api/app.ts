import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { z } from 'zod';
import { AgentError, errorBody } from '../errors.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { parseMonitorTypes } from '../monitor/monitor.ts';
import {
  attachBody,
  attachment,
  gcBody,
  parseBody,
  patchBody,
  type TraceBody,
  traceBody,
  whatIfBody,
} from './schemas.ts';
import type { AgentStatus, Attachment, AttachRequest, Endpoint } from './types.ts';

/** What the API offers of the agent: the seam between HTTP and everything behind it. */
export interface ApiBackend {
  attach(request: AttachRequest): Promise<{ endpoint: Endpoint; created: boolean }>;
  check(request: AttachRequest): Promise<Endpoint>;
  detach(attachment: Attachment): Promise<{ removed: boolean }>;
  collectGarbage(valid: readonly Attachment[]): Promise<{ removed: readonly Attachment[] }>;
  patch(id: number, change: { policyAudit?: boolean | undefined }): Promise<Endpoint>;
  endpoints(): readonly Endpoint[];
  status(): AgentStatus;
  tableNames(): readonly string[];
  /** Rows of a table as plain data; undefined if there is no such table. */
  tableRows(name: string): readonly unknown[] | undefined;
  identities(): unknown;
  ipcache(): unknown;
  nodes(): unknown;
  services(): unknown;
  policy(): unknown;
  drops(): unknown;
  datapathMetrics(): unknown;
  trace(body: TraceBody): unknown;
  whatIf(manifests: readonly unknown[]): Promise<unknown>;
  why(query: Readonly<Record<string, string>>): unknown;
  readonly monitor: Monitor;
}

export interface ApiOptions {
  readonly requestBytes: number;
  readonly requestSeconds: number;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

/** The HTTP routes, without a socket: `app.fetch(new Request(...))` is how tests call them. */
export function apiApp(backend: ApiBackend, options: ApiOptions): Hono {
  const app = new Hono();

  app.use(
    bodyLimit({
      maxSize: options.requestBytes,
      onError: () => {
        throw new AgentError(
          'body-too-large',
          `the request body exceeds ${options.requestBytes} bytes`,
          {
            hint: 'raise limits.requestBytes if this was meant',
          },
        );
      },
    }),
  );

  app.post('/v1/endpoints', (c) =>
    answer(c, async () => {
      const { endpoint, created } = await backend.attach(await body(c, attachBody));
      return c.json(endpoint, created ? 201 : 200);
    }),
  );
  app.post('/v1/endpoints/check', (c) =>
    answer(c, async () => c.json(await backend.check(await body(c, attachBody)))),
  );
  app.get('/v1/endpoints', (c) => c.json(backend.endpoints()));
  app.get('/v1/endpoints/:id', (c) => {
    const id = endpointId(c);
    return c.json(
      found(
        backend.endpoints().find((each) => each.id === id),
        'id',
        id,
      ),
    );
  });
  app.patch('/v1/endpoints/:id', (c) =>
    answer(c, async () => c.json(await backend.patch(endpointId(c), await body(c, patchBody)))),
  );
  app.get('/v1/endpoints/by-container/:containerId/:ifname', (c) => {
    const wanted = parseBody(attachment, c.req.param());
    const endpoint = backend
      .endpoints()
      .find((each) => each.containerId === wanted.containerId && each.ifname === wanted.ifname);
    return c.json(found(endpoint, 'containerId', wanted.containerId));
  });
  app.delete('/v1/endpoints/by-container/:containerId/:ifname', (c) =>
    answer(c, async () => c.json(await backend.detach(parseBody(attachment, c.req.param())))),
  );
  app.post('/v1/gc', (c) =>
    answer(c, async () => {
      const { validAttachments } = await body(c, gcBody);
      return c.json(await backend.collectGarbage(validAttachments));
    }),
  );

  app.get('/v1/status', (c) => c.json(backend.status()));
  app.get('/v1/tables', (c) => c.json(backend.tableNames()));
  app.get('/v1/tables/:name', (c) => {
    const name = c.req.param('name');
    return json(c, found(backend.tableRows(name), 'name', name));
  });
  app.get('/v1/identities', (c) => json(c, backend.identities()));
  app.get('/v1/ipcache', (c) => json(c, backend.ipcache()));
  app.get('/v1/nodes', (c) => json(c, backend.nodes()));
  app.get('/v1/services', (c) => json(c, backend.services()));
  app.get('/v1/services/why', (c) => json(c, backend.why(c.req.query())));
  app.get('/v1/policy', (c) => json(c, backend.policy()));
  app.get('/v1/drops', (c) => json(c, backend.drops()));
  app.get('/v1/metrics/datapath', (c) => json(c, backend.datapathMetrics()));
  app.post('/v1/policy/trace', (c) =>
    answer(c, async () => json(c, backend.trace(await body(c, traceBody)))),
  );
  app.post('/v1/policy/what-if', (c) =>
    answer(c, async () => {
      const { manifests } = await body(c, whatIfBody);
      return json(c, await backend.whatIf(manifests));
    }),
  );
  app.get('/v1/monitor', (c) => {
    const types = parseMonitorTypes(c.req.query('type'));
    const stream = backend.monitor.stream(types);
    return new Response(stream, { headers: { 'content-type': 'application/x-ndjson' } });
  });

  app.notFound((c) => {
    const { body: text, status } = errorBody(
      new AgentError('unknown-route', `the agent has no ${c.req.method} ${c.req.path}`, {
        field: 'path',
        value: c.req.path,
        hint: 'GET /v1/status answers; see the README for the list',
      }),
    );
    return c.json(text, status as 404);
  });
  app.onError((error, c) => {
    const { body: text, status } = errorBody(error);
    if (status >= 500) options.onError(error, { method: c.req.method, path: c.req.path });
    return c.json(text, status as 500);
  });

  /** A request that takes too long gets an answer; the work goes on and a repeat of it joins in. */
  async function answer(c: Context, work: () => Promise<Response>): Promise<Response> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(
          new AgentError(
            'timeout',
            `${c.req.method} ${c.req.path} took over ${options.requestSeconds} s`,
            {
              hint: 'repeat the request: it joins the work under way',
            },
          ),
        );
      }, options.requestSeconds * 1000);
    });
    try {
      return await Promise.race([work(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  return app;
}

async function body<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await c.req.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AgentError('bad-request', 'the request body is not JSON', {
      field: '(body)',
      value: text.slice(0, 80),
      cause,
    });
  }
  return parseBody(schema, value);
}

function endpointId(c: Context): number {
  const text = c.req.param('id') ?? '';
  if (/^[1-9][0-9]{0,4}$/.test(text)) return Number(text);
  throw new AgentError(
    'bad-request',
    `id must be an endpoint's number, not ${JSON.stringify(text.slice(0, 80))}`,
    {
      field: 'id',
      value: text,
    },
  );
}

function found<T>(value: T | undefined, field: string, wanted: unknown): T {
  if (value !== undefined) return value;
  throw new AgentError('not-found', `nothing here has ${field} ${String(wanted)}`, {
    field,
    value: wanted,
  });
}

/** Map rows hold 64-bit counters, which JSON has no number for. */
function json(c: Context, value: unknown): Response {
  const text = JSON.stringify(value, (_, each) => {
    if (typeof each === 'bigint')
      return each <= Number.MAX_SAFE_INTEGER ? Number(each) : String(each);
    if (each instanceof Map) return Object.fromEntries(each);
    if (each instanceof Set) return [...each];
    return each;
  });
  return c.body(text ?? 'null', 200, { 'content-type': 'application/json' });
}
