import type { EntryBudget } from './budget.ts';
import type { EndpointPolicy, PolicySetChange } from './diff.ts';
import { PolicySet, type PolicySetSpec, policySetKey } from './policy-set.ts';
import type { RuleBook } from './rule-book.ts';
import type { PolicySettings } from './settings.ts';
import { StableIds } from './stable-ids.ts';

/** A local endpoint, as far as policy looks at it. */
export interface PolicyEndpoint extends PolicySetSpec {
  readonly id: number;
  readonly identity: number;
}

interface KnownEndpoint {
  endpoint: PolicyEndpoint;
  set: PolicySet;
  sent: string;
  /** Revision at which it came to its set. */
  joined: number;
}

const LAST_SET_ID = 0x7fff_ffff;

/** Which endpoint is under which compiled set, and what of that the kernel has been told. */
export class SetTable {
  readonly #settings: PolicySettings;
  readonly #ids: StableIds;
  readonly #sets = new Map<string, { readonly set: PolicySet; readonly endpoints: Set<number> }>();
  readonly #endpoints = new Map<number, KnownEndpoint>();
  readonly #budget: EntryBudget;
  #revision: number;

  constructor(settings: PolicySettings) {
    this.#settings = settings;
    this.#ids = new StableIds(1, LAST_SET_ID, settings.policyIds);
    this.#revision = settings.firstRevision - 1;
    this.#budget = { left: settings.maxEntries };
  }

  get endpoints(): ReadonlyMap<
    number,
    { readonly endpoint: PolicyEndpoint; readonly set: PolicySet }
  > {
    return this.#endpoints;
  }

  *sets(): Generator<PolicySet> {
    for (const { set } of this.#sets.values()) yield set;
  }

  get(spec: PolicySetSpec): PolicySet | undefined {
    return this.#sets.get(policySetKey(spec))?.set;
  }

  ids(): Map<string, number> {
    return new Map(this.#ids);
  }

  setEndpoint(endpoint: PolicyEndpoint, book: RuleBook): void {
    const key = policySetKey(endpoint);
    const known = this.#endpoints.get(endpoint.id);
    if (known?.set.key === key) {
      known.endpoint = endpoint;
      return;
    }
    const set = this.#join(key, endpoint, book);
    this.#endpoints.set(endpoint.id, { endpoint, set, sent: '', joined: -1 });
    if (known !== undefined) this.#leave(endpoint.id, known.set);
  }

  deleteEndpoint(id: number): void {
    const known = this.#endpoints.get(id);
    if (known === undefined) return;
    this.#endpoints.delete(id);
    this.#leave(id, known.set);
  }

  #join(key: string, endpoint: PolicyEndpoint, book: RuleBook): PolicySet {
    const known = this.#sets.get(key);
    if (known !== undefined) {
      known.endpoints.add(endpoint.id);
      return known.set;
    }
    const { labels, nodeLabels, namedPorts, audit } = endpoint;
    const limits = { entries: this.#settings.maxEntriesPerSet, shared: this.#budget };
    const set = new PolicySet(
      this.#ids.take(key),
      { labels, nodeLabels, namedPorts, audit },
      limits,
    );
    book.fill(set);
    this.#sets.set(key, { set, endpoints: new Set([endpoint.id]) });
    return set;
  }

  /** A set that nobody uses goes with the next flush, so that a quick return costs nothing. */
  #leave(id: number, set: PolicySet): void {
    this.#sets.get(set.key)?.endpoints.delete(id);
  }

  flush(book: RuleBook): {
    readonly sets: PolicySetChange[];
    readonly endpoints: EndpointPolicy[];
    readonly removedSets: PolicySetChange[];
  } {
    const revision = this.#revision + 1;
    const sets: PolicySetChange[] = [];
    const removedSets: PolicySetChange[] = [];
    for (const [key, { set, endpoints }] of this.#sets) {
      if (endpoints.size > 0) {
        if (set.wantsRefill) {
          set.clear();
          book.fill(set);
        }
        const change = set.flush(revision);
        if (change !== undefined) sets.push(change);
        continue;
      }
      this.#sets.delete(key);
      this.#ids.release(key);
      book.abandon(set);
      if (set.known) removedSets.push(set.removal());
      set.clear();
    }
    const endpoints = this.#changedRows(revision);
    if (sets.length > 0 || endpoints.length > 0) this.#revision = revision;
    return { sets, endpoints, removedSets };
  }

  #changedRows(revision: number): EndpointPolicy[] {
    const rows: EndpointPolicy[] = [];
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
      rows.push(row);
    }
    return rows;
  }
}
