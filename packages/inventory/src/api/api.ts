import { type Api, createApi, jsonAnswer, parseBody, readBody } from '@causeway/daemon';
import { Address } from '@causeway/ip';
import { z } from 'zod';
import type { Instance } from '../instance.ts';
import { objectRoutes } from './objects.ts';
import { memberView, whyAddress } from './views.ts';

export interface ApiParts {
  readonly instance: Instance;
  readonly about: () => object;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
  readonly wall: () => number;
}

const MAX_ROWS = 200_000;

const address = z
  .string()
  .refine((text) => Address.tryParse(text) !== undefined, {
    error: 'must be an address such as 192.0.2.7 or 2001:db8::7',
  })
  .transform((text) => Address.parse(text));

const listQuery = z.strictObject({
  source: z.string().optional(),
  /** `key=value`: only endpoints with this label. */
  label: z.string().max(500).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_ROWS).default(MAX_ROWS),
});

/** The HTTP routes, without a socket. */
export function inventoryApi({ instance, about, onError, wall }: ApiParts): Api {
  const api = createApi({
    program: 'inventory',
    requestBytes: 16 << 20,
    bodyHint: 'send it in parts',
    onError,
  });
  api.get('/v1/status', (c) => jsonAnswer(c, { ...about(), ...instance.status() }));
  api.get('/v1/endpoints', (c) => {
    const query = parseBody(listQuery, c.req.query());
    const { inventory, publication } = instance.leading();
    const wanted =
      query.label === undefined ? undefined : `k8s:${query.label.replace(/^k8s:/, '')};`;
    const rows = [];
    for (const member of inventory.members(query.source)) {
      if (wanted !== undefined && !hasLabel(member.labels, wanted)) continue;
      rows.push(memberView(member, publication));
      if (rows.length >= query.limit) break;
    }
    return jsonAnswer(c, rows);
  });
  api.get('/v1/conflicts', (c) => {
    const { inventory, publication } = instance.leading();
    const rows = [...inventory.conflicts()].slice(0, 1000).map((each) => ({
      address: each.address,
      holder: memberView(each.holder, publication),
      refused: each.waiting.map((member) => memberView(member, publication)),
    }));
    return jsonAnswer(c, rows);
  });
  api.get('/v1/unpublished', (c) =>
    jsonAnswer(c, instance.leading().publication.unpublished(1000)),
  );
  api.get('/v1/why', (c) => {
    const query = parseBody(z.strictObject({ address }), c.req.query());
    const { inventory, publication } = instance.leading();
    return jsonAnswer(c, whyAddress(query.address, inventory, publication));
  });
  api.post('/v1/accept', async (c) => {
    const { source } = await readBody(c, z.strictObject({ source: z.string().min(1) }));
    const { inventory, lead } = instance.leading();
    const removed = inventory.accept(source);
    lead.writer?.wake();
    return c.json({ source, removed });
  });
  api.get('/v1/metrics', (c) =>
    c.body(metrics(instance), 200, { 'content-type': 'text/plain; version=0.0.4' }),
  );
  objectRoutes(api, { store: instance.hosted.store, wall });
  return api;
}

const hasLabel = (text: string, wanted: string): boolean =>
  text.startsWith(wanted) || text.includes(`;${wanted}`);

/** Prometheus text. */
function metrics(instance: Instance): string {
  const { counts, leader, ready, sources, writer } = instance.status();
  const lines: string[] = [];
  const gauge = (name: string, help: string, values: readonly (readonly [string, number])[]) => {
    lines.push(
      `# HELP causeway_inventory_${name} ${help}`,
      `# TYPE causeway_inventory_${name} gauge`,
    );
    for (const [labels, value] of values)
      lines.push(`causeway_inventory_${name}${labels} ${value}`);
  };
  gauge('leader', 'Whether this instance leads.', [['', leader ? 1 : 0]]);
  gauge('ready', 'Whether it leads with every source heard, or follows.', [['', ready ? 1 : 0]]);
  for (const [name, value] of Object.entries(counts ?? {})) {
    gauge(
      name.replace(/[A-Z]/g, (each) => `_${each.toLowerCase()}`),
      `Number of ${name}.`,
      [['', value]],
    );
  }
  if (writer !== undefined) {
    gauge('pending', 'Addresses that may have to be written.', [['', writer.pending]]);
    gauge('writes', 'Keys written or deleted in this lead.', [['', writer.writes]]);
    gauge('repaired', 'Keys put right in this lead.', [['', writer.repaired]]);
  }
  const each = (value: (source: (typeof sources)[number]) => number) =>
    sources.map((source) => [`{source="${source.name}"}`, value(source)] as const);
  gauge(
    'source_items',
    'Endpoints of a source.',
    each(({ items }) => items),
  );
  gauge(
    'source_refused',
    'Items of a source that are refused.',
    each(({ refused }) => refused.count),
  );
  gauge(
    'source_withheld',
    'Removals that the guard keeps back.',
    each(({ withheld }) => withheld?.count ?? 0),
  );
  gauge(
    'source_failing',
    'Whether a source fails.',
    each(({ report }) => (report.state === 'failed' ? 1 : 0)),
  );
  return `${lines.join('\n')}\n`;
}
