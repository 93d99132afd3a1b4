import type { RouteQuery, RouteView as View } from '@causeway/bgp';
import { Address, Prefix } from '@causeway/ip';
import { SpeakerError } from '../errors.ts';

/** What a query string may ask of `GET /v1/routes`. */
const VIEWS: readonly View[] = ['loc', 'received', 'accepted', 'advertised'];
const LOOKUPS = ['exact', 'longer', 'match'] as const;
const KNOWN = new Set([
  'family',
  'view',
  'peer',
  'prefix',
  'longer',
  'lookup',
  'limit',
  'cursor',
  'stream',
]);
const MOST = 10_000;

export interface RoutesQuery {
  readonly query: RouteQuery;
  /** All of them as lines, not a page. */
  readonly stream: boolean;
}

/** @throws SpeakerError `bad-request` naming the parameter. */
export function readRoutesQuery(params: Readonly<Record<string, string>>): RoutesQuery {
  for (const key of Object.keys(params))
    if (!KNOWN.has(key))
      refuse(key, params[key], `is no parameter of routes; known: ${[...KNOWN].join(', ')}`);
  const { family, peer, prefix } = params;
  const view = oneOf('view', params.view ?? 'loc', VIEWS);
  if (family !== undefined && family !== 'ipv4-unicast' && family !== 'ipv6-unicast')
    refuse('family', family, 'must be ipv4-unicast or ipv6-unicast');
  if (view === 'advertised' && peer === undefined)
    refuse('peer', undefined, 'is needed with view advertised');
  const lookup =
    params.lookup !== undefined
      ? oneOf('lookup', params.lookup, LOOKUPS)
      : flag('longer', params.longer)
        ? 'longer'
        : undefined;
  const limit = number('limit', params.limit, MOST);
  const cursor = number('cursor', params.cursor, Number.MAX_SAFE_INTEGER);
  const host = prefix !== undefined && !prefix.includes('/');
  return {
    stream: flag('stream', params.stream),
    query: {
      view,
      ...(family === undefined ? {} : { family: family as 'ipv4-unicast' | 'ipv6-unicast' }),
      ...(peer === undefined ? {} : { peer }),
      ...(prefix === undefined ? {} : { prefix: readPrefix('prefix', prefix) }),
      // Who asks for an address asks for the route that serves it.
      ...(lookup !== undefined ? { lookup } : host ? { lookup: 'match' as const } : {}),
      ...(limit === undefined ? {} : { limit }),
      ...(cursor === undefined ? {} : { cursor }),
    },
  };
}

/** A prefix, or an address for its host prefix. */
export function readPrefix(field: string, text: string | undefined): Prefix {
  if (text === undefined || text === '') return refuse(field, text, 'is missing');
  const prefix = Prefix.tryParse(text, { hostBits: 'clear' });
  if (prefix !== undefined) return prefix;
  const address = Address.tryParse(text);
  if (address !== undefined) return Prefix.host(address);
  return refuse(field, text, 'must be a prefix such as 10.0.0.0/8, or an address');
}

function oneOf<T extends string>(field: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  return found ?? refuse(field, value, `must be one of ${allowed.join(', ')}`);
}

function flag(field: string, value: string | undefined): boolean {
  if (value === undefined || value === 'false') return false;
  return value === 'true' || value === '' ? true : refuse(field, value, 'must be true or false');
}

function number(field: string, value: string | undefined, most: number): number | undefined {
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (/^\d{1,16}$/.test(value) && parsed <= most) return parsed;
  return refuse(field, value, `must be a whole number of at most ${most}`);
}

function refuse(field: string, value: unknown, message: string): never {
  throw new SpeakerError(
    'bad-request',
    `${field}: ${JSON.stringify(value) ?? 'nothing'} ${message}`,
    {
      field,
      value,
    },
  );
}
