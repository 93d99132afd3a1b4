import {
  type CompiledSelector,
  LABEL_KEYS,
  type LabelSet,
  type Requirement,
} from '@causeway/identity';
import { Prefix, PrefixTrie } from '@causeway/ip';
import { type Families, type IdentityView, identityView } from './identity-view.ts';

/** What a peer selects by. `all` is every identity that is known, one by one. */
export type PeerMatch =
  | { readonly type: 'all' }
  | { readonly type: 'labels'; readonly selector: CompiledSelector }
  | {
      readonly type: 'cidr';
      /** Several where they stand for CIDR groups. */
      readonly prefixes: PrefixTrie<true>;
      readonly except: readonly Prefix[];
    };

export function cidrMatch(prefixes: Iterable<Prefix>, except: readonly Prefix[]): PeerMatch {
  const trie = new PrefixTrie<true>();
  for (const prefix of prefixes) trie.set(prefix, true);
  return { type: 'cidr', prefixes: trie, except };
}

/** An interned selector with the identities it selects at the moment. */
export interface PeerNode<User> {
  readonly key: string;
  readonly match: PeerMatch;
  readonly members: Set<number>;
  /** The rules that name it. */
  readonly users: Set<User>;
}

interface Known<User> extends IdentityView {
  readonly selectedBy: Set<PeerNode<User>>;
}

/**
 * Selectors and identities, kept matched against each other. Each selector is filed under one of its
 * positive conditions, each identity under its labels, so that adding either looks only at the other
 * kind's members that share a label with it.
 */
export class SelectorCache<User> {
  readonly #families: Families;
  readonly #identities = new Map<number, Known<User>>();
  readonly #nodes = new Map<string, PeerNode<User>>();
  /** label key → value → identities. */
  readonly #byLabel = new Map<string, Map<string, Set<number>>>();
  readonly #byPrefix = new PrefixTrie<Set<number>>();
  /** label key → value → selectors that want it. */
  readonly #wantValue = new Map<string, Map<string, Set<PeerNode<User>>>>();
  readonly #wantKey = new Map<string, Set<PeerNode<User>>>();
  readonly #wantPrefix = new PrefixTrie<Set<PeerNode<User>>>();
  /** Selectors of negative conditions only, and `all`: every identity is tried. */
  readonly #unfiled = new Set<PeerNode<User>>();

  constructor(families: Families) {
    this.#families = families;
  }

  get identities(): ReadonlyMap<number, IdentityView> {
    return this.#identities;
  }

  get selectorCount(): number {
    return this.#nodes.size;
  }

  view(id: number, labels: LabelSet): IdentityView {
    return identityView(id, labels, this.#families);
  }

  /** The outside identity whose prefix is the longest that covers the one given. */
  outside(prefix: Prefix): IdentityView | undefined {
    for (const { value } of this.#byPrefix.covering(prefix).reverse()) {
      for (const id of value) return this.#identities.get(id);
    }
    return undefined;
  }

  /** Notes that a rule uses a selector; the same node for equal selectors. */
  acquire(match: PeerMatch, user: User): PeerNode<User> {
    const key = matchKey(match);
    let node = this.#nodes.get(key);
    if (node === undefined) {
      node = { key, match, members: new Set(), users: new Set() };
      for (const id of this.#candidates(match)) {
        const identity = this.#identities.get(id)!;
        if (!selects(match, identity)) continue;
        node.members.add(id);
        identity.selectedBy.add(node);
      }
      this.#nodes.set(key, node);
      this.#file(node, true);
    }
    node.users.add(user);
    return node;
  }

  release(node: PeerNode<User>, user: User): void {
    node.users.delete(user);
    if (node.users.size > 0) return;
    for (const id of node.members) this.#identities.get(id)?.selectedBy.delete(node);
    this.#nodes.delete(node.key);
    this.#file(node, false);
  }

  /** The selectors that select the new identity. It must not be known yet. */
  add(id: number, labels: LabelSet): ReadonlySet<PeerNode<User>> {
    const view = identityView(id, labels, this.#families);
    const known: Known<User> = { ...view, selectedBy: new Set() };
    this.#identities.set(id, known);
    this.#index(known, true);
    for (const node of this.#interested(known)) {
      if (!selects(node.match, known)) continue;
      node.members.add(id);
      known.selectedBy.add(node);
    }
    return known.selectedBy;
  }

  /** The selectors that selected it. */
  delete(id: number): ReadonlySet<PeerNode<User>> {
    const known = this.#identities.get(id);
    if (known === undefined) return new Set();
    this.#identities.delete(id);
    this.#index(known, false);
    for (const node of known.selectedBy) node.members.delete(id);
    return known.selectedBy;
  }

  selectedBy(id: number): ReadonlySet<PeerNode<User>> {
    return this.#identities.get(id)?.selectedBy ?? new Set();
  }

  #index({ id, labels, prefix }: IdentityView, present: boolean): void {
    for (const { key, value } of labels) {
      const values = this.#byLabel.get(key) ?? new Map<string, Set<number>>();
      fileUnder(values, value, id, present);
      if (values.size === 0) this.#byLabel.delete(key);
      else this.#byLabel.set(key, values);
    }
    if (prefix === undefined) return;
    const ids = this.#byPrefix.get(prefix) ?? new Set();
    put(ids, id, present);
    if (ids.size === 0) this.#byPrefix.delete(prefix);
    else this.#byPrefix.set(prefix, ids);
  }

  #candidates(match: PeerMatch): Iterable<number> {
    switch (match.type) {
      case 'all':
        return this.#identities.keys();
      case 'cidr': {
        const ids = new Set<number>();
        for (const { prefix } of match.prefixes) {
          for (const { value } of this.#byPrefix.covered(prefix)) {
            for (const id of value) ids.add(id);
          }
        }
        return ids;
      }
      case 'labels': {
        let best: Iterable<number> = this.#identities.keys();
        let fewest = this.#identities.size;
        for (const requirement of match.selector.requirements) {
          if (requirement.type !== 'in') continue;
          const values = this.#byLabel.get(requirement.key);
          const sets = [...requirement.values].flatMap((value) => values?.get(value) ?? []);
          const size = sets.reduce((sum, each) => sum + each.size, 0);
          if (size >= fewest) continue;
          fewest = size;
          best = sets.length === 1 ? sets[0]! : sets.flatMap((each) => [...each]);
        }
        return best;
      }
      default:
        return match satisfies never;
    }
  }

  *#interested(identity: IdentityView): Generator<PeerNode<User>> {
    for (const { key, value } of identity.labels) {
      yield* this.#wantValue.get(key)?.get(value) ?? [];
      yield* this.#wantKey.get(key) ?? [];
    }
    if (identity.prefix) {
      // One selector of several prefixes may come twice; matching twice does no harm.
      for (const { value } of this.#wantPrefix.covering(identity.prefix)) yield* value;
    }
    yield* this.#unfiled;
  }

  #file(node: PeerNode<User>, present: boolean): void {
    const { match } = node;
    if (match.type === 'cidr') {
      for (const { prefix } of match.prefixes) {
        const set = this.#wantPrefix.get(prefix) ?? new Set();
        put(set, node, present);
        if (set.size === 0) this.#wantPrefix.delete(prefix);
        else this.#wantPrefix.set(prefix, set);
      }
      return;
    }
    const pivot = match.type === 'labels' ? pivotOf(match.selector.requirements) : undefined;
    if (pivot === undefined) put(this.#unfiled, node, present);
    else if (pivot.type === 'exists') fileUnder(this.#wantKey, pivot.key, node, present);
    else {
      const values = this.#wantValue.get(pivot.key) ?? new Map<string, Set<PeerNode<User>>>();
      for (const value of pivot.values) fileUnder(values, value, node, present);
      if (values.size === 0) this.#wantValue.delete(pivot.key);
      else this.#wantValue.set(pivot.key, values);
    }
  }
}

function put<V>(set: Set<V>, value: V, present: boolean): void {
  if (present) set.add(value);
  else set.delete(value);
}

/** Adds to or takes from the set under a key; empty sets do not stay. */
function fileUnder<K, V>(map: Map<K, Set<V>>, key: K, value: V, present: boolean): void {
  const set = map.get(key) ?? new Set();
  put(set, value, present);
  if (set.size === 0) map.delete(key);
  else map.set(key, set);
}

/** True if the identity is one that the selector means. */
export function selects(match: PeerMatch, identity: IdentityView): boolean {
  switch (match.type) {
    case 'all':
      return true;
    case 'labels':
      return match.selector.matches(identity.labels);
    case 'cidr': {
      const { prefix } = identity;
      if (prefix === undefined) return false;
      return (
        match.prefixes.lookup(prefix) !== undefined &&
        !match.except.some((except) => Prefix.covers(except, prefix))
      );
    }
    default:
      return match satisfies never;
  }
}

// Nearly every pod has these keys, so they tell selectors apart least.
const COMMON_KEYS: readonly string[] = [LABEL_KEYS.podNamespace, LABEL_KEYS.cluster];

/** The condition to file a selector under: a value rather than a key, an own label rather than a common one. */
function pivotOf(
  requirements: readonly Requirement[],
): Extract<Requirement, { type: 'in' | 'exists' }> | undefined {
  const positive = requirements.filter((each) => each.type === 'in' || each.type === 'exists');
  const rank = (each: (typeof positive)[number]): number => {
    const common = COMMON_KEYS.indexOf(each.key);
    if (common < 0) return each.type === 'in' ? 0 : 1;
    return each.type === 'in' ? 2 + common : 4;
  };
  return positive.sort((a, b) => rank(a) - rank(b))[0];
}

export function matchKey(match: PeerMatch): string {
  switch (match.type) {
    case 'all':
      return 'all';
    case 'labels':
      return `labels ${match.selector.key}`;
    case 'cidr':
      // A trie gives its prefixes in order, so equal sets have equal keys.
      return `cidr ${[...match.prefixes].map((each) => each.prefix).join(' ')} except ${[...match.except].sort().join(' ')}`;
    default:
      return match satisfies never;
  }
}
