import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PeerRow, RouteRow } from '@causeway/bgp';
import {
  type Answer,
  type Api,
  createApi,
  type EventStreams,
  found,
  jsonAnswer,
  parseBody,
  readBody,
  readJson,
  streamAnswer,
} from '@causeway/daemon';
import { z } from 'zod';
import { asn, cidr, name } from '../config/fields.ts';
import { SpeakerError } from '../errors.ts';
import type { Control } from '../runtime/control.ts';
import type { Engine } from '../runtime/engine.ts';
import type { EventView } from '../views/event.ts';
import { type PeerView, peerView } from '../views/peer.ts';
import { routeView } from '../views/route.ts';
import { whyView } from '../views/why.ts';
import { metricsText } from './metrics.ts';
import { readPrefix, readRoutesQuery } from './queries.ts';
import { statusView } from './status.ts';

const PEERS = 'causeway bgp peers (GET /v1/peers) lists them';

export interface ApiParts {
  readonly control: Control;
  readonly events: EventStreams<EventView>;
  readonly startedAt: number;
  readonly requestBytes: number;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
  /** Ends the program, neighbours told. */
  readonly onShutdown: (text: string | undefined) => void;
}

const resetBody = z.strictObject({
  how: z.enum(['hard', 'soft-in', 'soft-out', 'refresh']).default('hard'),
  text: z.string().max(128).exactOptional(),
});
const shutdownBody = z.strictObject({ text: z.string().max(128).exactOptional() });
const texts = z.array(z.string().max(256)).max(1000);
const testBody = z.strictObject({
  policy: name,
  peer: z.string().max(256).exactOptional(),
  prefix: cidr,
  attributes: z
    .strictObject({
      nextHop: z.string().max(64).exactOptional(),
      asPath: z.array(asn).max(1000).exactOptional(),
      communities: texts.exactOptional(),
      largeCommunities: texts.exactOptional(),
      extendedCommunities: texts.exactOptional(),
      localPreference: z.int().min(0).max(0xffff_ffff).exactOptional(),
      med: z.int().min(0).max(0xffff_ffff).exactOptional(),
      origin: z.enum(['igp', 'egp', 'incomplete']).exactOptional(),
      tag: z.string().max(1024).exactOptional(),
    })
    .default({}),
});

/** The HTTP routes, without a socket. */
export function speakerApi(parts: ApiParts): Api {
  const { control, events, startedAt, onShutdown } = parts;
  const app = createApi({
    program: 'speaker',
    bodyHint: 'raise limits.requestBytes if this was meant',
    ...parts,
  });

  app.get('/v1/status', (c) => c.json(statusView(control.engine, startedAt)));

  app.get('/v1/config', (c) => c.json(control.configs()));
  app.get('/v1/config/:owner', (c) => {
    const owner = c.req.param('owner');
    return jsonAnswer(c, found(control.config(owner), 'owner', owner));
  });
  app.put('/v1/config/:owner', async (c) => {
    const owner = ownerName(c.req.param('owner'));
    return c.json({ changed: await control.putConfig(owner, await readJson(c)) });
  });
  app.delete('/v1/config/:owner', async (c) => {
    const owner = ownerName(c.req.param('owner'));
    return c.json({ changed: await control.deleteConfig(owner) });
  });

  app.get('/v1/paths', (c) => c.json(control.pathOwners()));
  app.get('/v1/paths/:owner', (c) => {
    const owner = c.req.param('owner');
    return jsonAnswer(c, found(control.paths(owner), 'owner', owner));
  });
  app.put('/v1/paths/:owner', async (c) => {
    const owner = ownerName(c.req.param('owner'));
    return c.json(await control.putPaths(owner, await readJson(c)));
  });
  app.delete('/v1/paths/:owner', async (c) => {
    const owner = ownerName(c.req.param('owner'));
    return c.json(await control.deletePaths(owner));
  });

  app.get('/v1/peers', () => peerList(control.engine));
  app.get('/v1/peers/:name', (c) => c.json(peer(control.running(), c.req.param('name'))));
  app.post('/v1/peers/:name/reset', async (c) => {
    const engine = control.running();
    const peerName = c.req.param('name');
    const { how, text } = await readBody(c, resetBody);
    found(engine.core.peer(peerName), 'peer', peerName, PEERS);
    if (text !== undefined && how !== 'hard')
      throw new SpeakerError(
        'bad-request',
        'text: only a hard reset says something to the neighbour',
        {
          field: 'text',
          value: text,
        },
      );
    engine.act((core, at) => core.reset(peerName, how, at, text));
    return c.json(peer(engine, peerName));
  });

  app.get('/v1/routes', (c) => {
    const engine = control.running();
    const { query, stream } = readRoutesQuery(c.req.query());
    if (query.peer !== undefined && !query.peer.startsWith('local:'))
      found(engine.core.peer(query.peer), 'peer', query.peer, PEERS);
    if (stream) return streamAnswer(routeStream(engine, query));
    const page = engine.core.routes(query);
    return jsonAnswer(c, {
      rows: page.rows.map(routeView),
      ...(page.next === undefined ? {} : { next: page.next }),
    });
  });
  app.get('/v1/why', (c) => {
    const engine = control.running();
    const { prefix: text, peer: peerName } = c.req.query();
    const prefix = readPrefix('prefix', text);
    if (peerName !== undefined) found(engine.core.peer(peerName), 'peer', peerName, PEERS);
    const exact = engine.core.why(prefix, peerName);
    if (exact !== undefined) return jsonAnswer(c, whyView(exact, engine));
    // Nothing for exactly this one: what serves it is what was meant.
    const [row] = engine.core.routes({ view: 'loc', prefix, lookup: 'match', limit: 1 }).rows;
    const why = row && engine.core.why(row.prefix, peerName);
    return jsonAnswer(c, whyView(found(why, 'prefix', prefix), engine));
  });
  app.post('/v1/policy/test', async (c) => {
    const engine = control.running();
    const { policy, peer: peerName, prefix, attributes } = parseBody(testBody, await readJson(c));
    const { policies } = engine.settings.library;
    found(Object.hasOwn(policies, policy) ? policies[policy] : undefined, 'policy', policy);
    if (peerName !== undefined) found(engine.core.peer(peerName), 'peer', peerName, PEERS);
    const { reason, result } = engine.testPolicy(policy, {
      prefix,
      attributes: { prefix, ...attributes },
      ...(peerName === undefined ? {} : { peer: peerName }),
    });
    return jsonAnswer(c, {
      reason,
      ...(result === undefined ? {} : { result: routeView(result) }),
    });
  });

  app.get('/v1/events', (c) => {
    const wanted = c.req.query('type')?.split(',');
    const one = c.req.query('peer');
    return streamAnswer(
      events.stream({
        wants: (event) =>
          (wanted === undefined || wanted.includes(event.type)) &&
          (one === undefined || event.peer === one),
        // A first line at once tells that the stream is open, and how things stand.
        first: [{ type: 'status', ...statusView(control.engine, startedAt) }],
      }),
    );
  });
  app.get('/v1/metrics', (c) =>
    c.body(metricsText(control.engine), 200, { 'content-type': 'text/plain; version=0.0.4' }),
  );
  app.post('/v1/shutdown', async (c) => {
    const { text } = await readBody(c, shutdownBody);
    onShutdown(text);
    return c.json({ ending: true });
  });
  return app;
}

/** A JSON list, made as it is taken: thousands of neighbours do not hold the loop. */
function peerList(engine: Engine | undefined): Answer {
  const rows = engine?.core.peers() ?? [];
  let at = 0;
  const text = (row: PeerRow): string[] => {
    const facts = engine?.neighbours.facts(row.name);
    return facts === undefined ? [] : [JSON.stringify(peerView(row, facts))];
  };
  const encoder = new TextEncoder();
  let separator = '[';
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (at > 0) await nextTurn();
        const part = rows.slice(at, at + PEERS_SLICE).flatMap(text);
        at += PEERS_SLICE;
        const end = at >= rows.length;
        const body = part.length === 0 ? '' : `${separator}${part.join(',')}`;
        if (body !== '') separator = ',';
        controller.enqueue(encoder.encode(end ? `${separator === '[' ? '[' : body}]` : body));
        if (end) controller.close();
      },
    },
    { highWaterMark: 1 },
  );
  return streamAnswer(stream, 'application/json');
}

function peer(engine: Engine, peerName: string): PeerView {
  const row = found(engine.core.peer(peerName), 'peer', peerName, PEERS);
  return peerView(row, found(engine.neighbours.facts(peerName), 'peer', peerName));
}

const PEERS_SLICE = 64;
/** Rows in one go: what a reader has not taken is not made. */
const STREAM_PAGE = 200;

function routeStream(
  engine: Engine,
  query: Parameters<Engine['core']['routes']>[0],
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const line = (row: RouteRow) => `${JSON.stringify(routeView(row))}\n`;
  let { cursor } = query;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const page = engine.core.routes({
          ...query,
          limit: STREAM_PAGE,
          ...(cursor === undefined ? {} : { cursor }),
        });
        if (page.rows.length > 0) controller.enqueue(encoder.encode(page.rows.map(line).join('')));
        cursor = page.next;
        if (cursor === undefined) controller.close();
      },
    },
    { highWaterMark: 1 },
  );
}

/** It names a file, so it is a name and nothing that leads elsewhere. */
function ownerName(owner: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,62}$/.test(owner)) return owner;
  throw new SpeakerError('bad-request', `owner: ${JSON.stringify(owner.slice(0, 80))} is no name`, {
    field: 'owner',
    value: owner,
    hint: 'lower case letters, digits, dots, dashes and underscores, at most 63',
  });
}
