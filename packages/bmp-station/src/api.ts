import { Family } from '@causeway/bgp';
import { RIB_VIEWS } from '@causeway/bmp';
import {
  type Api,
  type Context,
  createApi,
  type EventStreams,
  found,
  jsonAnswer,
  parseBody,
  streamAnswer,
} from '@causeway/daemon';
import { Prefix } from '@causeway/ip';
import { z } from 'zod';
import type { Fault } from './faults/types.ts';
import { readPrefixLog } from './history/prefix-log.ts';
import type { StoredEvent } from './history/types.ts';
import { findRoutes } from './queries/routes.ts';
import { iso, peerRows, routerRows, statusOf } from './queries/rows.ts';
import { whyPrefix } from './queries/why.ts';
import { EVENT_TYPES } from './routers/host.ts';
import type { Station, StationEvent } from './station.ts';

export interface ApiParts {
  readonly station: Station;
  readonly streams: EventStreams<StationEvent>;
  readonly about: () => object;
  readonly now: () => number;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

const whole = (most: number) => z.coerce.number().int().min(0).max(most);
const limit = (usual: number, most: number) => whole(most).min(1).default(usual);
/** ISO text, or so many seconds, minutes, hours or days ago: `90s`, `5m`, `2h`, `7d`. */
const time = z.string().refine((text) => AGO.test(text) || !Number.isNaN(Date.parse(text)), {
  error: 'a time such as 2026-01-31T12:00:00Z, or an age such as 90s, 5m, 2h, 7d',
});
const AGO = /^(\d{1,6})([smhd])$/;
const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const prefix = z
  .string()
  .refine((text) => isPrefix(text), { error: 'a prefix such as 192.0.2.0/24, or an address' })
  .transform((text) => Prefix.parseLoose(text));
const pageOf = (usual: number) => ({ limit: limit(usual, 10_000) });
const names = { router: z.string().optional(), peer: z.string().optional() };

const routeQuery = z.strictObject({
  ...names,
  view: z.enum(RIB_VIEWS).optional(),
  family: z.custom<'ipv4-unicast' | 'ipv6-unicast'>((key) => Family.is(String(key))).optional(),
  prefix: prefix.optional(),
  lookup: z.enum(['exact', 'longer', 'match']).optional(),
  cursor: whole(2 ** 40).optional(),
  ...pageOf(1000),
});
const eventQuery = z.strictObject({
  ...names,
  type: z.string().optional(),
  since: time.optional(),
  until: time.optional(),
  before: whole(Number.MAX_SAFE_INTEGER).optional(),
  ...pageOf(200),
});
const faultQuery = z.strictObject({
  state: z.enum(['gathering', 'open', 'recovered']).optional(),
  since: time.optional(),
  ...pageOf(50),
});
const peerQuery = z.strictObject({
  router: z.string().optional(),
  state: z.enum(['up', 'down']).optional(),
});
const whyQuery = z.strictObject({ prefix, since: time.default('7d') });
const routerQuery = z.strictObject({ since: time.default('30d') });
const typeName = z.enum(EVENT_TYPES);

/** The HTTP routes, without a socket. */
export function stationApi({ station, streams, about, now, onError }: ApiParts): Api {
  const app = createApi({ program: 'BMP station', requestBytes: 4096, onError });
  const ms = (text: string): number => {
    const ago = AGO.exec(text);
    if (ago === null) return Date.parse(text);
    return now() - Number(ago[1]) * UNITS[ago[2] as keyof typeof UNITS];
  };
  const optionalMs = (text: string | undefined, name: string): object =>
    text === undefined ? {} : { [name]: ms(text) };

  app.get('/v1/status', (c) => jsonAnswer(c, { ...about(), ...statusOf(station) }));
  app.get('/v1/routers', (c) =>
    jsonAnswer(c, routerRows(station, ms(query(c, routerQuery).since))),
  );
  app.get('/v1/peers', (c) => jsonAnswer(c, peerRows(station, query(c, peerQuery), now())));
  app.get('/v1/routes', (c) => jsonAnswer(c, findRoutes(station, query(c, routeQuery))));
  app.get('/v1/events', (c) => {
    const { since, until, type, router, peer, ...rest } = query(c, eventQuery);
    const types = type?.split(',').map((name) => parseBody(typeName, name));
    const rows = station.history.events({
      ...rest,
      ...optionalMs(since, 'since'),
      ...optionalMs(until, 'until'),
      ...(types === undefined ? {} : { types }),
      ...(router === undefined ? {} : { routers: routerIds(station, router) }),
      ...(peer === undefined ? {} : { peers: station.history.peersNamed(peer) }),
    });
    return jsonAnswer(c, rows.map(eventRow));
  });
  app.get('/v1/events/watch', () => streamAnswer(streams.stream()));
  app.get('/v1/events/:id/prefixes', (c) => {
    const id = numberOf(c.req.param('id'));
    const event = found(station.history.event(id), 'event', id);
    return jsonAnswer(c, event.prefixes === undefined ? [] : [...readPrefixLog(event.prefixes)]);
  });
  app.get('/v1/faults', (c) => {
    const { since, state, limit: most } = query(c, faultQuery);
    const from = since === undefined ? 0 : ms(since);
    const gathering = station.faults.faults.filter(
      (fault) => fault.state === 'gathering' && fault.openedAt >= from,
    );
    const stored =
      state === 'gathering'
        ? []
        : station.history.faults({
            since: from,
            limit: most,
            ...(state === undefined ? {} : { state }),
          });
    const shown = state === undefined || state === 'gathering' ? gathering.reverse() : [];
    return jsonAnswer(
      c,
      [...shown, ...stored.map(({ data }) => data as Fault)].slice(0, most).map(faultRow),
    );
  });
  app.get('/v1/faults/:id', (c) => {
    const id = numberOf(c.req.param('id'));
    const fault = found(station.history.fault(id), 'fault', id);
    return jsonAnswer(c, faultRow(fault.data as Fault));
  });
  app.get('/v1/faults/:id/prefixes', (c) => {
    const id = numberOf(c.req.param('id'));
    const { prefixes } = found(station.history.fault(id), 'fault', id);
    return jsonAnswer(
      c,
      prefixes === undefined ? [] : [...readPrefixLog(prefixes)].map((one) => one.prefix),
    );
  });
  app.get('/v1/why', (c) => {
    const { prefix: wanted, since } = query(c, whyQuery);
    return jsonAnswer(c, whyPrefix(station, wanted, ms(since)));
  });
  return app;
}

/** @throws DaemonError `bad-request` naming the parameter. */
const query = <T>(c: Context, schema: z.ZodType<T>): T => parseBody(schema, c.req.query());

const numberOf = (text: string): number => parseBody(z.coerce.number().int().min(1), text);

function isPrefix(text: string): boolean {
  try {
    Prefix.parseLoose(text);
    return true;
  } catch {
    return false;
  }
}

const routerIds = (station: Station, name: string): number[] =>
  station.history
    .routers(0)
    .filter((row) => row.name === name || row.address === name)
    .map(({ id }) => id);

function eventRow({ id, at, type, data }: StoredEvent): object {
  return { ...data, id, at: iso(at), type };
}

/** Times as text, for people and scripts alike. */
function faultRow(fault: Fault): object {
  return {
    ...fault,
    openedAt: iso(fault.openedAt),
    lastAt: iso(fault.lastAt),
    ...(fault.recoveredAt === undefined ? {} : { recoveredAt: iso(fault.recoveredAt) }),
    sessions: fault.sessions.map((session) => ({
      ...session,
      downAt: iso(session.downAt),
      ...(session.upAt === undefined ? {} : { upAt: iso(session.upAt) }),
    })),
  };
}
