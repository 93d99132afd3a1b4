/**
 * Routing as the RFCs tell it, over plain objects, with no thought of speed: what the speaker is held against.
 */
import type {
  CommunityChange,
  CommunityMatch,
  Policy,
  PolicyLibrary,
  PrefixSet,
} from '../src/policy/types.ts';
import type { AsPath, PathAttributes } from '../src/wire/attributes.ts';
import { Community } from '../src/wire/communities.ts';

export interface NaivePath {
  readonly peer: string;
  readonly pathId: number;
  readonly prefix: string;
  readonly attributes: PathAttributes;
  /** Dotted quad; `self` of originated paths. */
  readonly nextHop: string;
  readonly tag?: string;
  readonly neighbors?: readonly string[];
}

export interface NaivePeer {
  readonly name: string;
  readonly kind: 'ebgp' | 'ibgp' | 'local';
  readonly asn: number;
  /** As a number. */
  readonly routerId: number;
  readonly address: string;
  readonly client: boolean;
  readonly import?: string;
  readonly export?: string;
  readonly addPath: number;
}

const pathText = (path: AsPath): string =>
  path.map(({ type, asns }) => (type === 'set' ? `{${asns.join(' ')}}` : asns.join(' '))).join(' ');

const pathLength = (path: AsPath): number =>
  path.reduce((sum, { type, asns }) => sum + (type === 'set' ? 1 : asns.length), 0);

function inPrefixSet(set: PrefixSet, prefix: string): boolean {
  const [address, length] = split(prefix);
  return set.some((rule) => {
    const {
      prefix: base,
      ge,
      le,
    } = typeof rule === 'string' ? { prefix: rule, ge: undefined, le: undefined } : rule;
    const [baseAddress, baseLength] = split(base);
    const least = ge ?? baseLength;
    const most = le ?? (ge === undefined ? baseLength : 32);
    return (
      length >= least &&
      length <= most &&
      address.slice(0, baseLength) === baseAddress.slice(0, baseLength)
    );
  });
}

/** Bits as text. */
function split(prefix: string): [string, number] {
  const [address, length] = prefix.split('/') as [string, string];
  const bits = address.split('.').map((octet) => Number(octet).toString(2).padStart(8, '0'));
  return [bits.join(''), Number(length)];
}

const communityMatches = (pattern: string, community: number): boolean => {
  const text = `${community >>> 16}:${community & 0xffff}`;
  const wanted =
    pattern.includes('*') || /^\d/.test(pattern) ? pattern : standard(Community.parse(pattern));
  const [a, b] = wanted.split(':');
  const [x, y] = text.split(':');
  return (a === '*' || a === x) && (b === '*' || b === y);
};
const standard = (community: number): string => `${community >>> 16}:${community & 0xffff}`;

function communitiesHold(match: CommunityMatch, has: readonly number[]): boolean {
  const some = (pattern: string) => has.some((one) => communityMatches(pattern, one));
  return (
    (match.any === undefined || match.any.some(some)) &&
    (match.all ?? []).every(some) &&
    !(match.none ?? []).some(some)
  );
}

function changed(change: CommunityChange, has: readonly number[]): number[] {
  const add = (change.replace ?? change.add ?? []).map(Community.parse);
  const kept =
    change.replace === undefined
      ? has.filter(
          (one) => !(change.remove ?? []).some((pattern) => communityMatches(pattern, one)),
        )
      : [];
  return [...new Set([...kept, ...add])].sort((a, b) => a - b);
}

export const prepended = (path: AsPath, asn: number, count: number): AsPath => {
  const added = Array.from({ length: count }, () => asn) as never[];
  const [first, ...rest] = path;
  return first?.type === 'sequence'
    ? [{ type: 'sequence', asns: [...added, ...first.asns] }, ...rest]
    : [{ type: 'sequence', asns: added }, ...path];
};

export interface Outcome {
  readonly attributes: PathAttributes;
  readonly nextHop: 'standard' | 'self' | 'unchanged';
  readonly setMed: boolean;
}

/** What a policy makes of a route; undefined: refused. */
export function runPolicy(
  policy: Policy,
  library: PolicyLibrary,
  route: NaivePath,
  source: 'local' | 'ibgp' | 'ebgp',
  neighbor: NaivePeer,
  localAsn: number,
): Outcome | undefined {
  let { attributes } = route;
  let nextHop: Outcome['nextHop'] = 'standard';
  let setMed = false;
  for (const { match = {}, set = {}, then = 'next' } of policy.statements) {
    const sets = [
      ...(match.prefixSets ?? []).map((name) => library.prefixSets![name]!),
      ...(match.prefixes === undefined ? [] : [match.prefixes]),
    ];
    const holds =
      (sets.length === 0 || sets.some((one) => inPrefixSet(one, route.prefix))) &&
      (match.families === undefined || match.families.includes('ipv4-unicast')) &&
      (match.communities === undefined ||
        communitiesHold(match.communities, attributes.communities ?? [])) &&
      (match.asPath?.patterns === undefined ||
        match.asPath.patterns.some((pattern) =>
          new RegExp(pattern.replaceAll('_', '(?:^|$|[ ,{}()])')).test(pathText(attributes.asPath)),
        )) &&
      (match.asPath?.length?.max === undefined ||
        pathLength(attributes.asPath) <= match.asPath.length.max) &&
      (match.neighbors === undefined || match.neighbors.includes(neighbor.name)) &&
      (match.neighborAsns === undefined || match.neighborAsns.includes(neighbor.asn)) &&
      (match.source === undefined || match.source.includes(source)) &&
      (match.tags === undefined || (route.tag !== undefined && match.tags.includes(route.tag))) &&
      (match.med?.min === undefined || (attributes.med ?? 0) >= match.med.min) &&
      (match.localPreference?.min === undefined ||
        (attributes.localPreference ?? 100) >= match.localPreference.min);
    if (!holds) continue;
    if (then === 'reject') return undefined;
    if (set.localPreference !== undefined) {
      attributes = { ...attributes, localPreference: set.localPreference };
    }
    if (typeof set.med === 'number') attributes = { ...attributes, med: set.med };
    else if (set.med === 'none') {
      const { med: _gone, ...rest } = attributes;
      attributes = rest;
    } else if (set.med !== undefined) {
      attributes = { ...attributes, med: Math.max(0, (attributes.med ?? 0) + set.med.add) };
    }
    if (set.med !== undefined) setMed = true;
    if (set.communities !== undefined) {
      const { communities: before = [], ...rest } = attributes;
      const communities = changed(set.communities, before);
      attributes = communities.length === 0 ? rest : { ...rest, communities };
    }
    if (set.prepend !== undefined) {
      const { asn = localAsn, count } = set.prepend;
      attributes = { ...attributes, asPath: prepended(attributes.asPath, asn, count) };
    }
    if (set.nextHop === 'self' || set.nextHop === 'unchanged') nextHop = set.nextHop;
    if (then === 'accept') return { attributes, nextHop, setMed };
  }
  return policy.otherwise === 'accept' ? { attributes, nextHop, setMed } : undefined;
}

export interface NaiveSpeaker {
  readonly asn: number;
  readonly routerId: string;
  readonly clusterId: string;
  readonly address: string;
  readonly library: PolicyLibrary;
  readonly peers: ReadonlyMap<string, NaivePeer>;
  readonly unreachable: ReadonlySet<string>;
  readonly alwaysCompareMed: boolean;
}

export interface Candidate {
  readonly path: NaivePath;
  readonly attributes: PathAttributes;
  readonly peer: NaivePeer;
}

/** After import; undefined: no candidate. */
export function imported(speaker: NaiveSpeaker, path: NaivePath): Candidate | undefined {
  const peer = speaker.peers.get(path.peer)!;
  if (peer.kind === 'local') return { path, attributes: path.attributes, peer };
  const { attributes } = path;
  if (attributes.asPath.some(({ asns }) => asns.includes(speaker.asn as never))) return undefined;
  if (peer.kind === 'ibgp') {
    if (attributes.originatorId === speaker.routerId) return undefined;
    if (attributes.clusterList?.includes(speaker.clusterId as never)) return undefined;
  }
  if (path.nextHop === speaker.address) return undefined;
  if (peer.import === undefined) {
    return peer.kind === 'ebgp' ? undefined : { path, attributes, peer };
  }
  const policy = speaker.library.policies[peer.import]!;
  const outcome = runPolicy(policy, speaker.library, path, peer.kind, peer, speaker.asn);
  if (outcome === undefined) return undefined;
  const isShut = peer.kind === 'ebgp' && outcome.attributes.communities?.includes(0xffff0000);
  return {
    path,
    attributes: isShut ? { ...outcome.attributes, localPreference: 0 } : outcome.attributes,
    peer,
  };
}

/** RFC 4271 section 9.1.2.2, by elimination as it is written. */
export function rank(speaker: NaiveSpeaker, candidates: readonly Candidate[]): Candidate[] {
  let left = candidates.filter(({ path }) => !speaker.unreachable.has(path.nextHop));
  const order: Candidate[] = [];
  while (left.length > 0) {
    const best = bestOf(speaker, left);
    order.push(best);
    left = left.filter((one) => one !== best);
  }
  return order;
}

const neighborAs = ({ asPath }: PathAttributes): number =>
  asPath[0]?.type === 'sequence' ? asPath[0].asns[0]! : 0;

function bestOf(speaker: NaiveSpeaker, all: readonly Candidate[]): Candidate {
  let left = [...all];
  const least = (value: (one: Candidate) => number): void => {
    const best = Math.min(...left.map(value));
    left = left.filter((one) => value(one) === best);
  };
  least(({ attributes }) => (attributes.communities?.includes(0xffff0006) ? 1 : 0));
  least(({ attributes }) => -(attributes.localPreference ?? 100));
  least(({ peer }) => (peer.kind === 'local' ? 0 : 1));
  least(({ attributes }) => pathLength(attributes.asPath));
  least(({ attributes }) => attributes.origin);
  const med = ({ attributes }: Candidate) => attributes.med ?? 0;
  left = left.filter(
    (one) =>
      !left.some(
        (other) =>
          (speaker.alwaysCompareMed ||
            neighborAs(other.attributes) === neighborAs(one.attributes)) &&
          med(other) < med(one),
      ),
  );
  least(({ peer }) => (peer.kind === 'ibgp' ? 1 : 0));
  least(({ attributes, peer }) =>
    attributes.originatorId === undefined ? peer.routerId : ipNumber(attributes.originatorId),
  );
  least(({ attributes }) => attributes.clusterList?.length ?? 0);
  least(({ peer }) => (peer.address === '' ? 0 : ipNumber(peer.address)));
  least(({ path }) => path.pathId);
  return left[0]!;
}

export const ipNumber = (text: string): number =>
  text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);

/** What a neighbour is sent of a candidate; undefined: nothing. */
export function exported(
  speaker: NaiveSpeaker,
  { path, attributes, peer }: Candidate,
  to: NaivePeer,
): { attributes: PathAttributes; nextHop: string } | undefined {
  const communities = attributes.communities ?? [];
  if (communities.includes(0xffffff02) || communities.includes(0xffff0006)) return undefined;
  if (
    to.kind === 'ebgp' &&
    (communities.includes(0xffffff01) || communities.includes(0xffffff03))
  ) {
    return undefined;
  }
  if (to.kind === 'ibgp' && peer.kind === 'ibgp' && !peer.client && !to.client) return undefined;
  let outcome: Outcome = { attributes, nextHop: 'standard', setMed: false };
  if (to.export === undefined) {
    if (to.kind === 'ebgp') return undefined;
  } else {
    const policy = speaker.library.policies[to.export]!;
    const run = runPolicy(
      policy,
      speaker.library,
      { ...path, attributes },
      peer.kind,
      to,
      speaker.asn,
    );
    if (run === undefined) return undefined;
    outcome = run;
  }
  const { originatorId, clusterList, localPreference, med, ...rest } = outcome.attributes;
  const isOwn = path.nextHop === 'self' || outcome.nextHop === 'self';
  if (to.kind === 'ebgp') {
    const keepsMed = med !== undefined && (outcome.setMed || peer.kind === 'local');
    const keepsHop = outcome.nextHop === 'unchanged' || peer.kind === 'local';
    return {
      attributes: {
        ...rest,
        asPath: prepended(rest.asPath, speaker.asn, 1),
        ...(keepsMed ? { med } : {}),
      },
      nextHop: isOwn || !keepsHop ? speaker.address : path.nextHop,
    };
  }
  const reflected = peer.kind === 'ibgp';
  return {
    attributes: {
      ...rest,
      ...(med === undefined ? {} : { med }),
      localPreference: localPreference ?? 100,
      ...(reflected
        ? {
            originatorId: originatorId ?? (dotted(peer.routerId) as never),
            clusterList: [speaker.clusterId as never, ...(clusterList ?? [])],
          }
        : {}),
    },
    nextHop: isOwn ? speaker.address : path.nextHop,
  };
}

const dotted = (id: number): string =>
  [24, 16, 8, 0].map((shift) => (id >>> shift) & 255).join('.');
