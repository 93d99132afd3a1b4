import { LABEL_SOURCES, type LabelSet, RESERVED } from '@causeway/identity';
import type { EntryOrigin } from './entry.ts';
import type { IdentityView } from './identity-view.ts';
import { packL4 } from './l4.ts';
import { DIRECTIONS } from './model.ts';
import type { PeerPorts } from './peer-ports.ts';
import type { PolicySet } from './policy-set.ts';
import { PROTOCOL } from './protocols.ts';
import { type InstalledRule, type InstalledSection, namedKeys } from './rules.ts';
import type { PeerNode } from './selector-cache.ts';
import { selects } from './selector-cache.ts';
import type { PolicySettings } from './settings.ts';

/** The rule that lets a node reach its own pods. */
export const LOCALHOST_RULE: EntryOrigin & { readonly name: string } = Object.freeze({
  ruleId: 1,
  name: 'built in: the node reaches its own pods',
  deny: false,
  audit: false,
});

const LOCALHOST_KEY = packL4(0, PROTOCOL.any, 0, 0);

/**
 * Writes rules into policy sets and takes them out again: the one place that knows which entries a
 * rule has for a set. `sign` is +1 to add, -1 to take out; both must see the same rule, members and
 * named ports.
 */
export class Compiler {
  readonly #settings: PolicySettings;
  readonly #ports: PeerPorts;

  constructor(settings: PolicySettings, ports: PeerPorts) {
    this.#settings = settings;
    this.#ports = ports;
  }

  /** What holds for a set before any policy: pods without labels yet are closed, as in Cilium. */
  begin(set: PolicySet): void {
    const closed = this.#settings.enforcement === 'always' || isInit(set.spec.labels);
    if (!closed || this.#settings.enforcement === 'never') return;
    for (const direction of DIRECTIONS) set.wantDefaultDeny(direction, false, 1);
    this.#localhost(set, 1);
  }

  section(set: PolicySet, section: InstalledSection, sign: 1 | -1): void {
    if (this.#settings.enforcement === 'never') return;
    for (const direction of section.defaultDeny) {
      const before = set[direction];
      set.wantDefaultDeny(direction, section.audit, sign);
      const after = set[direction];
      if (direction !== 'ingress' || (before === 'off') === (after === 'off')) continue;
      this.#localhost(set, sign);
    }
  }

  #localhost(set: PolicySet, sign: 1 | -1): void {
    if (this.#settings.allowLocalhost !== 'always') return;
    if (sign > 0) set.add(RESERVED.host, LOCALHOST_KEY, LOCALHOST_RULE);
    else set.remove(RESERVED.host, LOCALHOST_KEY, LOCALHOST_RULE);
  }

  /** All of a rule's entries. */
  rule(set: PolicySet, rule: InstalledRule, sign: 1 | -1): void {
    if (this.#settings.enforcement === 'never') return;
    this.#forAll(set, rule, sign);
    for (const node of rule.nodes) {
      for (const identity of node.members) {
        if (sign > 0 && set.full) {
          set.overflow(rule, rule.rule.origin.direction);
          return;
        }
        this.member(set, rule, identity, sign);
      }
    }
  }

  #forAll(set: PolicySet, rule: InstalledRule, sign: 1 | -1): void {
    if (!rule.anyPeer) return;
    this.#put(set, rule, 0, rule.l4, sign);
    if (rule.rule.origin.direction === 'ingress') {
      this.#put(set, rule, 0, namedKeys(rule, set.spec.namedPorts), sign);
    }
  }

  /** A rule's entries for one identity, because one of the rule's selectors selects it. */
  member(set: PolicySet, rule: InstalledRule, identity: number, sign: 1 | -1): void {
    if (this.#settings.enforcement === 'never') return;
    if (!rule.anyPeer) this.#put(set, rule, identity, rule.l4, sign);
    if (rule.named.length === 0) return;
    if (rule.rule.origin.direction === 'egress') {
      this.#put(set, rule, identity, namedKeys(rule, this.#ports.of(identity)), sign);
    } else if (!rule.anyPeer) {
      this.#put(set, rule, identity, namedKeys(rule, set.spec.namedPorts), sign);
    }
  }

  /** A rule's entries that a packet from or to one peer can meet; the peer need not exist. */
  pair(set: PolicySet, rule: InstalledRule, peer: IdentityView): void {
    if (this.#settings.enforcement === 'never') return;
    this.#forAll(set, rule, 1);
    for (const node of rule.nodes) {
      if (selects(node.match, peer)) this.member(set, rule, peer.id, 1);
    }
  }

  /** What follows when a selector begins or ceases to select an identity. */
  selection(node: PeerNode<InstalledRule>, identity: number, sign: 1 | -1): void {
    for (const rule of node.users) {
      for (const set of rule.subject.sets) this.member(set, rule, identity, sign);
    }
  }

  #put(
    set: PolicySet,
    rule: InstalledRule,
    identity: number,
    keys: readonly number[],
    sign: 1 | -1,
  ): void {
    for (const l4 of keys) {
      if (sign < 0) set.remove(identity, l4, rule);
      else if (!set.full) set.add(identity, l4, rule);
      else {
        set.overflow(rule, rule.rule.origin.direction);
        return;
      }
    }
  }
}

const isInit = (labels: LabelSet): boolean => labels.get('init')?.source === LABEL_SOURCES.reserved;
