import { fieldsOf } from '@causeway/bgp';
import { Prefix } from '@causeway/ip';
import type { Fault } from '../faults/types.ts';
import { type ChangeName, findInPrefixLog } from '../history/prefix-log.ts';
import type { Station } from '../station.ts';
import { findRoutes, type RouteRow } from './routes.ts';
import { iso } from './rows.ts';

export interface PrefixEvent {
  readonly at: string;
  readonly type: string;
  readonly router: unknown;
  readonly peer: unknown;
  readonly change: ChangeName;
  /** Why the peer went, when the prefix went with it. */
  readonly cause?: unknown;
}

export interface WhyPrefix {
  readonly prefix: string;
  /** Who has it now; of a longer or shorter prefix only if nobody has this one. */
  readonly routes: readonly RouteRow[];
  readonly covering?: string;
  /** In words: is it there, since when not, and what took it. */
  readonly verdict: string;
  /** How far back the events were looked at: to `since`, or as far as the limit of bytes let it. */
  readonly lookedBackTo: string;
  /** The newest first. */
  readonly events: readonly PrefixEvent[];
  /** Times that it was lost or withdrawn, by router and peer, in the time looked at. */
  readonly flaps: readonly {
    readonly router: string;
    readonly peer: string;
    readonly times: number;
  }[];
  readonly faults: readonly Pick<Fault, 'id' | 'state' | 'headline' | 'openedAt' | 'recoveredAt'>[];
}

const EVENTS = 200;
const FAULTS = 50;
/** Bytes of logs that one question may have read: the station answers others meanwhile only if it ends soon. */
const MOST_BYTES = 256 * 1024 * 1024;

/** Everything that is known of one prefix: now, and since `since`. Throws IpError for a bad prefix. */
export function whyPrefix(station: Station, text: string, since: number): WhyPrefix {
  const prefix = Prefix.parseLoose(text);
  const fields = fieldsOf(prefix);
  let { rows: routes } = findRoutes(station, { prefix, limit: 1000 });
  let covering: string | undefined;
  if (routes.length === 0) {
    routes = findRoutes(station, { prefix, lookup: 'match', limit: 1000 }).rows;
    covering = routes[0]?.prefix;
  }
  const events: PrefixEvent[] = [];
  const flaps = new Map<string, { router: string; peer: string; times: number }>();
  let lookedBackTo = since;
  let bytes = 0;
  for (const event of station.history.logs(since)) {
    bytes += event.prefixes!.length;
    if (bytes > MOST_BYTES) {
      lookedBackTo = event.at;
      break;
    }
    const change = findInPrefixLog(event.prefixes!, fields);
    if (change === undefined) continue;
    const { router, peer, cause } = event.data;
    if (change === 'lost' || change === 'withdrawn') {
      const key = `${String(router)} ${String(peer)}`;
      const row = flaps.get(key) ?? { router: String(router), peer: String(peer), times: 0 };
      row.times += 1;
      flaps.set(key, row);
    }
    if (events.length >= EVENTS) continue;
    events.push({
      at: iso(event.at),
      type: event.type,
      router,
      peer,
      change,
      ...(cause === undefined ? {} : { cause }),
    });
  }
  return {
    prefix,
    routes,
    ...(covering === undefined ? {} : { covering }),
    verdict: verdictOf(routes, covering, events),
    lookedBackTo: iso(lookedBackTo),
    events,
    flaps: [...flaps.values()].sort((a, b) => b.times - a.times),
    faults: faultsOf(station, fields, since),
  };
}

function verdictOf(
  routes: readonly RouteRow[],
  covering: string | undefined,
  events: readonly PrefixEvent[],
): string {
  const last = events.find(({ change }) => change === 'lost' || change === 'withdrawn');
  const why = (last?.cause as { why?: string } | undefined)?.why;
  const took =
    last === undefined
      ? 'nothing here says that anybody ever had it'
      : last.change === 'lost'
        ? `${last.router} lost it at ${last.at} with its session to ${last.peer} (${why ?? 'unknown'})`
        : `${last.peer} took it back from ${last.router} at ${last.at}`;
  if (routes.length === 0) return `nobody has it: ${took}`;
  const routers = new Set(routes.map(({ router }) => router)).size;
  const who = `${routes.length} routes of ${routers} ${routers === 1 ? 'router' : 'routers'}`;
  if (covering !== undefined) return `nobody has it, but ${who} cover it by ${covering}: ${took}`;
  return `${who} lead there${last === undefined ? '' : `; last loss: ${took}`}`;
}

function faultsOf(
  station: Station,
  fields: ReturnType<typeof fieldsOf>,
  since: number,
): WhyPrefix['faults'] {
  const found: WhyPrefix['faults'][number][] = [];
  for (const { id } of station.history.faults({ since, limit: 1000 })) {
    const stored = station.history.fault(id);
    if (stored?.prefixes === undefined) continue;
    if (findInPrefixLog(stored.prefixes, fields) === undefined) continue;
    const { state, headline, openedAt, recoveredAt } = stored.data as Fault;
    found.push({
      id,
      state,
      headline,
      openedAt,
      ...(recoveredAt === undefined ? {} : { recoveredAt }),
    });
    if (found.length === FAULTS) break;
  }
  return found;
}
