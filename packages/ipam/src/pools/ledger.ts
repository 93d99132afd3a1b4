import { type Prefix, PrefixTrie } from '@causeway/ip';
import type { CidrRecord } from './types.ts';

/** A block that somebody has. `state` is `held` but while a decision about it is under way. */
export interface Entry extends CidrRecord {
  state: 'held' | 'giving' | 'releasing';
}

export interface Holder {
  readonly cidr: Prefix;
  readonly node: string;
  /** Undefined for a node's own pod CIDR, which is of no pool. */
  readonly pool: string | undefined;
}

/** Who holds which part of the address space: blocks by record, and the pod CIDRs that nodes have of their own. */
export class Ledger {
  readonly #blocks = new PrefixTrie<Entry>();
  readonly #byNode = new Map<string, Map<Prefix, Entry>>();
  readonly #own = new PrefixTrie<Set<string>>();

  get size(): number {
    return this.#blocks.size;
  }

  get(cidr: Prefix): Entry | undefined {
    return this.#blocks.get(cidr);
  }

  nodes(): Iterable<string> {
    return this.#byNode.keys();
  }

  has(node: string): boolean {
    return this.#byNode.has(node);
  }

  of(node: string): Iterable<Entry> {
    return this.#byNode.get(node)?.values() ?? [];
  }

  *all(): Generator<Entry> {
    for (const { value } of this.#blocks) yield value;
  }

  set(entry: Entry): void {
    this.delete(entry.cidr);
    this.#blocks.set(entry.cidr, entry);
    let blocks = this.#byNode.get(entry.node);
    if (blocks === undefined) {
      blocks = new Map();
      this.#byNode.set(entry.node, blocks);
    }
    blocks.set(entry.cidr, entry);
  }

  delete(cidr: Prefix): Entry | undefined {
    const entry = this.#blocks.delete(cidr);
    if (entry === undefined) return undefined;
    const blocks = this.#byNode.get(entry.node);
    blocks?.delete(cidr);
    if (blocks?.size === 0) this.#byNode.delete(entry.node);
    return entry;
  }

  addOwn(cidr: Prefix, node: string): void {
    const nodes = this.#own.get(cidr);
    if (nodes === undefined) this.#own.set(cidr, new Set([node]));
    else nodes.add(node);
  }

  deleteOwn(cidr: Prefix, node: string): void {
    const nodes = this.#own.get(cidr);
    if (nodes?.delete(node) && nodes.size === 0) this.#own.delete(cidr);
  }

  /** Everybody who holds a part of the prefix. */
  *holders(cidr: Prefix): Generator<Holder> {
    for (const { value } of overlapping(this.#blocks, cidr)) yield value;
    for (const { prefix, value } of overlapping(this.#own, cidr)) {
      for (const node of value) yield { cidr: prefix, node, pool: undefined };
    }
  }
}

function* overlapping<V>(trie: PrefixTrie<V>, cidr: Prefix) {
  for (const entry of trie.covering(cidr)) if (entry.prefix !== cidr) yield entry;
  yield* trie.covered(cidr);
}
