import type { RuleRow } from './diff.ts';
import type { PolicyEngine } from './engine.ts';
import { lookupVerdict, type Verdict } from './lookup.ts';
import type { Direction } from './model.ts';
import { distance, type NearMiss, nearMiss, type Traffic, validTraffic } from './near-miss.ts';
import { type Party, resolveParty, type Side } from './party.ts';
import type { PolicySet } from './policy-set.ts';
import { portsText, protocolNumber } from './protocols.ts';
import { PolicyError } from './refusal.ts';

export interface TraceQuery {
  readonly from: Party;
  readonly to: Party;
  /** `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or an IANA number. */
  readonly protocol: string | number;
  /** Destination port; the message type for ICMP. 0 where the protocol has none. */
  readonly port: number;
}

/** What one side's policy says. */
export interface DirectionTrace {
  readonly direction: Direction;
  readonly verdict: Verdict['type'];
  /**
   * `rule`: `rules` decided. `default-deny`: nothing allows it. `open`: no policy closes that
   * direction. `not-ours`: the side is no pod of this cluster, so its policy is not known here.
   */
  readonly by: 'rule' | 'default-deny' | 'open' | 'not-ours';
  /** The deciding rule first, then the others behind the same entry. */
  readonly rules: readonly RuleRow[];
  /** For default deny: the allow rules that came closest. */
  readonly nearMisses: readonly NearMiss[];
  readonly text: string;
}

export interface Trace {
  readonly from: string;
  readonly to: string;
  readonly traffic: string;
  /** Both sides together: one deny denies; audit if either is. */
  readonly verdict: Verdict['type'];
  readonly egress: DirectionTrace;
  readonly ingress: DirectionTrace;
  readonly text: string;
}

const MAX_NEAR_MISSES = 5;

/**
 * Answers with the entries that the kernel has, or for pods elsewhere with those it would have.
 * Throws PolicyError `unknown-party` or `invalid-query`.
 */
export function trace(engine: PolicyEngine, query: TraceQuery): Trace {
  const traffic = readTraffic(query);
  const from = resolveParty(engine, query.from, 0);
  const to = resolveParty(engine, query.to, 1);
  const egress = traceDirection(engine, 'egress', from, to, traffic);
  const ingress = traceDirection(engine, 'ingress', to, from, traffic);
  const verdict = combine(egress.verdict, ingress.verdict);
  const shown = portsText(traffic.protocol, traffic.port, traffic.port);
  return {
    from: from.text,
    to: to.text,
    traffic: shown,
    verdict,
    egress,
    ingress,
    text: `${from.text} → ${to.text} ${shown}: ${verdict}\n  ${egress.text}\n  ${ingress.text}`,
  };
}

export function combine(a: Verdict['type'], b: Verdict['type']): Verdict['type'] {
  if (a === 'deny' || b === 'deny') return 'deny';
  return a === 'audit' || b === 'audit' ? 'audit' : 'allow';
}

function readTraffic({ protocol, port }: TraceQuery): Traffic {
  const number = typeof protocol === 'number' ? protocol : protocolNumber(protocol);
  const traffic = { protocol: number ?? 0, port };
  if (!validTraffic(traffic)) {
    throw new PolicyError(
      'invalid-query',
      { protocol, port },
      `protocol ${protocol} port ${port} is no traffic: protocol is TCP, UDP, SCTP, ICMP, ICMPv6 or 1 to 255, port 0 to 65535, an ICMP type 0 to 255`,
    );
  }
  return traffic;
}

/** The entries that decide for a side: the kernel's own where it has them. */
function setFor(engine: PolicyEngine, { subject }: Side, peer: Side): PolicySet | undefined {
  if (subject === undefined) return undefined;
  const registered = engine.setOf(subject);
  if (registered !== undefined && !peer.stranger) return registered;
  return engine.pairSet(subject, engine.applicable(subject), peer.view);
}

function traceDirection(
  engine: PolicyEngine,
  direction: Direction,
  subject: Side,
  peer: Side,
  traffic: Traffic,
): DirectionTrace {
  const set = setFor(engine, subject, peer);
  const none = { rules: [], nearMisses: [] };
  if (set === undefined) {
    const text = `${direction} of ${subject.text}: not bound by this cluster's policies`;
    return { direction, verdict: 'allow', by: 'not-ours', ...none, text };
  }
  const found = lookupVerdict(set, direction, peer.view.id, traffic.protocol, traffic.port);
  const verdict = found.type;
  if (found.ruleId !== undefined) {
    const rule = engine.rule(found.ruleId)!;
    const others = matching(engine, subject, peer, direction, traffic).filter(
      (each) => each.ruleId !== rule.ruleId && each.deny === rule.deny,
    );
    const how =
      verdict === 'audit'
        ? 'would be denied by audited'
        : `${verdict === 'allow' ? 'allowed' : 'denied'} by`;
    const text = `${direction}: ${how} ${rule.name}`;
    return { direction, verdict, by: 'rule', rules: [rule, ...others], nearMisses: [], text };
  }
  if (verdict === 'allow') {
    const text = `${direction}: no policy in force closes it`;
    return { direction, verdict, by: 'open', ...none, text };
  }
  const nearMisses = misses(engine, subject, peer, direction, traffic);
  const [best] = nearMisses;
  const why = best ? `closest is ${best.text}` : `no rule allows anything`;
  const how =
    verdict === 'audit' ? 'would be denied, as audited policies want default deny' : 'default deny';
  const text = `${direction}: ${how}; ${why}`;
  return { direction, verdict, by: 'default-deny', rules: [], nearMisses, text };
}

/** Named ports that count in a direction: the destination's. */
const portsFor = (engine: PolicyEngine, direction: Direction, subject: Side, peer: Side) =>
  direction === 'ingress' ? (subject.subject?.namedPorts ?? []) : engine.portsOf(peer.view.id);

const rulesFor = (engine: PolicyEngine, { subject }: Side) =>
  subject === undefined ? [] : engine.applicable(subject).rules;

function matching(
  engine: PolicyEngine,
  subject: Side,
  peer: Side,
  direction: Direction,
  traffic: Traffic,
): RuleRow[] {
  const named = portsFor(engine, direction, subject, peer);
  const rows: RuleRow[] = [];
  for (const rule of rulesFor(engine, subject)) {
    if (rule.rule.origin.direction !== direction) continue;
    if (nearMiss(rule, peer.view, traffic, named) !== undefined) continue;
    const row = engine.rule(rule.ruleId);
    if (row !== undefined) rows.push(row);
  }
  return rows.sort((a, b) => a.ruleId - b.ruleId);
}

function misses(
  engine: PolicyEngine,
  subject: Side,
  peer: Side,
  direction: Direction,
  traffic: Traffic,
): NearMiss[] {
  const named = portsFor(engine, direction, subject, peer);
  const found: NearMiss[] = [];
  for (const rule of rulesFor(engine, subject)) {
    if (rule.deny || rule.rule.origin.direction !== direction) continue;
    const miss = nearMiss(rule, peer.view, traffic, named);
    if (miss !== undefined) found.push(miss);
    else {
      // It would allow the packet, but it is audited, so it opens nothing.
      const row = engine.rule(rule.ruleId)!;
      found.push({ rule: row, unmet: [], text: `${row.name}: it is only audited` });
    }
  }
  return found
    .sort((a, b) => distance(a) - distance(b) || a.rule.ruleId - b.rule.ruleId)
    .slice(0, MAX_NEAR_MISSES);
}
