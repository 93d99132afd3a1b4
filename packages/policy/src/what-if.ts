import { cidrLabels } from '@causeway/identity';
import type { RuleRow } from './diff.ts';
import type { PolicyEngine, Supposition } from './engine.ts';
import type { IdentityView } from './identity-view.ts';
import { directionBit } from './l4.ts';
import { lookupVerdict, type Verdict } from './lookup.ts';
import type { Direction, Policy, PolicyRef } from './model.ts';
import { parsePolicy } from './parse/parse.ts';
import { FIRST_STRANGER, resolveParty } from './party.ts';
import { type PolicySet, type PolicySetSpec, policySetKey } from './policy-set.ts';
import { isIcmp, PORT_PROTOCOLS, PROTOCOL, portsText } from './protocols.ts';
import { PolicyError } from './refusal.ts';
import { combine } from './trace.ts';

/** Policies to be set, as they stand in the API, and policies to be deleted. */
export interface WhatIfChange {
  readonly manifests?: readonly unknown[];
  readonly remove?: readonly PolicyRef[];
}

export interface WhatIfOptions {
  /** Pairs to look at, at most; the answer says if there were more. */
  readonly maxPairs?: number;
}

/** One end of a pair: an identity with the endpoints of this node that have it. */
export interface WhatIfParty {
  readonly identity: number;
  readonly endpoints: readonly number[];
  readonly text: string;
}

/** Traffic of one pair whose verdict changes. */
export interface TrafficChange {
  /** 0: all protocols. */
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
  readonly before: Verdict['type'];
  readonly after: Verdict['type'];
  /** What decides afterwards. */
  readonly because: string;
  readonly text: string;
}

export interface PairChange {
  readonly from: WhatIfParty;
  readonly to: WhatIfParty;
  readonly traffic: readonly TrafficChange[];
}

export interface WhatIf {
  readonly pairs: readonly PairChange[];
  /** Pairs that were looked at; `truncated` if there were more than that. */
  readonly looked: number;
  readonly truncated: boolean;
}

/** Reserved numbers that no packet comes with. */
const isNobody = (identity: number, dualStack: boolean): boolean =>
  identity === RESERVED['overlay-to-encrypt'] || (dualStack && identity === RESERVED.world);

/** Peers for whom something may differ; undefined: everybody. */
type Concerned = ReadonlySet<number> | undefined;

interface Member {
  readonly party: WhatIfParty;
  readonly view: IdentityView;
  readonly before: PolicySet | undefined;
  readonly after: PolicySet | undefined;
  readonly concerned: Readonly<Record<Direction, Concerned>>;
}

const NOBODY = { ingress: new Set<number>(), egress: new Set<number>() } as const;
const UNBOUND = { before: undefined, after: undefined, concerned: NOBODY } as const;

const DEFAULT_MAX_PAIRS = 250_000;
const PROTOCOLS = [...PORT_PROTOCOLS, PROTOCOL.icmp, PROTOCOL.icmpv6];

/**
 * Which pairs of existing endpoints and identities would fare differently after a change. Both sides'
 * policies are compiled and looked up by the code that fills the maps.
 * Throws PolicyError `policy-refused` with every refusal if a manifest is not taken.
 */
export function whatIf(
  engine: PolicyEngine,
  change: WhatIfChange,
  { maxPairs = DEFAULT_MAX_PAIRS }: WhatIfOptions = {},
): WhatIf {
  const set = readManifests(engine, change.manifests ?? []);
  return engine.suppose({ set, remove: change.remove ?? [] }, (after) => {
    const members = gather(engine, after);
    const pairs: PairChange[] = [];
    let looked = 0;
    for (const changed of members) {
      for (const direction of ['egress', 'ingress'] as const) {
        if (changed.concerned[direction]?.size === 0) continue;
        for (const peer of members) {
          if (!isConcerned(changed, direction, peer)) continue;
          // Where both sides change, the pair is looked at once, from its sender.
          if (direction === 'ingress' && isConcerned(peer, 'egress', changed)) continue;
          if (looked >= maxPairs) return { pairs, looked, truncated: true };
          looked++;
          const [from, to] = direction === 'egress' ? [changed, peer] : [peer, changed];
          const traffic = compare(from, to, after);
          if (traffic.length > 0) pairs.push({ from: from.party, to: to.party, traffic });
        }
      }
    }
    return { pairs, looked, truncated: false };
  });
}

const isConcerned = (subject: Member, direction: Direction, peer: Member): boolean =>
  subject.concerned[direction]?.has(peer.view.id) ?? true;

function readManifests(engine: PolicyEngine, manifests: readonly unknown[]): Policy[] {
  const policies: Policy[] = [];
  for (const [index, manifest] of manifests.entries()) {
    const parsed = parsePolicy(manifest, engine.settings);
    if (parsed.ok) policies.push(parsed.value);
    else {
      const reasons = parsed.refusals.map((each) => each.message).join('; ');
      const message = `manifest ${index} is refused: ${reasons}`;
      throw new PolicyError('policy-refused', manifest, message, parsed.refusals);
    }
  }
  return policies;
}

/** Everybody who exists, with the policy of those who have one here, before and after. */
function gather(engine: PolicyEngine, after: Supposition): Member[] {
  const dualStack = engine.settings.families.length > 1;
  const known = new Set([...engine.identities.values()].map((each) => each.prefix));
  const strangers = after.prefixes
    .filter((prefix) => !known.has(prefix))
    .map((prefix, index) => engine.view(FIRST_STRANGER + index, cidrLabels(prefix, dualStack)));
  const sets = new Map<string, Pick<Member, 'before' | 'after' | 'concerned'>>();
  const setsOf = (spec: PolicySetSpec) => {
    const key = policySetKey(spec);
    let pair = sets.get(key);
    if (pair === undefined) {
      const touched = after.touches(spec.labels);
      // Prefixes without an identity yet are nowhere in the compiled sets.
      const registered = strangers.length === 0 ? engine.setOf(spec) : undefined;
      const before = registered ?? engine.probe(spec, strangers);
      if (touched) {
        const changed = after.probe(spec, strangers);
        const ingress = differing(before, changed, 'ingress');
        const egress = differing(before, changed, 'egress');
        pair = { before, after: changed, concerned: { ingress, egress } };
      } else {
        pair = { before, after: before, concerned: NOBODY };
      }
      sets.set(key, pair);
    }
    return pair;
  };
  const members: Member[] = [];
  const local = new Set<number>();
  const bySpec = new Map<string, { spec: PolicySetSpec; identity: number; endpoints: number[] }>();
  for (const [id, { endpoint, set }] of engine.endpoints) {
    local.add(endpoint.identity);
    const key = `${endpoint.identity} ${set.key}`;
    const group = bySpec.get(key);
    if (group) group.endpoints.push(id);
    else bySpec.set(key, { spec: set.spec, identity: endpoint.identity, endpoints: [id] });
  }
  for (const { spec, identity, endpoints } of bySpec.values()) {
    const { view, text } = resolveParty(engine, { endpoint: endpoints[0]! }, 0);
    members.push({ party: { identity, endpoints, text }, view, ...setsOf(spec) });
  }
  for (const [identity, view] of engine.identities) {
    if (local.has(identity) || isNobody(identity, dualStack)) continue;
    const { subject, text } = resolveParty(engine, { identity }, 0);
    const pair = subject ? setsOf(subject) : UNBOUND;
    members.push({ party: { identity, endpoints: [], text }, view, ...pair });
  }
  for (const view of strangers) {
    const party = { identity: view.id, endpoints: [], text: String(view.prefix) };
    members.push({ party, view, ...UNBOUND });
  }
  return members;
}

function differing(a: PolicySet, b: PolicySet, direction: Direction): Concerned {
  if (a[direction] !== b[direction]) return undefined;
  const dir = directionBit(direction);
  const found = new Set<number>();
  for (const identity of new Set([...a.identities(), ...b.identities()])) {
    for (const l4 of new Set([...a.keys(identity), ...b.keys(identity)])) {
      if ((l4 & 1) !== dir || a.get(identity, l4)?.flags === b.get(identity, l4)?.flags) continue;
      if (identity === 0) return undefined;
      found.add(identity);
      break;
    }
  }
  return found;
}

interface Outcome {
  readonly type: Verdict['type'];
  readonly because: string;
}

function compare(from: Member, to: Member, after: Supposition): TrafficChange[] {
  const changes: TrafficChange[] = [];
  const sides = [
    { sets: [from.before, from.after], peer: to.view.id, dir: 1 },
    { sets: [to.before, to.after], peer: from.view.id, dir: 0 },
  ];
  const starts = new Map(PROTOCOLS.map((protocol) => [protocol, new Set([0])]));
  for (const { sets, peer, dir } of sides) {
    for (const set of new Set(sets)) {
      for (const identity of [peer, 0]) {
        for (const l4 of set?.keys(identity) ?? []) {
          if ((l4 & 1) !== dir) continue;
          const port = (l4 >>> 1) & 0xffff;
          const protocol = starts.get(l4 >>> 22);
          protocol?.add(port);
          protocol?.add(port + (1 << (16 - ((l4 >>> 17) & 0x1f))));
        }
      }
    }
  }
  for (const [protocol, bounds] of starts) {
    const end = isIcmp(protocol) ? 256 : 0x10000;
    const sorted = [...bounds].filter((each) => each < end).sort((a, b) => a - b);
    sorted.forEach((first, index) => {
      const last = (sorted[index + 1] ?? end) - 1;
      const was = outcome(from.before, to.before, from, to, protocol, first, after.rule);
      const is = outcome(from.after, to.after, from, to, protocol, first, after.rule);
      if (was.type === is.type) return;
      const previous = changes.at(-1);
      const joins =
        previous?.protocol === protocol &&
        previous.last === first - 1 &&
        previous.before === was.type &&
        previous.after === is.type &&
        previous.because === is.because;
      const start = joins ? previous.first : first;
      if (joins) changes.pop();
      changes.push(trafficChange(protocol, start, last, was.type, is));
    });
  }
  return allTogether(changes);
}

function trafficChange(
  protocol: number,
  first: number,
  last: number,
  before: Verdict['type'],
  { type: after, because }: Outcome,
): TrafficChange {
  const what = protocol === PROTOCOL.any ? 'all traffic' : portsText(protocol, first, last);
  const text = `${what}: ${before} → ${after} (${because})`;
  return { protocol, first, last, before, after, because, text };
}

/** One line instead of one for each protocol where all of them fare the same. */
function allTogether(changes: TrafficChange[]): TrafficChange[] {
  const [one] = changes;
  const whole = changes.every(
    (each) =>
      each.first === 0 &&
      each.last === (isIcmp(each.protocol) ? 255 : 0xffff) &&
      each.before === one?.before &&
      each.after === one.after &&
      each.because === one.because,
  );
  if (one === undefined || !whole || changes.length !== PROTOCOLS.length) return changes;
  const { before, after, because } = one;
  return [trafficChange(PROTOCOL.any, 0, 0xffff, before, { type: after, because })];
}

function outcome(
  sender: PolicySet | undefined,
  receiver: PolicySet | undefined,
  from: Member,
  to: Member,
  protocol: number,
  port: number,
  rule: (ruleId: number) => RuleRow | undefined,
): Outcome {
  const egress = sender && lookupVerdict(sender, 'egress', to.view.id, protocol, port);
  const ingress = receiver && lookupVerdict(receiver, 'ingress', from.view.id, protocol, port);
  const type = combine(egress?.type ?? 'allow', ingress?.type ?? 'allow');
  // Where both sides say the same, the one with a rule to show says more.
  const sides = [
    ['egress', egress],
    ['ingress', ingress],
  ] as const;
  const deciding = sides.filter(([, each]) => each?.type === type);
  const [direction, verdict] = deciding.find(([, each]) => each?.ruleId !== undefined) ??
    deciding[0] ?? ['egress', undefined];
  const named = verdict?.ruleId === undefined ? undefined : rule(verdict.ruleId)?.name;
  const otherwise = type === 'allow' ? 'nothing closes it' : `default deny of ${direction}`;
  return { type, because: named ?? otherwise };
}
