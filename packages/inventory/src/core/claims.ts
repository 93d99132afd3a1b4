import type { Address } from '@causeway/ip';

/** Who may hold addresses. One that is withheld gives way to any other. */
export interface Claimant {
  readonly withheld: boolean;
}

/**
 * Who has which address: whoever claimed it first, until he gives it up. The others wait in their order and
 * are known as conflicts. Most addresses have one claimant, who costs one entry of a map.
 */
export class Claims<C extends Claimant> {
  readonly #holders = new Map<Address, C>();
  readonly #waiting = new Map<Address, C[]>();

  get size(): number {
    return this.#holders.size;
  }

  get conflicts(): number {
    return this.#waiting.size;
  }

  holder(address: Address): C | undefined {
    return this.#holders.get(address);
  }

  waiting(address: Address): readonly C[] {
    return this.#waiting.get(address) ?? [];
  }

  /** Every address that more than one claims. */
  *contested(): Generator<{ address: Address; holder: C; waiting: readonly C[] }> {
    for (const [address, waiting] of this.#waiting) {
      const holder = this.#holders.get(address);
      if (holder !== undefined) yield { address, holder, waiting };
    }
  }

  addresses(): IterableIterator<Address> {
    return this.#holders.keys();
  }

  /** True if the holder changed. Claiming again changes nothing. */
  claim(address: Address, claimant: C): boolean {
    const holder = this.#holders.get(address);
    if (holder === claimant) return false;
    if (holder === undefined) {
      this.#holders.set(address, claimant);
      return true;
    }
    if (holder.withheld && !claimant.withheld) {
      this.#leave(address, claimant);
      this.#holders.set(address, claimant);
      this.#wait(address, holder);
      return true;
    }
    this.#wait(address, claimant);
    return false;
  }

  /** Puts one claimant into the place of another, wherever in the row that is. */
  replace(address: Address, before: C, after: C): void {
    if (this.#holders.get(address) === before) {
      this.#holders.set(address, after);
      return;
    }
    const waiting = this.#waiting.get(address);
    const at = waiting?.indexOf(before) ?? -1;
    if (waiting !== undefined && at >= 0) waiting[at] = after;
  }

  /** True if the holder changed. */
  release(address: Address, claimant: C): boolean {
    if (this.#holders.get(address) !== claimant) {
      this.#leave(address, claimant);
      return false;
    }
    const waiting = this.#waiting.get(address);
    if (waiting === undefined) {
      this.#holders.delete(address);
      return true;
    }
    const live = waiting.findIndex(({ withheld }) => !withheld);
    this.#holders.set(address, this.#take(address, waiting, Math.max(live, 0)));
    return true;
  }

  /** To be called for each address of a claimant that has become withheld. True if the holder changed. */
  weaken(address: Address, claimant: C): boolean {
    if (this.#holders.get(address) !== claimant) return false;
    const waiting = this.#waiting.get(address);
    const live = waiting?.findIndex(({ withheld }) => !withheld) ?? -1;
    if (waiting === undefined || live < 0) return false;
    this.#holders.set(address, this.#take(address, waiting, live));
    this.#wait(address, claimant);
    return true;
  }

  #wait(address: Address, claimant: C): void {
    const waiting = this.#waiting.get(address);
    if (waiting === undefined) this.#waiting.set(address, [claimant]);
    else if (!waiting.includes(claimant)) waiting.push(claimant);
  }

  #leave(address: Address, claimant: C): void {
    const waiting = this.#waiting.get(address);
    const at = waiting?.indexOf(claimant) ?? -1;
    if (waiting !== undefined && at >= 0) this.#take(address, waiting, at);
  }

  #take(address: Address, waiting: C[], at: number): C {
    const [taken] = waiting.splice(at, 1);
    if (waiting.length === 0) this.#waiting.delete(address);
    return taken as C;
  }
}
