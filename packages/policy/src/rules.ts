import type { CompiledSelector } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import type { RuleRow } from './diff.ts';
import type { EntryOrigin } from './entry.ts';
import { directionBit, type L4, packL4, portPrefixes } from './l4.ts';
import type { CidrGroup, Direction, NamedPort, Policy, Rule, SubjectSelector } from './model.ts';
import { ruleName } from './model.ts';
import { keysOfNodes } from './node-peers.ts';
import type { PolicySet } from './policy-set.ts';
import { PROTOCOL } from './protocols.ts';
import { cidrMatch, type PeerMatch, type PeerNode, type SelectorCache } from './selector-cache.ts';

/** Everyone whom some sections name as subject. */
export interface Subject {
  readonly who: SubjectSelector;
  readonly rules: Set<InstalledRule>;
  readonly sections: Set<InstalledSection>;
  readonly sets: Set<PolicySet>;
}

export interface InstalledSection {
  readonly subject: Subject;
  readonly audit: boolean;
  readonly defaultDeny: readonly Direction[];
}

/** A rule in force, with its peers interned. */
export interface InstalledRule extends EntryOrigin {
  readonly name: string;
  readonly rule: Rule;
  readonly subject: Subject;
  /** The rule is for every identity: its entries stand under identity 0. */
  readonly anyPeer: boolean;
  readonly nodes: readonly PeerNode<InstalledRule>[];
  /** Keys without named ports. */
  readonly l4: readonly L4[];
  readonly named: readonly { readonly protocol: number; readonly name: string }[];
  /** Prefixes that need an identity of their own for this rule to be told apart. */
  readonly prefixes: readonly Prefix[];
  /** Keys of Nodes' labels that it tells nodes apart by; undefined: it does not speak of nodes' labels. */
  readonly nodeKeys: ReadonlySet<string> | undefined;
}

export type Groups = ReadonlyMap<
  string,
  { readonly group: CidrGroup; readonly labels: GroupLabels }
>;
export interface GroupLabels {
  matches(selector: CompiledSelector): boolean;
}

/** A rule's keys that do not hang on named ports. */
export function staticKeys(rule: Rule): L4[] {
  const dir = directionBit(rule.origin.direction);
  const keys = new Set<L4>();
  for (const match of rule.ports) {
    switch (match.type) {
      case 'all':
        keys.add(packL4(dir, PROTOCOL.any, 0, 0));
        break;
      case 'range':
        for (const { port, prefixLength } of portPrefixes(match.first, match.last)) {
          keys.add(packL4(dir, match.protocol, prefixLength, port));
        }
        break;
      case 'named':
        break;
      default:
        match satisfies never;
    }
  }
  return [...keys];
}

/** A rule's keys from named ports: the endpoint's own for ingress, the peer's for egress. */
export function namedKeys(rule: InstalledRule, ports: Iterable<NamedPort>): L4[] {
  if (rule.named.length === 0) return [];
  const dir = directionBit(rule.rule.origin.direction);
  const keys = new Set<L4>();
  for (const { name, port, protocol } of ports) {
    const wanted = name.toLowerCase();
    if (rule.named.some((each) => each.protocol === protocol && each.name === wanted)) {
      keys.add(packL4(dir, protocol, 16, port));
    }
  }
  return [...keys];
}

/** What the peers of a rule select by, groups resolved; undefined in the list for "any". */
export function peerMatches(rule: Rule, groups: Groups): (PeerMatch | undefined)[] {
  return rule.peers.map((peer): PeerMatch | undefined => {
    switch (peer.type) {
      case 'any':
        return undefined;
      case 'labels':
      case 'nodes':
        return { type: 'labels', selector: peer.selector };
      case 'cidr':
        return cidrMatch([peer.prefix], peer.except);
      case 'cidr-groups': {
        const { by } = peer;
        const prefixes =
          by.type === 'name'
            ? (groups.get(by.name)?.group.prefixes ?? [])
            : [...groups.values()].flatMap(({ group, labels }) =>
                labels.matches(by.selector) ? group.prefixes : [],
              );
        return cidrMatch(prefixes, peer.except);
      }
      default:
        return peer satisfies never;
    }
  });
}

/** The prefixes in what a rule selects by. /0 needs none: the world identities stand for it. */
export function prefixesOf(matches: readonly (PeerMatch | undefined)[]): Prefix[] {
  const prefixes = new Set<Prefix>();
  for (const match of matches) {
    if (match?.type !== 'cidr') continue;
    for (const { prefix } of match.prefixes) prefixes.add(prefix);
    for (const prefix of match.except) prefixes.add(prefix);
  }
  return [...prefixes].filter((prefix) => !prefix.endsWith('/0'));
}

/** Interns a rule's peers and works out its keys. The caller gives it its number and subject. */
export function installRule(
  rule: Rule,
  audit: boolean,
  given: { readonly ruleId: number; readonly subject: Subject; readonly groups: Groups },
  cache: SelectorCache<InstalledRule>,
): InstalledRule {
  const matches = peerMatches(rule, given.groups);
  const anyPeer = matches.includes(undefined);
  const named = rule.ports.filter((each) => each.type === 'named');
  const installed: InstalledRule & { nodes: readonly PeerNode<InstalledRule>[] } = {
    ruleId: given.ruleId,
    name: ruleName(rule.origin),
    rule,
    deny: rule.deny,
    audit,
    subject: given.subject,
    anyPeer,
    nodes: [],
    l4: staticKeys(rule),
    named,
    prefixes: prefixesOf(matches),
    nodeKeys: keysOfNodes(rule.peers),
  };
  // Any peer makes the others superfluous. A named egress port, though, is each peer's own.
  const perIdentity: PeerMatch[] = anyPeer
    ? named.length > 0 && rule.origin.direction === 'egress'
      ? [{ type: 'all' }]
      : []
    : matches.filter((each) => each !== undefined);
  installed.nodes = [...new Set(perIdentity.map((match) => cache.acquire(match, installed)))];
  return installed;
}

export const ruleRow = (rule: InstalledRule): RuleRow => ({
  ruleId: rule.ruleId,
  name: rule.name,
  origin: rule.rule.origin,
  deny: rule.deny,
  audit: rule.audit,
});

/** Equal for rules that compile alike, so that an update touches only what it changes. */
export function ruleSignature(policy: Policy, subjectKey: string, rule: Rule): string {
  const peers = rule.peers.map((peer) => {
    switch (peer.type) {
      case 'any':
        return 'any';
      case 'labels':
        return `l ${peer.selector.key}`;
      case 'nodes':
        return `n ${peer.selector.key}`;
      case 'cidr':
        return `c ${peer.prefix} ${peer.except.join()}`;
      case 'cidr-groups':
        return peer.by.type === 'name'
          ? `g ${peer.by.name} ${peer.except.join()}`
          : `s ${peer.by.selector.key} ${peer.except.join()}`;
      default:
        return peer satisfies never;
    }
  });
  return JSON.stringify([policy.audit, subjectKey, rule.deny, peers, rule.ports]);
}
