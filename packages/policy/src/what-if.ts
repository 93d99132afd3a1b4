import { cidrLabels, type LabelSet, RESERVED } from '@causeway/identity';
import type { RuleRow } from './diff.ts';
import type { PolicyEngine } from './engine.ts';
import type { IdentityView } from './identity-view.ts';
import { lookupVerdict, type Verdict } from './lookup.ts';
import { type Direction, forNodes, type Policy, type PolicyRef, policyName } from './model.ts';
import { nodeIdentityLabels } from './node-peers.ts';
import { parsePolicy } from './parse/parse.ts';
import { describe, FIRST_STRANGER, resolveParty } from './party.ts';
import { type PolicySet, type PolicySetSpec, policySetKey } from './policy-set.ts';
import { isIcmp, PORT_PROTOCOLS, PROTOCOL, portsText } from './protocols.ts';
import { PolicyError } from './refusal.ts';
import type { Applicable, Supposition } from './rule-book.ts';
import { selects } from './selector-cache.ts';
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
  /** Policies of the change that select nodes: they bind a node only where it is an endpoint itself. */
  readonly forNodes: readonly string[];
}

/** Peers for whom something may differ; undefined: everybody. */
type Concerned = ReadonlySet<number> | undefined;

/** A pod with the policy that binds it, before and after. */
interface Bound {
  readonly spec: PolicySetSpec;
  readonly before: Applicable;
  readonly after: Applicable;
  readonly concerned: Readonly<Record<Direction, Concerned>>;
  /** What the kernel has for it already. */
  readonly registered: PolicySet | undefined;
}

interface Member {
  readonly party: WhatIfParty;
  readonly view: IdentityView;
  readonly stranger: boolean;
  /** What its own policy hangs on, if that is known here. */
  readonly subject: PolicySetSpec | undefined;
  /** Made when first asked for: most members are nobody's concern. */
  readonly bound: () => Bound | undefined;
}

/** Reserved numbers that no packet comes with. */
const isNobody = (identity: number, dualStack: boolean): boolean =>
  identity === RESERVED['overlay-to-encrypt'] || (dualStack && identity === RESERVED.world);

const DEFAULT_MAX_PAIRS = 20_000;
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
  const names = set.filter((each) => forNodes(each)).map(policyName);
  return engine.suppose({ set, remove: change.remove ?? [] }, (after) => {
    const members = gather(engine, after);
    const touched = new Set(members.filter((each) => isTouched(each, after)));
    const pairs: PairChange[] = [];
    let looked = 0;
    for (const changed of touched) {
      for (const direction of ['egress', 'ingress'] as const) {
        const concerned = changed.bound()?.concerned[direction];
        if (concerned?.size === 0) continue;
        for (const peer of members) {
          if (concerned !== undefined && !concerned.has(peer.view.id)) continue;
          // Where both sides change, the pair is looked at once, from its sender.
          if (direction === 'ingress' && touched.has(peer)) {
            const sending = peer.bound()?.concerned.egress;
            if (sending === undefined || sending.has(changed.view.id)) continue;
          }
          if (looked >= maxPairs) return { pairs, looked, truncated: true, forNodes: names };
          looked++;
          const [from, to] = direction === 'egress' ? [changed, peer] : [peer, changed];
          const traffic = compare(engine, from, to, after);
          if (traffic.length > 0) pairs.push({ from: from.party, to: to.party, traffic });
        }
      }
    }
    return { pairs, looked, truncated: false, forNodes: names };
  });
}

function isTouched({ subject }: Member, after: Supposition): boolean {
  if (subject === undefined) return false;
  const { sections, rules } = after.changed(subject);
  return sections.length > 0 || rules.length > 0;
}

function readManifests(engine: PolicyEngine, manifests: readonly unknown[]): Policy[] {
  const policies: Policy[] = [];
  for (const [index, manifest] of manifests.entries()) {
    const parsed = parsePolicy(manifest, engine.settings);
    if (parsed.ok) policies.push(parsed.value);
    else {
      const reasons = parsed.refusals.map((each) => each.message).join('; ');
      const message = `manifest ${index + 1}${nameOf(manifest)} is refused: ${reasons}`;
      throw new PolicyError('policy-refused', manifest, message, parsed.refusals);
    }
  }
  return policies;
}

/** Everybody who exists, with the policy of those who have one here, before and after. */
function gather(engine: PolicyEngine, after: Supposition): Member[] {
  const dualStack = engine.settings.families.length > 1;
  const known = new Set([...engine.identities.values()].map((each) => each.prefix));
  const strangers = [
    ...after.prefixes
      .filter((prefix) => !known.has(prefix))
      .map((prefix) => cidrLabels(prefix, dualStack)),
    ...nodesToldApart(engine, after),
  ].map((labels, index) => engine.view(FIRST_STRANGER + index, labels));
  const bindings = new Map<string, Bound>();
  const bind = (spec: PolicySetSpec): Bound => {
    const key = policySetKey(spec);
    let bound = bindings.get(key);
    if (bound === undefined) {
      const change = after.changed(spec);
      const hit = [...engine.identities.values(), ...strangers];
      const before = engine.applicable(spec);
      const then = after.applicable(spec);
      const [was, is] = [before, then].map(({ sections }) => engine.defaults(spec, sections));
      const concerned = (direction: Direction): Concerned =>
        was?.[direction] === is?.[direction] ? concernedBy(change, direction, hit) : undefined;
      bound = {
        spec,
        before,
        after: then,
        concerned: { ingress: concerned('ingress'), egress: concerned('egress') },
        registered: engine.setOf(spec),
      };
      bindings.set(key, bound);
    }
    return bound;
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
    const party = { identity, endpoints, text };
    members.push({ party, view, stranger: false, subject: spec, bound: () => bind(spec) });
  }
  for (const [identity, view] of engine.identities) {
    if (local.has(identity) || isNobody(identity, dualStack)) continue;
    const { subject, text } = resolveParty(engine, { identity }, 0);
    const party = { identity, endpoints: [], text };
    const bound = () => subject && bind(subject);
    members.push({ party, view, stranger: false, subject, bound });
  }
  for (const view of strangers) {
    const text = view.prefix ?? describe(view.labels);
    const party = { identity: view.id, endpoints: [], text };
    members.push({ party, view, stranger: true, subject: undefined, bound: () => undefined });
  }
  return members;
}

/** Labels of nodes that rules of the change tell apart, and none in force does. */
function* nodesToldApart(engine: PolicyEngine, { nodeKeys }: Supposition): Generator<LabelSet> {
  if (nodeKeys.length === 0) return;
  const keys = new Set([engine.nodeKeys ?? [], ...nodeKeys].flatMap((each) => [...each]));
  const known = new Set(Array.from(engine.identities.values(), ({ labels }) => labels.text));
  for (const { node, base } of engine.settings.nodes()) {
    const view = engine.identities.get(base);
    const labels = view && nodeIdentityLabels(node, view.labels, keys);
    if (labels === undefined || known.has(labels.text)) continue;
    known.add(labels.text);
    yield labels;
  }
}

/** Whom the rules that come or go speak of; everybody, if one is for all. */
function concernedBy(
  { rules }: Applicable,
  direction: Direction,
  identities: readonly IdentityView[],
): Concerned {
  const found = new Set<number>();
  for (const rule of rules) {
    if (rule.rule.origin.direction !== direction) continue;
    if (rule.anyPeer) return undefined;
    for (const { match } of rule.nodes) {
      for (const identity of identities) if (selects(match, identity)) found.add(identity.id);
    }
  }
  return found;
}

/** What both sides have for one pair. */
interface Moment {
  readonly sender: PolicySet | undefined;
  readonly receiver: PolicySet | undefined;
}

function momentOf(
  engine: PolicyEngine,
  when: 'before' | 'after',
  from: Member,
  to: Member,
): Moment {
  const setOf = (subject: Member, peer: Member): PolicySet | undefined => {
    const bound = subject.bound();
    if (bound === undefined) return undefined;
    if (when === 'before' && bound.registered && !peer.stranger) return bound.registered;
    return engine.pairSet(bound.spec, bound[when], peer.view);
  };
  return { sender: setOf(from, to), receiver: setOf(to, from) };
}

interface Outcome {
  readonly type: Verdict['type'];
  readonly because: string;
}

function compare(
  engine: PolicyEngine,
  from: Member,
  to: Member,
  after: Supposition,
): TrafficChange[] {
  const changes: TrafficChange[] = [];
  const before = momentOf(engine, 'before', from, to);
  const then = momentOf(engine, 'after', from, to);
  const sides = [
    { sets: [before.sender, then.sender], peer: to.view.id, dir: 1 },
    { sets: [before.receiver, then.receiver], peer: from.view.id, dir: 0 },
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
      const was = outcome(before, from, to, protocol, first, after.rule);
      const is = outcome(then, from, to, protocol, first, after.rule);
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
  { sender, receiver }: Moment,
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

/** ` (Service web)`, as far as it says. */
function nameOf(manifest: unknown): string {
  const { kind, metadata } = (manifest ?? {}) as { kind?: unknown; metadata?: { name?: unknown } };
  const words = [kind, metadata?.name].filter((each) => typeof each === 'string');
  return words.length === 0 ? '' : ` (${words.join(' ').slice(0, 300)})`;
}
