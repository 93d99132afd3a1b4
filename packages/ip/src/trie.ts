import type { Address } from './address.ts';
import { type Prefix, prefixWords } from './prefix.ts';
import { bitOf, commonBits, maskWords, parseWords, type Words, widthOf } from './words.ts';

/** A node either carries an entry or forks; nodes that do neither are folded away. */
interface Node<V> {
  readonly words: Words;
  readonly length: number;
  entry: PrefixEntry<V> | undefined;
  zero: Node<V> | undefined;
  one: Node<V> | undefined;
}

/** What the trie holds for a prefix. */
export interface PrefixEntry<V> {
  readonly prefix: Prefix;
  readonly value: V;
}

/**
 * A path-compressed binary trie of prefixes of both families. Every operation costs at most the
 * prefix's length, whatever the number of entries; iteration is in `Prefix.compare` order.
 */
export class PrefixTrie<V> {
  #ipv4: Node<V> | undefined;
  #ipv6: Node<V> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  #root(w: Words): Node<V> | undefined {
    return w.family === 'ipv4' ? this.#ipv4 : this.#ipv6;
  }

  #setRoot(w: Words, node: Node<V> | undefined): void {
    if (w.family === 'ipv4') this.#ipv4 = node;
    else this.#ipv6 = node;
  }

  #replace(parent: Node<V> | undefined, w: Words, node: Node<V> | undefined): void {
    if (!parent) this.#setRoot(w, node);
    else if (bitOf(w, parent.length)) parent.one = node;
    else parent.zero = node;
  }

  /** Sets the value of exactly this prefix. Returns the value it replaces, if any. */
  set(prefix: Prefix, value: V): V | undefined {
    const { words, length } = prefixWords(prefix);
    const entry = { prefix, value };
    const leaf = (): Node<V> => ({ words, length, entry, zero: undefined, one: undefined });
    let parent: Node<V> | undefined;
    let node = this.#root(words);
    while (node) {
      const common = commonBits(words, node.words, Math.min(length, node.length));
      if (common < node.length) {
        const fork: Node<V> =
          common === length
            ? leaf()
            : {
                words: maskWords(words, common),
                length: common,
                entry: undefined,
                zero: undefined,
                one: undefined,
              };
        if (bitOf(node.words, common)) fork.one = node;
        else fork.zero = node;
        if (common < length) {
          if (bitOf(words, common)) fork.one = leaf();
          else fork.zero = leaf();
        }
        this.#replace(parent, words, fork);
        this.#size++;
        return undefined;
      }
      if (node.length === length) {
        const old = node.entry;
        node.entry = entry;
        if (!old) this.#size++;
        return old?.value;
      }
      parent = node;
      node = bitOf(words, node.length) ? node.one : node.zero;
    }
    this.#replace(parent, words, leaf());
    this.#size++;
    return undefined;
  }

  #find(words: Words, length: number): Node<V> | undefined {
    let node = this.#root(words);
    while (node && node.length <= length) {
      if (commonBits(words, node.words, node.length) < node.length) return undefined;
      if (node.length === length) return node;
      node = bitOf(words, node.length) ? node.one : node.zero;
    }
    return undefined;
  }

  /** The value of exactly this prefix. */
  get(prefix: Prefix): V | undefined {
    const { words, length } = prefixWords(prefix);
    return this.#find(words, length)?.entry?.value;
  }

  has(prefix: Prefix): boolean {
    const { words, length } = prefixWords(prefix);
    return this.#find(words, length)?.entry !== undefined;
  }

  /** Removes exactly this prefix. Returns the value it had, if any. */
  delete(prefix: Prefix): V | undefined {
    const { words, length } = prefixWords(prefix);
    const path: Node<V>[] = [];
    let node = this.#root(words);
    while (node && node.length < length) {
      path.push(node);
      node = bitOf(words, node.length) ? node.one : node.zero;
    }
    if (!node?.entry || node.entry.prefix !== prefix) return undefined;
    const { value } = node.entry;
    node.entry = undefined;
    this.#size--;
    const parent = path.at(-1);
    if (node.zero && node.one) return value;
    this.#replace(parent, words, node.zero ?? node.one);
    // A fork that lost one side and carries nothing is only a detour.
    if (parent && !parent.entry && !(parent.zero && parent.one)) {
      this.#replace(path.at(-2), words, parent.zero ?? parent.one);
    }
    return value;
  }

  clear(): void {
    this.#ipv4 = undefined;
    this.#ipv6 = undefined;
    this.#size = 0;
  }

  /** The longest prefix that contains the address (or covers the prefix). */
  lookup(at: Address | Prefix): PrefixEntry<V> | undefined {
    const { words, length } = target(at);
    let best: PrefixEntry<V> | undefined;
    let node = this.#root(words);
    while (node && node.length <= length) {
      if (commonBits(words, node.words, node.length) < node.length) break;
      best = node.entry ?? best;
      if (node.length === length) break;
      node = bitOf(words, node.length) ? node.one : node.zero;
    }
    return best;
  }

  /** Every entry that contains the address (or covers the prefix, itself included), shortest first. */
  covering(at: Address | Prefix): PrefixEntry<V>[] {
    const { words, length } = target(at);
    const found: PrefixEntry<V>[] = [];
    let node = this.#root(words);
    while (node && node.length <= length) {
      if (commonBits(words, node.words, node.length) < node.length) break;
      if (node.entry) found.push(node.entry);
      if (node.length === length) break;
      node = bitOf(words, node.length) ? node.one : node.zero;
    }
    return found;
  }

  /** Every entry that lies inside the prefix, itself included. */
  *covered(prefix: Prefix): Generator<PrefixEntry<V>, void, undefined> {
    const { words, length } = prefixWords(prefix);
    let node = this.#root(words);
    while (node && node.length < length) node = bitOf(words, node.length) ? node.one : node.zero;
    if (node && commonBits(words, node.words, length) === length) yield* walk(node);
  }

  *[Symbol.iterator](): Generator<PrefixEntry<V>, void, undefined> {
    if (this.#ipv4) yield* walk(this.#ipv4);
    if (this.#ipv6) yield* walk(this.#ipv6);
  }
}

function target(at: Address | Prefix): { words: Words; length: number } {
  if (at.includes('/')) return prefixWords(at as Prefix);
  const words = parseWords(at) as Words;
  return { words, length: widthOf(words.family) };
}

function* walk<V>(root: Node<V>): Generator<PrefixEntry<V>, void, undefined> {
  const stack: Node<V>[] = [root];
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (node.entry) yield node.entry;
    if (node.one) stack.push(node.one);
    if (node.zero) stack.push(node.zero);
  }
}
