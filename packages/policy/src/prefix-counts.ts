import type { Prefix } from '@causeway/ip';
import type { PrefixChange } from './diff.ts';

/** Which prefixes rules need identities for, and by how many rules each. */
export class PrefixCounts {
  readonly #counts = new Map<Prefix, number>();
  /** Touched since the last `take`: whether the prefix was needed then. */
  readonly #before = new Map<Prefix, boolean>();

  get counts(): ReadonlyMap<Prefix, number> {
    return this.#counts;
  }

  change(prefix: Prefix, by: 1 | -1): void {
    const count = this.#counts.get(prefix) ?? 0;
    if (!this.#before.has(prefix)) this.#before.set(prefix, count > 0);
    if (count + by > 0) this.#counts.set(prefix, count + by);
    else this.#counts.delete(prefix);
  }

  take(): PrefixChange {
    const added: Prefix[] = [];
    const removed: Prefix[] = [];
    for (const [prefix, was] of this.#before) {
      const is = this.#counts.has(prefix);
      if (is && !was) added.push(prefix);
      if (!is && was) removed.push(prefix);
    }
    this.#before.clear();
    return { added, removed };
  }
}
