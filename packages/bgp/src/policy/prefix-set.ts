import { fieldsOf, maskWord, type PrefixFields, PrefixTable } from '../rib/prefix-table.ts';
import { refusePolicy } from './errors.ts';
import type { PrefixRule, PrefixSet } from './types.ts';

/** One family's rules: which prefixes there are, by length, and which lengths count under each. */
class Side {
  readonly table: PrefixTable;
  readonly lengths: number[] = [];
  /** By number of the prefix: least and greatest length, pair after pair. */
  readonly ranges: number[][] = [];

  constructor(bits: 32 | 128) {
    this.table = new PrefixTable(bits);
  }

  add(p: PrefixFields, least: number, greatest: number): void {
    const id = this.table.insert(p.length, p.w0, p.w1, p.w2, p.w3);
    const ranges = this.ranges[id] ?? [];
    ranges.push(least, greatest);
    this.ranges[id] = ranges;
    if (!this.lengths.includes(p.length)) {
      this.lengths.push(p.length);
      this.lengths.sort((a, b) => a - b);
    }
  }

  has(p: PrefixFields): boolean {
    for (const length of this.lengths) {
      if (length > p.length) return false;
      const id = this.table.find(
        length,
        p.w0 & maskWord(length),
        p.w1 & maskWord(length - 32),
        p.w2 & maskWord(length - 64),
        p.w3 & maskWord(length - 96),
      );
      if (id === 0) continue;
      const ranges = this.ranges[id]!;
      for (let i = 0; i < ranges.length; i += 2) {
        if (p.length >= ranges[i]! && p.length <= ranges[i + 1]!) return true;
      }
    }
    return false;
  }
}

/** A prefix set made ready: a look-up in a table for each length that its rules have. */
export class PrefixMatcher {
  readonly #v4 = new Side(32);
  readonly #v6 = new Side(128);

  /** Throws BgpError `invalid-config` naming `where` and the rule. */
  constructor(sets: readonly PrefixSet[], where: string) {
    for (const set of sets) for (const rule of set) this.#add(rule, where);
  }

  #add(rule: string | PrefixRule, where: string): void {
    const { prefix, ge, le } =
      typeof rule === 'string' ? { prefix: rule, ge: undefined, le: undefined } : rule;
    let fields: ReturnType<typeof fieldsOf>;
    try {
      fields = fieldsOf(prefix);
    } catch (cause) {
      refusePolicy(where, prefix, `a prefix (${(cause as Error).message})`);
    }
    const width = fields.bits;
    const least = ge ?? fields.length;
    const greatest = le ?? (ge === undefined ? fields.length : width);
    if (
      !Number.isInteger(least) ||
      !Number.isInteger(greatest) ||
      least < fields.length ||
      greatest < least ||
      greatest > width
    ) {
      refusePolicy(where, rule, `a prefix rule: ${fields.length} <= ge <= le <= ${width}`);
    }
    (width === 32 ? this.#v4 : this.#v6).add(fields, least, greatest);
  }

  /** `wide`: the prefix is an IPv6 one. */
  matches(prefix: PrefixFields, wide: boolean): boolean {
    return (wide ? this.#v6 : this.#v4).has(prefix);
  }
}
