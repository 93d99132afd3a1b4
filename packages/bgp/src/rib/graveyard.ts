import { PathFlag } from './path-table.ts';
import { PrefixFlag } from './prefix-flags.ts';
import type { Rib } from './rib.ts';

/** Who may still have to tell about a prefix that has no paths any more. */
export interface PrefixHolder {
  /** Before a round of questions. */
  prepare(): void;
  holds(prefix: number): boolean;
  /** The number means nothing any more. */
  freed(prefix: number): void;
}

/** Prefixes and paths that are gone, kept until everybody has told of it. */
export class Graveyard {
  readonly #rib: Rib;
  /** Asked before a prefix's number is freed: does somebody still have to tell about it? */
  readonly holders = new Set<PrefixHolder>();
  /** The `kept` ones must stay until the next round. */
  #limbo: number[] = [];
  #keptLimbo: number[] = [];
  #tombs: number[] = [];
  #keptTombs: number[] = [];

  constructor(rib: Rib) {
    this.#rib = rib;
  }

  /** A path that was withdrawn, while a monitor has not been told. */
  bury(slot: number): void {
    this.#tombs.push(slot);
  }

  /** The number is given back once nobody has to tell about the prefix any more. */
  mayFree(prefix: number): void {
    const rib = this.#rib;
    if ((rib.flags[prefix]! & PrefixFlag.limbo) !== 0) return;
    rib.flags[prefix]! |= PrefixFlag.limbo;
    this.#limbo.push(prefix);
  }

  get limbo(): number {
    return this.#limbo.length + this.#keptLimbo.length;
  }

  get tombs(): number {
    return this.#tombs.length + this.#keptTombs.length;
  }

  /**
   * Frees what can be freed of paths and prefixes that are gone, looking at `most` of them. True: there are others
   * that have not been looked at in this round.
   */
  collect(most = Number.POSITIVE_INFINITY): boolean {
    const rib = this.#rib;
    const looked = this.#collectTombs(most);
    if (this.#limbo.length > 0) {
      for (const holder of this.holders) holder.prepare();
      const floor = rib.journal.floor();
      for (let n = looked; n < most; n++) {
        const prefix = this.#limbo.pop();
        if (prefix === undefined) break;
        this.#collectPrefix(prefix, floor);
      }
    }
    if (this.#limbo.length > 0 || this.#tombs.length > 0) return true;
    [this.#limbo, this.#keptLimbo] = [this.#keptLimbo, this.#limbo];
    [this.#tombs, this.#keptTombs] = [this.#keptTombs, this.#tombs];
    return false;
  }

  #collectPrefix(prefix: number, floor: number): void {
    const rib = this.#rib;
    if (rib.head[prefix] !== 0) {
      rib.flags[prefix]! &= ~PrefixFlag.limbo;
    } else if (rib.journal.isPending(prefix, floor) || this.#isHeld(prefix)) {
      this.#keptLimbo.push(prefix);
    } else {
      rib.journal.forget(prefix);
      rib.flags[prefix] = 0;
      rib.best[prefix] = 0;
      for (const holder of this.holders) holder.freed(prefix);
      rib.prefixes.remove(prefix);
    }
  }

  #isHeld(prefix: number): boolean {
    for (const holder of this.holders) if (holder.holds(prefix)) return true;
    return false;
  }

  #collectTombs(most: number): number {
    const rib = this.#rib;
    const { paths, inJournal } = rib;
    const floor = inJournal?.floor() ?? 0;
    let looked = 0;
    for (; looked < most; looked++) {
      const slot = this.#tombs.pop();
      if (slot === undefined) break;
      if (paths.prefix[slot] === 0 || (paths.flags[slot]! & PathFlag.gone) === 0) continue;
      if (inJournal?.isPending(slot, floor)) {
        this.#keptTombs.push(slot);
        continue;
      }
      inJournal?.forget(slot);
      const prefix = paths.prefix[slot]!;
      rib.unchain(prefix, slot);
      paths.remove(slot);
      if (rib.head[prefix] === 0) this.mayFree(prefix);
    }
    return looked;
  }
}
