/** Sets of addresses as lists of prefixes. Results are sorted, disjoint and as short as they can be. */

import { Address } from './address.ts';
import { IpError } from './errors.ts';
import { Prefix, prefixWords } from './prefix.ts';
import { toBigInt, widthOf } from './words.ts';

/** The same addresses in the fewest prefixes: covered ones go, complete pairs merge. */
export function aggregate(prefixes: Iterable<Prefix>): Prefix[] {
  const result: Prefix[] = [];
  for (const prefix of [...prefixes].sort(Prefix.compare)) {
    const last = result.at(-1);
    if (last !== undefined && Prefix.covers(last, prefix)) continue;
    let current = prefix;
    for (let left = result.at(-1); left !== undefined; left = result.at(-1)) {
      const parent = Prefix.parent(current);
      if (parent === undefined || left === current || Prefix.parent(left) !== parent) break;
      result.pop();
      current = parent;
    }
    result.push(current);
  }
  return result;
}

/** The addresses of `from` that are in none of `excepts` (ipBlock.except, cidrSet.except). */
export function subtract(from: Iterable<Prefix>, excepts: Iterable<Prefix>): Prefix[] {
  const holes = aggregate(excepts);
  const result: Prefix[] = [];
  const cut = (prefix: Prefix, inside: readonly Prefix[]): void => {
    const relevant = inside.filter((hole) => Prefix.overlaps(hole, prefix));
    if (relevant.length === 0) {
      result.push(prefix);
      return;
    }
    if (relevant.some((hole) => Prefix.covers(hole, prefix))) return;
    for (const half of Prefix.split(prefix) ?? []) cut(half, relevant);
  };
  for (const prefix of aggregate(from)) cut(prefix, holes);
  return result;
}

/** The fewest prefixes that hold exactly the addresses from `first` to `last`, both included. */
export function rangeToPrefixes(first: Address, last: Address): Prefix[] {
  const family = Address.family(first);
  if (Address.family(last) !== family) {
    throw new IpError('family-mismatch', last, `${first} and ${last} are of different families`);
  }
  const width = widthOf(family);
  const end = Address.toBigInt(last);
  let start = Address.toBigInt(first);
  if (start > end) throw new IpError('out-of-range', last, `${last} comes before ${first}`);
  const result: Prefix[] = [];
  while (start <= end) {
    let bits = 0;
    while (bits < width) {
      const size = 1n << BigInt(bits + 1);
      if (start % size !== 0n || start + size - 1n > end) break;
      bits++;
    }
    result.push(Prefix.from(Address.fromBigInt(family, start), width - bits));
    start += 1n << BigInt(bits);
  }
  return result;
}

/** Number of addresses in a list of prefixes; overlaps count once. */
export function countAddresses(prefixes: Iterable<Prefix>): bigint {
  return aggregate(prefixes).reduce((sum, prefix) => sum + Prefix.size(prefix), 0n);
}

/** First and last address as numbers, for interval arithmetic. */
export function boundsOf(prefix: Prefix): { readonly first: bigint; readonly last: bigint } {
  const { words } = prefixWords(prefix);
  const first = toBigInt(words);
  return { first, last: first + Prefix.size(prefix) - 1n };
}
