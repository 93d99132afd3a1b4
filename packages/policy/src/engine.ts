import {
  type CompiledSelector,
  LABEL_SOURCES,
  type LabelSet,
  LabelSet as Labels,
  label,
} from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import { type EntryBudget, OVERFLOW_RULE } from './budget.ts';
import { Compiler, LOCALHOST_RULE } from './compiler.ts';
import type { EndpointPolicy, PolicyDiff, PolicySetChange, PrefixChange, RuleRow } from './diff.ts';
import { type IdentityView, reservedIdentities } from './identity-view.ts';
import type { CidrGroup, NamedPort, Policy, PolicyRef } from './model.ts';
import { policyName, ruleName } from './model.ts';
import { type Parsed, parseCidrGroup, parsePolicy } from './parse/parse.ts';
import { PeerPorts } from './peer-ports.ts';
import { PolicySet, type PolicySetSpec, policySetKey } from './policy-set.ts';
import { PrefixCounts } from './prefix-counts.ts';
import {
  type GroupLabels,
  type InstalledRule,
  type InstalledSection,
  installRule,
  ruleRow,
  ruleSignature,
  type Subject,
} from './rules.ts';
import { SelectorCache } from './selector-cache.ts';
import { DEFAULT_POLICY_SETTINGS, type PolicySettings } from './settings.ts';
import { StableIds } from './stable-ids.ts';
import { type Trace, type TraceQuery, trace } from './trace.ts';
import { type WhatIf, type WhatIfChange, type WhatIfOptions, whatIf } from './what-if.ts';

/** A local endpoint, as far as policy looks at it. */
export interface PolicyEndpoint {
  readonly id: number;
  readonly identity: number;
  readonly labels: LabelSet;
  readonly namedPorts: readonly NamedPort[];
  /** Nothing is denied to it, everything that would be is reported. */
  readonly audit: boolean;
}

interface InstalledPolicy {
  readonly policy: Policy;
  /** By rule name, with the signature that tells whether an update changes the rule. */
  readonly rules: ReadonlyMap<string, { readonly rule: InstalledRule; readonly signature: string }>;
  readonly sections: readonly InstalledSection[];
}

interface KnownEndpoint {
  endpoint: PolicyEndpoint;
  set: PolicySet;
  sent: string;
  /** Revision at which it came to its set. */
  joined: number;
}

interface KnownGroup {
  readonly group: CidrGroup;
  readonly labels: GroupLabels;
}

/** First number for rules; those below are Causeway's own. */
const FIRST_RULE_ID = 16;
const MAX_U31 = 0x7fff_ffff;

/**
 * Policies, identities and endpoints in; differences of the kernel's policy maps out. Every method
 * that changes something does so in place and at the cost of what it touches; `flush` gives what
 * changed in sum since the last one, so that changes taken back cost no write.
 */
export class PolicyEngine {
  readonly settings: PolicySettings;
  readonly #cache: SelectorCache<InstalledRule>;
  readonly #ports = new PeerPorts();
  readonly #compiler: Compiler;
  readonly #policies = new Map<string, InstalledPolicy>();
  readonly #groups = new Map<string, KnownGroup>();
  readonly #subjects = new Map<string, Subject>();
  readonly #rules = new Map<number, InstalledRule>();
  readonly #ruleIds = new StableIds(FIRST_RULE_ID, MAX_U31);
  readonly #setIds: StableIds;
  readonly #sets = new Map<string, { readonly set: PolicySet; readonly endpoints: Set<number> }>();
  readonly #endpoints = new Map<number, KnownEndpoint>();
  readonly #prefixes = new PrefixCounts();
  readonly #sentRules = new Map<number, string>();
  readonly #touchedRules = new Set<number>();
  readonly #budget: EntryBudget;
  #revision: number;

  constructor(settings: Partial<PolicySettings> & Pick<PolicySettings, 'cluster' | 'families'>) {
    this.settings = { ...DEFAULT_POLICY_SETTINGS, ...settings };
    this.#cache = new SelectorCache(this.settings.families);
    this.#compiler = new Compiler(this.settings, this.#ports);
    this.#setIds = new StableIds(1, MAX_U31, this.settings.policyIds);
    this.#revision = this.settings.firstRevision - 1;
    this.#budget = { left: this.settings.maxEntries };
    for (const [id, labels] of reservedIdentities()) this.#cache.add(id, labels);
  }

  // Policies

  /** Takes a manifest in, or says why not; refused, it changes nothing and its predecessor stays. */
  apply(object: unknown): Parsed<Policy> {
    const parsed = parsePolicy(object, this.settings);
    if (parsed.ok) this.setPolicy(parsed.value);
    return parsed;
  }

  setPolicy(policy: Policy): void {
    const key = policyName(policy);
    const old = this.#policies.get(key);
    const rules = new Map<string, { rule: InstalledRule; signature: string }>();
    const sections: InstalledSection[] = [];
    for (const section of policy.sections) {
      const subject = this.#subject(section.subject);
      const installed = { subject, audit: policy.audit, defaultDeny: section.defaultDeny };
      subject.sections.add(installed);
      sections.push(installed);
      for (const set of subject.sets) this.#compiler.section(set, installed, 1);
      for (const rule of section.rules) {
        const name = ruleName(rule.origin);
        const signature = ruleSignature(policy, subject.selector.key, rule);
        const before = old?.rules.get(name);
        if (before?.signature === signature) rules.set(name, before);
        else {
          const fresh = installRule(
            rule,
            policy.audit,
            { ruleId: this.#ruleIds.take(name), subject, groups: this.#groups },
            this.#cache,
          );
          this.#install(fresh);
          rules.set(name, { rule: fresh, signature });
        }
      }
    }
    this.#policies.set(key, { policy, rules, sections });
    if (old === undefined) return;
    for (const [name, { rule }] of old.rules) {
      if (rules.get(name)?.rule === rule) continue;
      this.#uninstall(rule);
      if (!rules.has(name)) this.#forgetRule(rule);
    }
    this.#removeSections(old.sections);
  }

  deletePolicy(ref: PolicyRef): void {
    const key = policyName(ref);
    const old = this.#policies.get(key);
    if (old === undefined) return;
    this.#policies.delete(key);
    for (const { rule } of old.rules.values()) {
      this.#uninstall(rule);
      this.#forgetRule(rule);
    }
    this.#removeSections(old.sections);
  }

  *policies(): Generator<Policy> {
    for (const { policy } of this.#policies.values()) yield policy;
  }

  #install(rule: InstalledRule): void {
    rule.subject.rules.add(rule);
    this.#rules.set(rule.ruleId, rule);
    this.#touchedRules.add(rule.ruleId);
    for (const prefix of rule.prefixes) this.#prefixes.change(prefix, 1);
    for (const set of rule.subject.sets) this.#compiler.rule(set, rule, 1);
  }

  #uninstall(rule: InstalledRule): void {
    for (const set of rule.subject.sets) this.#compiler.rule(set, rule, -1);
    for (const node of rule.nodes) this.#cache.release(node, rule);
    for (const prefix of rule.prefixes) this.#prefixes.change(prefix, -1);
    rule.subject.rules.delete(rule);
    this.#dropSubject(rule.subject);
  }

  #forgetRule(rule: InstalledRule): void {
    this.#rules.delete(rule.ruleId);
    this.#ruleIds.release(rule.name);
    this.#touchedRules.add(rule.ruleId);
  }

  #removeSections(sections: readonly InstalledSection[]): void {
    for (const section of sections) {
      for (const set of section.subject.sets) this.#compiler.section(set, section, -1);
      section.subject.sections.delete(section);
      this.#dropSubject(section.subject);
    }
  }

  #subject(selector: CompiledSelector): Subject {
    const known = this.#subjects.get(selector.key);
    if (known !== undefined) return known;
    const subject: Subject = { selector, rules: new Set(), sections: new Set(), sets: new Set() };
    for (const { set } of this.#sets.values()) {
      if (selector.matches(set.spec.labels)) subject.sets.add(set);
    }
    this.#subjects.set(selector.key, subject);
    return subject;
  }

  #dropSubject({ selector, rules, sections }: Subject): void {
    if (rules.size === 0 && sections.size === 0) this.#subjects.delete(selector.key);
  }

  // CIDR groups

  applyCidrGroup(object: unknown): Parsed<CidrGroup> {
    const parsed = parseCidrGroup(object);
    if (parsed.ok) this.setCidrGroup(parsed.value);
    return parsed;
  }

  setCidrGroup(group: CidrGroup): void {
    const labels = Labels.of(
      Object.entries(group.labels).map(([key, value]) =>
        label(LABEL_SOURCES.cidrGroup, key, value),
      ),
    );
    this.#groups.set(group.name, {
      group,
      labels: { matches: (selector) => selector.matches(labels) },
    });
    this.#reinstallGroupRules();
  }

  deleteCidrGroup(name: string): void {
    if (this.#groups.delete(name)) this.#reinstallGroupRules();
  }

  /** Rules that speak of groups are few; what a group does not change gives no write. */
  #reinstallGroupRules(): void {
    for (const [key, installed] of this.#policies) {
      const rules = new Map(installed.rules);
      for (const [name, { rule, signature }] of installed.rules) {
        if (!rule.rule.peers.some((peer) => peer.type === 'cidr-groups')) continue;
        const fresh = installRule(
          rule.rule,
          rule.audit,
          { ruleId: rule.ruleId, subject: rule.subject, groups: this.#groups },
          this.#cache,
        );
        this.#install(fresh);
        this.#uninstall(rule);
        rules.set(name, { rule: fresh, signature });
      }
      this.#policies.set(key, { ...installed, rules });
    }
  }

  // Identities

  /** A new identity, or new labels for a known one. */
  setIdentity(id: number, labels: LabelSet): void {
    const known = this.#cache.identities.get(id);
    if (known?.labels.equals(labels)) return;
    if (known !== undefined) this.deleteIdentity(id);
    for (const node of this.#cache.add(id, labels)) this.#compiler.selection(node, id, 1);
  }

  deleteIdentity(id: number): void {
    for (const node of this.#cache.delete(id)) this.#compiler.selection(node, id, -1);
  }

  get identities(): ReadonlyMap<number, IdentityView> {
    return this.#cache.identities;
  }

  /**
   * Named ports of a peer, for egress rules that speak of ports by name. Endpoints of this node are
   * counted by `setEndpoint`; this is for those elsewhere.
   * @param owner whatever tells peers of one identity apart, such as the address.
   */
  setPeerPorts(owner: string, identity: number, ports: readonly NamedPort[]): void {
    const before = this.#ports.identityOf(owner);
    const affected = new Set(before === undefined ? [identity] : [before, identity]);
    for (const id of affected) this.#namedEgress(id, -1);
    this.#ports.set(owner, identity, ports);
    for (const id of affected) this.#namedEgress(id, 1);
  }

  deletePeerPorts(owner: string): void {
    const identity = this.#ports.identityOf(owner);
    if (identity !== undefined) this.setPeerPorts(owner, identity, []);
  }

  /** Takes out or puts back what egress rules with named ports have for the identity. */
  #namedEgress(identity: number, sign: 1 | -1): void {
    for (const node of this.#cache.selectedBy(identity)) {
      for (const rule of node.users) {
        if (rule.named.length === 0 || rule.rule.origin.direction !== 'egress') continue;
        for (const set of rule.subject.sets) this.#compiler.member(set, rule, identity, sign);
      }
    }
  }

  // Endpoints

  setEndpoint(endpoint: PolicyEndpoint): void {
    const key = policySetKey(endpoint);
    const known = this.#endpoints.get(endpoint.id);
    if (known?.set.key === key) {
      known.endpoint = endpoint;
    } else {
      const set = this.#join(key, endpoint);
      this.#endpoints.set(endpoint.id, { endpoint, set, sent: '', joined: -1 });
      if (known !== undefined) this.#leave(endpoint.id, known.set);
    }
    this.setPeerPorts(`endpoint ${endpoint.id}`, endpoint.identity, endpoint.namedPorts);
  }

  deleteEndpoint(id: number): void {
    const known = this.#endpoints.get(id);
    if (known === undefined) return;
    this.#endpoints.delete(id);
    this.#leave(id, known.set);
    this.deletePeerPorts(`endpoint ${id}`);
  }

  get endpoints(): ReadonlyMap<
    number,
    { readonly endpoint: PolicyEndpoint; readonly set: PolicySet }
  > {
    return this.#endpoints;
  }

  #join(key: string, spec: PolicySetSpec & { readonly id: number }): PolicySet {
    const known = this.#sets.get(key);
    if (known !== undefined) {
      known.endpoints.add(spec.id);
      return known.set;
    }
    const { labels, namedPorts, audit } = spec;
    const limits = { entries: this.settings.maxEntriesPerSet, shared: this.#budget };
    const set = new PolicySet(this.#setIds.take(key), { labels, namedPorts, audit }, limits);
    this.#fill(set);
    this.#sets.set(key, { set, endpoints: new Set([spec.id]) });
    return set;
  }

  /** A set that nobody uses goes with the next flush, so that a quick return costs nothing. */
  #leave(id: number, set: PolicySet): void {
    this.#sets.get(set.key)?.endpoints.delete(id);
  }

  #fill(set: PolicySet): void {
    this.#compiler.begin(set);
    for (const subject of this.#subjects.values()) {
      if (!subject.selector.matches(set.spec.labels)) continue;
      subject.sets.add(set);
      for (const section of subject.sections) this.#compiler.section(set, section, 1);
      for (const rule of subject.rules) this.#compiler.rule(set, rule, 1);
    }
  }

  // Outputs

  /** Every compiled set in use. */
  *sets(): Generator<PolicySet> {
    for (const { set } of this.#sets.values()) yield set;
  }

  /** Numbers to hand in as `policyIds` after a restart. */
  policyIds(): Map<string, number> {
    return new Map(this.#setIds);
  }

  /** Sets that some rule found no room in. */
  *overflows(): Generator<{ readonly policyId: number; readonly dropped: number }> {
    for (const { id, dropped } of this.sets()) if (dropped > 0) yield { policyId: id, dropped };
  }

  rule(ruleId: number): RuleRow | undefined {
    for (const own of [LOCALHOST_RULE, OVERFLOW_RULE]) if (own.ruleId === ruleId) return { ...own };
    const rule = this.#rules.get(ruleId);
    return rule && ruleRow(rule);
  }

  *rules(): Generator<RuleRow> {
    for (const rule of this.#rules.values()) yield ruleRow(rule);
  }

  /** Prefixes that need a node-local identity now, with the number of rules that need each. */
  get prefixes(): ReadonlyMap<Prefix, number> {
    return this.#prefixes.counts;
  }

  /**
   * What changed among them since it was last asked. Asked before `flush`, so that identities and
   * their ipcache rows can be there before entries that tell them apart: until they are, addresses
   * that an `except` takes out still count as what surrounds them.
   */
  takePrefixChange(): PrefixChange {
    return this.#prefixes.take();
  }

  /** What the kernel must be told since the last flush. Sets are to be applied in the order given. */
  flush(): PolicyDiff {
    const revision = this.#revision + 1;
    const sets: PolicySetChange[] = [];
    const removed: PolicySetChange[] = [];
    for (const [key, { set, endpoints }] of this.#sets) {
      if (endpoints.size > 0) {
        if (set.wantsRefill) {
          set.clear();
          this.#fill(set);
        }
        const change = set.flush(revision);
        if (change !== undefined) sets.push(change);
        continue;
      }
      this.#sets.delete(key);
      this.#setIds.release(key);
      for (const subject of this.#subjects.values()) subject.sets.delete(set);
      if (set.known) removed.push(set.removal());
      set.clear();
    }
    const endpoints: EndpointPolicy[] = [];
    for (const [endpointId, known] of this.#endpoints) {
      if (known.joined < 0) known.joined = revision;
      const { id, ingress, egress } = known.set;
      const row: EndpointPolicy = {
        endpointId,
        policyId: id,
        revision: Math.max(known.set.revision, known.joined),
        ingress,
        egress,
      };
      const text = Object.values(row).join();
      if (text === known.sent) continue;
      known.sent = text;
      endpoints.push(row);
    }
    if (sets.length > 0 || endpoints.length > 0) this.#revision = revision;
    return {
      sets,
      endpoints,
      removedSets: removed,
      rules: this.#takeRules(),
      prefixes: this.takePrefixChange(),
    };
  }

  #takeRules(): PolicyDiff['rules'] {
    const added: RuleRow[] = [];
    const removed: number[] = [];
    for (const ruleId of this.#touchedRules) {
      const rule = this.#rules.get(ruleId);
      const text = rule && `${rule.name} ${rule.deny} ${rule.audit}`;
      if (text === this.#sentRules.get(ruleId)) continue;
      if (rule === undefined) {
        this.#sentRules.delete(ruleId);
        removed.push(ruleId);
      } else {
        this.#sentRules.set(ruleId, text!);
        added.push(ruleRow(rule));
      }
    }
    this.#touchedRules.clear();
    return { added, removed };
  }

  // For questions

  /** Distinct selectors that rules name now. */
  get selectorCount(): number {
    return this.#cache.selectorCount;
  }

  /** What applies to pods of these labels. */
  applicable(labels: LabelSet): Applicable {
    const found = [...this.#subjects.values()].filter((each) => each.selector.matches(labels));
    return {
      sections: found.flatMap((each) => [...each.sections]),
      rules: found.flatMap((each) => [...each.rules]),
    };
  }

  /** The outside identity that stands for a prefix or address now. */
  outside(prefix: Prefix): IdentityView | undefined {
    return this.#cache.outside(prefix);
  }

  portsOf(identity: number): NamedPort[] {
    return [...this.#ports.of(identity)];
  }

  identityOf(labels: LabelSet): IdentityView | undefined {
    for (const view of this.#cache.identities.values()) {
      if (view.labels.equals(labels)) return view;
    }
    return undefined;
  }

  view(id: number, labels: LabelSet): IdentityView {
    return this.#cache.view(id, labels);
  }

  /** What becomes of packets that no entry matches, by the sections alone. */
  defaults(spec: PolicySetSpec, sections: readonly InstalledSection[]): PolicySet {
    const set = new PolicySet(0, spec);
    this.#compiler.begin(set);
    for (const section of sections) this.#compiler.section(set, section, 1);
    return set;
  }

  /** The part of a set that packets from or to one peer can meet. It is not kept up to date. */
  pairSet(spec: PolicySetSpec, { sections, rules }: Applicable, peer: IdentityView): PolicySet {
    const set = this.defaults(spec, sections);
    for (const rule of rules) this.#compiler.pair(set, rule, peer);
    return set;
  }

  /** The set that endpoints of this kind share, if there are any. */
  setOf(spec: PolicySetSpec): PolicySet | undefined {
    return this.#sets.get(policySetKey(spec))?.set;
  }

  /** Runs `use` with what would apply after a change of policies, and leaves everything as it was. */
  suppose<T>(
    change: { readonly set: readonly Policy[]; readonly remove: readonly PolicyRef[] },
    use: (after: Supposition) => T,
  ): T {
    const gone = [...change.set, ...change.remove].flatMap(
      (ref) => this.#policies.get(policyName(ref)) ?? [],
    );
    const goneRules = new Set(
      gone.flatMap((each) => [...each.rules.values()].map(({ rule }) => rule)),
    );
    const goneSections = new Set(gone.flatMap((each) => each.sections));
    const newSections: InstalledSection[] = [];
    const newRules: InstalledRule[] = [];
    const newNames: string[] = [];
    try {
      for (const policy of change.set) {
        for (const { subject: selector, defaultDeny, rules } of policy.sections) {
          const subject: Subject = {
            selector,
            rules: new Set(),
            sections: new Set(),
            sets: new Set(),
          };
          newSections.push({ subject, audit: policy.audit, defaultDeny });
          for (const rule of rules) {
            const name = ruleName(rule.origin);
            if (this.#ruleIds.get(name) === undefined) newNames.push(name);
            const at = { ruleId: this.#ruleIds.take(name), subject, groups: this.#groups };
            newRules.push(installRule(rule, policy.audit, at, this.#cache));
          }
        }
      }
      const byId = new Map(newRules.map((each) => [each.ruleId, ruleRow(each)]));
      const of = <E extends { readonly subject: Subject }>(list: Iterable<E>, labels: LabelSet) =>
        [...list].filter((each) => each.subject.selector.matches(labels));
      return use({
        prefixes: [...new Set(newRules.flatMap((each) => each.prefixes))],
        rule: (ruleId) => byId.get(ruleId) ?? this.rule(ruleId),
        changed: (labels) => ({
          sections: of([...goneSections, ...newSections], labels),
          rules: of([...goneRules, ...newRules], labels),
        }),
        applicable: (labels) => {
          const now = this.applicable(labels);
          return {
            sections: [
              ...now.sections.filter((each) => !goneSections.has(each)),
              ...of(newSections, labels),
            ],
            rules: [...now.rules.filter((each) => !goneRules.has(each)), ...of(newRules, labels)],
          };
        },
      });
    } finally {
      for (const rule of newRules) for (const node of rule.nodes) this.#cache.release(node, rule);
      for (const name of newNames) this.#ruleIds.release(name);
    }
  }

  trace(query: TraceQuery): Trace {
    return trace(this, query);
  }

  whatIf(change: WhatIfChange, options: WhatIfOptions = {}): WhatIf {
    return whatIf(this, change, options);
  }
}

/** The sections and rules that are for somebody. */
export interface Applicable {
  readonly sections: readonly InstalledSection[];
  readonly rules: readonly InstalledRule[];
}

/** How things would be. */
export interface Supposition {
  /** Prefixes that the change's rules speak of. */
  readonly prefixes: readonly Prefix[];
  rule(ruleId: number): RuleRow | undefined;
  /** What the change takes away from or gives to pods of these labels. */
  changed(labels: LabelSet): Applicable;
  /** What would apply to them. */
  applicable(labels: LabelSet): Applicable;
}
