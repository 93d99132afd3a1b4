import type { LabelSet } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import { Compiler } from './compiler.ts';
import type { PolicyDiff, PrefixChange, RuleRow } from './diff.ts';
import { type IdentityView, reservedIdentities } from './identity-view.ts';
import {
  type CidrGroup,
  forNodes,
  type NamedPort,
  type Policy,
  type PolicyRef,
  policyName,
  type SubjectLabels,
} from './model.ts';
import { type Parsed, parseCidrGroup, parsePolicy } from './parse/parse.ts';
import { PeerPorts } from './peer-ports.ts';
import { PolicySet, type PolicySetSpec } from './policy-set.ts';
import { type Applicable, RuleBook, type Supposition } from './rule-book.ts';
import type { InstalledRule, InstalledSection } from './rules.ts';
import { SelectorCache } from './selector-cache.ts';
import { type PolicyEndpoint, SetTable } from './set-table.ts';
import { DEFAULT_POLICY_SETTINGS, type PolicySettings } from './settings.ts';
import { type Trace, type TraceQuery, trace } from './trace.ts';
import { type WhatIf, type WhatIfChange, type WhatIfOptions, whatIf } from './what-if.ts';

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
  readonly #table: SetTable;
  readonly #book: RuleBook;

  constructor(settings: Partial<PolicySettings> & Pick<PolicySettings, 'cluster' | 'families'>) {
    this.settings = { ...DEFAULT_POLICY_SETTINGS, ...settings };
    this.#cache = new SelectorCache(this.settings.families);
    this.#compiler = new Compiler(this.settings, this.#ports);
    this.#table = new SetTable(this.settings);
    this.#book = new RuleBook(this.#cache, this.#compiler, () => this.#table.sets());
    for (const [id, labels] of reservedIdentities()) this.#cache.add(id, labels);
  }

  /** Takes a manifest in, or says why not; refused, it changes nothing and its predecessor stays. */
  apply(object: unknown): Parsed<Policy> {
    const parsed = parsePolicy(object, this.settings);
    if (parsed.ok) this.#book.setPolicy(parsed.value);
    return parsed;
  }

  deletePolicy(ref: PolicyRef): void {
    this.#book.deletePolicy(ref);
  }

  applyCidrGroup(object: unknown): Parsed<CidrGroup> {
    const parsed = parseCidrGroup(object);
    if (parsed.ok) this.#book.setCidrGroup(parsed.value);
    return parsed;
  }

  deleteCidrGroup(name: string): void {
    this.#book.deleteCidrGroup(name);
  }

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

  setEndpoint(endpoint: PolicyEndpoint): void {
    this.#table.setEndpoint(endpoint, this.#book);
    this.setPeerPorts(`endpoint ${endpoint.id}`, endpoint.identity, endpoint.namedPorts);
  }

  deleteEndpoint(id: number): void {
    this.#table.deleteEndpoint(id);
    this.deletePeerPorts(`endpoint ${id}`);
  }

  get endpoints(): ReadonlyMap<
    number,
    { readonly endpoint: PolicyEndpoint; readonly set: PolicySet }
  > {
    return this.#table.endpoints;
  }

  /** Every compiled set in use. */
  sets(): Iterable<PolicySet> {
    return this.#table.sets();
  }

  /** Numbers to hand in as `policyIds` after a restart. */
  policyIds(): Map<string, number> {
    return this.#table.ids();
  }

  /** Sets that some rule found no room in. */
  *overflows(): Generator<{ readonly policyId: number; readonly dropped: number }> {
    for (const { id, dropped } of this.sets()) if (dropped > 0) yield { policyId: id, dropped };
  }

  /** Names of policies for nodes; with `who`, of those that bind it as a node. */
  *nodePolicies(who?: SubjectLabels): Generator<string> {
    for (const policy of this.#book.policies()) if (forNodes(policy, who)) yield policyName(policy);
  }

  rule(ruleId: number): RuleRow | undefined {
    return this.#book.row(ruleId);
  }

  rules(): Iterable<RuleRow> {
    return this.#book.rows();
  }

  /** Prefixes that need a node-local identity now, with the number of rules that need each. */
  get prefixes(): ReadonlyMap<Prefix, number> {
    return this.#book.prefixes.counts;
  }

  /**
   * Keys of Nodes' labels that rules tell nodes apart by, for whoever gives nodes their identities
   * (`nodeIdentityLabels`); undefined while no rule does. The same object until it changes.
   */
  get nodeKeys(): ReadonlySet<string> | undefined {
    return this.#book.nodeKeys.keys;
  }

  /**
   * What changed among them since it was last asked. Asked before `flush`, so that identities and
   * their ipcache rows can be there before entries that tell them apart: until they are, addresses
   * that an `except` takes out still count as what surrounds them.
   */
  takePrefixChange(): PrefixChange {
    return this.#book.prefixes.take();
  }

  /** What the kernel must be told since the last flush. Sets are to be applied in the order given. */
  flush(): PolicyDiff {
    const changes = this.#table.flush(this.#book);
    return { ...changes, rules: this.#book.takeChange(), prefixes: this.takePrefixChange() };
  }

  trace(query: TraceQuery): Trace {
    return trace(this, query);
  }

  whatIf(change: WhatIfChange, options: WhatIfOptions = {}): WhatIf {
    return whatIf(this, change, options);
  }

  // What the answers are made from

  /** Distinct selectors that rules name now. */
  get selectorCount(): number {
    return this.#cache.selectorCount;
  }

  applicable(who: SubjectLabels): Applicable {
    return this.#book.applicable(who);
  }

  suppose<T>(
    change: { readonly set: readonly Policy[]; readonly remove: readonly PolicyRef[] },
    use: (after: Supposition) => T,
  ): T {
    return this.#book.suppose(change, use);
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
    return this.#table.get(spec);
  }
}
