import { type Address, Prefix } from '@causeway/ip';
import { findOverlaps, type PlanOverlap, type PlanRange } from '@causeway/ipam';
import type { ClusterConfig } from '../codec/cluster-config.ts';
import { type ClusterFacts, planRangesOf, type RoutingMode } from './facts.ts';

export type CheckName =
  | 'reachable'
  | 'tls'
  | 'rights'
  | 'config'
  | 'name'
  | 'id'
  | 'clusters'
  | 'addresses'
  | 'tunnel'
  | 'routing'
  | 'mtu'
  | 'version';

/** What may be taken as it is when it is meant; all else would do harm. */
export const ACCEPTABLE: ReadonlySet<CheckName> = new Set<CheckName>(['mtu', 'version']);

/** One line of the table. `accepted`: wrong, and meant so. `unknown`: nothing said otherwise. */
export interface CheckRow {
  readonly check: CheckName;
  readonly state: 'ok' | 'failed' | 'accepted' | 'unknown';
  readonly mine: string;
  readonly theirs: string;
  /** What is wrong and what to do; empty when nothing is. */
  readonly reason: string;
}

export const passes = (rows: readonly CheckRow[]): boolean =>
  rows.every(({ state }) => state !== 'failed');

/** What one node says of itself in its cluster's store. */
export interface NodeFacts {
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly podCIDRs: readonly Prefix[];
}

/** What was seen of the other cluster's store when its token's credentials were tried. */
export interface PeerView {
  /** Each endpoint; the error if it was not reached, or its TLS refused. */
  readonly endpoints: readonly {
    readonly url: string;
    readonly unreachable?: string;
    readonly refused?: string;
  }[];
  /** Ranges that ought to be readable and are not, with the store's word. */
  readonly unreadable: readonly string[];
  /** Ranges and keys that ought to be closed and are open. */
  readonly open: readonly string[];
  readonly config: ClusterConfig | { readonly error: string };
  readonly nodes: readonly NodeFacts[];
  readonly tunnelPorts: readonly number[];
  readonly routingModes: readonly RoutingMode[];
  readonly mtus: readonly number[];
}

/** A cluster that this one reads already. */
export interface KnownPeer {
  readonly name: string;
  readonly id: number | undefined;
  readonly facts: ClusterFacts | undefined;
}

export interface CheckInput {
  readonly mine: ClusterFacts;
  readonly myNodes: readonly NodeFacts[];
  readonly theirs: ClusterFacts;
  /** Undefined before its store can be reached: only what it says of itself is checked. */
  readonly view: PeerView | undefined;
  readonly known: readonly KnownPeer[];
  readonly accept: ReadonlySet<CheckName>;
}

/** Everything that must fit before two clusters join, as one side sees it. */
export function checkJoin(input: CheckInput): CheckRow[] {
  const { view } = input;
  const rows = [
    ...(view === undefined ? [] : viewRows(input, view)),
    name(input),
    id(input),
    clusters(input),
    addresses(input),
    tunnel(input),
    routing(input),
    mtu(input),
    version(input),
  ];
  return rows.map((row) =>
    row.state === 'failed' && ACCEPTABLE.has(row.check) && input.accept.has(row.check)
      ? { ...row, state: 'accepted' }
      : row,
  );
}

const row = (
  check: CheckName,
  mine: string,
  theirs: string,
  reason = '',
  state: CheckRow['state'] = reason === '' ? 'ok' : 'failed',
): CheckRow => ({ check, state, mine, theirs, reason });

function viewRows({ theirs }: CheckInput, view: PeerView): CheckRow[] {
  const away = view.endpoints.filter(({ unreachable }) => unreachable !== undefined);
  const refused = view.endpoints.filter((each) => each.refused !== undefined);
  const urls = view.endpoints.map(({ url }) => url).join(' ');
  const reachable = row(
    'reachable',
    '',
    urls,
    away.map(({ url, unreachable }) => `${url}: ${unreachable}`).join('; '),
  );
  const tls = row(
    'tls',
    '',
    `${view.endpoints.length - refused.length - away.length} of ${view.endpoints.length} endpoints`,
    refused.map((each) => `${each.url}: ${each.refused}`).join('; '),
  );
  // Of a store that nobody could ask nothing more is known.
  if (away.length + refused.length > 0) return [reachable, tls];
  const wrong = [
    ...view.unreadable.map((each) => `cannot read ${each}`),
    ...view.open.map((each) => `can reach ${each}, which no peer may`),
  ];
  const rights = row('rights', '', 'read, and no more', wrong.join('; '));
  return [reachable, tls, rights, config(theirs, view)];
}

function config(theirs: ClusterFacts, view: PeerView): CheckRow {
  const said = `${theirs.name}, id ${theirs.id}`;
  if ('error' in view.config) return row('config', '', said, view.config.error);
  const { id: stored, maxConnectedClusters: max } = view.config;
  const wrong = [
    ...(stored === theirs.id ? [] : [`its store says id ${stored}, its token ${theirs.id}`]),
    ...(max === theirs.maxConnectedClusters
      ? []
      : [`its store says ${max} clusters, its token ${theirs.maxConnectedClusters}`]),
  ];
  return row('config', '', said, wrong.join('; '));
}

function name({ mine, theirs, known }: CheckInput): CheckRow {
  const clash =
    theirs.name === mine.name
      ? 'both clusters have this name: one must be called otherwise'
      : known.some((peer) => peer.name === theirs.name)
        ? `${mine.name} has a peer ${theirs.name} already: leave it first, or renew its certificates`
        : '';
  return row('name', mine.name, theirs.name, clash);
}

function id({ mine, theirs, known }: CheckInput): CheckRow {
  const holder =
    theirs.id === mine.id ? mine.name : known.find((peer) => peer.id === theirs.id)?.name;
  const beyond =
    theirs.id > mine.maxConnectedClusters
      ? `id ${theirs.id} is beyond ${mine.name}'s most, ${mine.maxConnectedClusters}`
      : '';
  const clash =
    holder === undefined
      ? beyond
      : `id ${theirs.id} is ${holder}'s, and ${theirs.name} has it too: one of them needs another`;
  return row('id', String(mine.id), String(theirs.id), clash);
}

function clusters({ mine, theirs }: CheckInput): CheckRow {
  const [a, b] = [mine.maxConnectedClusters, theirs.maxConnectedClusters];
  const reason =
    a === b ? '' : 'the whole mesh needs one maxConnectedClusters: it divides identities';
  return row('clusters', String(a), String(b), reason);
}

const MAX_TOLD = 8;

function addresses({ mine, myNodes, theirs, view, known }: CheckInput): CheckRow {
  const own = [...planRangesOf(mine, mine.name), ...nodeRanges(mine.name, myNodes)];
  const others = known.flatMap(({ facts }) =>
    facts === undefined || facts.name === theirs.name ? [] : planRangesOf(facts, facts.name),
  );
  const peer = [
    ...planRangesOf(theirs, theirs.name),
    ...nodeRanges(theirs.name, view?.nodes ?? []),
  ];
  const mineFirst = new Set([...own, ...others]);
  const wrong = findOverlaps([...mineFirst, ...peer]).filter(
    (each) => mineFirst.has(each.range) !== mineFirst.has(each.other) && !harmless(each),
  );
  // A default route as a range would take everybody's traffic, whether or not anything lies in it today.
  const whole = peer.filter(({ cidr, level }) => level === 'object' && cidr.endsWith('/0'));
  const told = [
    ...whole.map(({ cidr, owner }) => `${cidr} (${owner}) is everybody's`),
    ...wrong.map(({ message }) => message),
  ];
  const more = told.length > MAX_TOLD ? [`and ${told.length - MAX_TOLD} more`] : [];
  return row(
    'addresses',
    `${own.length} ranges`,
    `${peer.length} ranges`,
    [...told.slice(0, MAX_TOLD), ...more].join('; '),
  );
}

function nodeRanges(cluster: string, nodes: readonly NodeFacts[]): PlanRange[] {
  return nodes.flatMap(({ name: node, addresses: own, podCIDRs }) => {
    const about = {
      scope: { cluster },
      owner: `node ${node} of ${cluster}`,
      level: 'object',
    } as const;
    return [
      ...own.map((each) => ({ ...about, use: 'nodes' as const, cidr: Prefix.host(each) })),
      ...podCIDRs.map((cidr) => ({ ...about, use: 'pods' as const, cidr })),
    ];
  });
}

/**
 * Service addresses mean something inside their cluster only, so two clusters may have the same. And two plans of one
 * company say the same of the same ranges.
 */
function harmless({ range, other }: PlanOverlap): boolean {
  if (range.use === 'services' && other.use === 'services') return true;
  if (range.level !== 'plan' || other.level !== 'plan') return false;
  const same = (key: 'region' | 'vpc' | 'cluster') => range.scope[key] === other.scope[key];
  return range.cidr === other.cidr && range.use === other.use && same('cluster') && same('vpc');
}

const list = (values: readonly (string | number)[]): string => values.join(', ') || 'not known';

/** Nodes' own word goes before what a token said of them. */
const seen = <T>(view: readonly T[] | undefined, said: readonly T[]): readonly T[] =>
  view !== undefined && view.length > 0 ? view : said;

function tunnel({ mine, theirs, view }: CheckInput): CheckRow {
  const a = mine.tunnelPorts;
  const b = seen(view?.tunnelPorts, theirs.tunnelPorts);
  const modes = [...mine.routingModes, ...seen(view?.routingModes, theirs.routingModes)];
  if (modes.length > 0 && modes.every((mode) => mode === 'native'))
    return row('tunnel', 'not used', 'not used');
  if (a.length === 0 || b.length === 0) return row('tunnel', list(a), list(b), '', 'unknown');
  const all = new Set([...a, ...b]);
  const reason = all.size > 1 ? 'all nodes of the mesh need one tunnel port (tunnel.port)' : '';
  return row('tunnel', `UDP ${list(a)}`, `UDP ${list(b)}`, reason);
}

function routing({ mine, theirs, view }: CheckInput): CheckRow {
  const a = mine.routingModes;
  const b = seen(view?.routingModes, theirs.routingModes);
  if (a.length === 0 || b.length === 0) return row('routing', list(a), list(b), '', 'unknown');
  const all = new Set([...a, ...b]);
  // What one side sends by tunnel, nodes that only route do not unpack. Hybrid nodes do both.
  const reason =
    all.has('native') && all.has('tunnel')
      ? 'one side tunnels and the other routes: make both the same, or hybrid (routingMode)'
      : '';
  return row('routing', list(a), list(b), reason);
}

function mtu({ mine, theirs, view }: CheckInput): CheckRow {
  const a = mine.mtus;
  const b = seen(view?.mtus, theirs.mtus);
  if (a.length === 0 || b.length === 0) return row('mtu', list(a), list(b), '', 'unknown');
  const reason =
    Math.min(...a) === Math.min(...b)
      ? ''
      : 'packets of the greater MTU depend on path MTU discovery between the clusters (mtu); --accept mtu if it works';
  return row('mtu', list(a), list(b), reason);
}

function version({ mine, theirs }: CheckInput): CheckRow {
  const [a, b] = [mine.version, theirs.version].map((text) => text.split('.').map(Number));
  const fits = a?.[0] === b?.[0] && Math.abs((a?.[1] ?? 0) - (b?.[1] ?? 0)) <= 1;
  const reason = fits
    ? ''
    : 'versions may be one minor apart; update the older one, or --accept version';
  return row('version', mine.version, theirs.version, reason);
}
