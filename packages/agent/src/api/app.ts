import {
  type Answer,
  type Api,
  type Context,
  createApi,
  found,
  jsonAnswer,
  parseBody,
  readBody,
  streamAnswer,
  withDeadline,
} from '@causeway/daemon';
import { AgentError } from '../errors.ts';
import { type HostPatch, hostPatchBody } from '../host-endpoint/settings.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { parseMonitorTypes } from '../monitor/monitor.ts';
import {
  attachBody,
  attachment,
  gcBody,
  meshWhyQuery,
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
  /** The node itself as an endpoint. Throws not-found where it is none. */
  hostEndpoint(): unknown;
  /** In force, and kept over restarts, when it resolves. */
  changeHostEndpoint(change: HostPatch): Promise<unknown>;
  ipam(): unknown;
  services(): unknown;
  bgp(): unknown;
  policy(): unknown;
  drops(): unknown;
  datapathMetrics(): unknown;
  trace(body: TraceBody): unknown;
  whatIf(manifests: readonly unknown[]): Promise<unknown>;
  why(query: Readonly<Record<string, string>>): unknown;
  mesh(): unknown;
  /** @param what an address, or a peer's name. */
  meshWhy(what: string): Promise<unknown>;
  readonly monitor: Monitor;
}

export interface ApiOptions {
  readonly requestBytes: number;
  readonly requestSeconds: number;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

/** The HTTP routes, without a socket: `app.fetch(new Request(...))` is how tests call them. */
export function apiApp(backend: ApiBackend, options: ApiOptions): Api {
  const app = createApi({
    program: 'agent',
    requestBytes: options.requestBytes,
    bodyHint: 'raise limits.requestBytes if this was meant',
    onError: options.onError,
  });
  const answer = (c: Context, work: () => Promise<Answer>) =>
    withDeadline(c, options.requestSeconds, work);

  app.post('/v1/endpoints', (c) =>
    answer(c, async () => {
      const { endpoint, created } = await backend.attach(await readBody(c, attachBody));
      return c.json(endpoint, created ? 201 : 200);
    }),
  );
  app.post('/v1/endpoints/check', (c) =>
    answer(c, async () => c.json(await backend.check(await readBody(c, attachBody)))),
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
    answer(c, async () => c.json(await backend.patch(endpointId(c), await readBody(c, patchBody)))),
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
      const { validAttachments } = await readBody(c, gcBody);
      return c.json(await backend.collectGarbage(validAttachments));
    }),
  );

  app.get('/v1/status', (c) => c.json(backend.status()));
  app.get('/v1/tables', (c) => c.json(backend.tableNames()));
  app.get('/v1/tables/:name', (c) => {
    const name = c.req.param('name');
    return jsonAnswer(
      c,
      found(backend.tableRows(name), 'table', name, 'causeway table (GET /v1/tables) lists them'),
    );
  });
  app.get('/v1/identities', (c) => jsonAnswer(c, backend.identities()));
  app.get('/v1/ipcache', (c) => jsonAnswer(c, backend.ipcache()));
  app.get('/v1/nodes', (c) => jsonAnswer(c, backend.nodes()));
  app.get('/v1/host-endpoint', (c) => jsonAnswer(c, backend.hostEndpoint()));
  app.patch('/v1/host-endpoint', (c) =>
    answer(c, async () =>
      jsonAnswer(c, await backend.changeHostEndpoint(await readBody(c, hostPatchBody))),
    ),
  );
  app.get('/v1/ipam', (c) => jsonAnswer(c, backend.ipam()));
  app.get('/v1/services', (c) => jsonAnswer(c, backend.services()));
  app.get('/v1/services/why', (c) => jsonAnswer(c, backend.why(c.req.query())));
  app.get('/v1/mesh', (c) => jsonAnswer(c, backend.mesh()));
  app.get('/v1/mesh/why', (c) =>
    answer(c, async () => {
      const { what } = parseBody(meshWhyQuery, c.req.query());
      return jsonAnswer(c, await backend.meshWhy(what));
    }),
  );
  app.get('/v1/bgp', (c) => jsonAnswer(c, backend.bgp()));
  app.get('/v1/policy', (c) => jsonAnswer(c, backend.policy()));
  app.get('/v1/drops', (c) => jsonAnswer(c, backend.drops()));
  app.get('/v1/metrics/datapath', (c) => jsonAnswer(c, backend.datapathMetrics()));
  app.post('/v1/policy/trace', (c) =>
    answer(c, async () => jsonAnswer(c, backend.trace(await readBody(c, traceBody)))),
  );
  app.post('/v1/policy/what-if', (c) =>
    answer(c, async () => {
      const { manifests } = await readBody(c, whatIfBody);
      return jsonAnswer(c, await backend.whatIf(manifests));
    }),
  );
  app.get('/v1/monitor', (c) => {
    const types = parseMonitorTypes(c.req.query('type'));
    return streamAnswer(backend.monitor.stream(types));
  });
  return app;
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
