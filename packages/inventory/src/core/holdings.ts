import type { Address } from '@causeway/ip';
import { Claims } from './claims.ts';
import { claimedBy, type Entry } from './member.ts';

/** Which entry each address is, and the addresses of which that may have changed since somebody took them. */
export class Holdings {
  readonly claims = new Claims<Entry>();
  readonly #changed = new Set<Address>();

  get changed(): number {
    return this.#changed.size;
  }

  claim(entry: Entry): void {
    for (const address of entry.addresses) {
      if (this.claims.claim(address, entry)) this.#changed.add(address);
    }
  }

  release(entry: Entry): void {
    for (const address of entry.addresses) {
      if (this.claims.release(address, entry)) this.#changed.add(address);
    }
  }

  /** To be called for an entry that has become withheld. */
  weaken(entry: Entry): void {
    for (const address of entry.addresses) {
      if (this.claims.weaken(address, entry)) this.#changed.add(address);
    }
  }

  /** The new entry takes the old one's turn before that lets go, so that nobody comes between. */
  exchange(before: Entry | undefined, entry: Entry): void {
    const wanted = claimedBy(entry);
    if (before !== undefined) {
      for (const address of claimedBy(before)) {
        if (wanted.includes(address)) this.claims.replace(address, before, entry);
        else if (this.claims.release(address, before)) this.#changed.add(address);
      }
    }
    for (const address of wanted) {
      this.claims.claim(address, entry);
      if (this.claims.holder(address) === entry) this.#changed.add(address);
    }
  }

  takeChanged(most: number): Address[] {
    const taken: Address[] = [];
    for (const address of this.#changed) {
      if (taken.length === most) break;
      taken.push(address);
      this.#changed.delete(address);
    }
    return taken;
  }

  touch(addresses: Iterable<Address>): void {
    for (const address of addresses) this.#changed.add(address);
  }

  /** Everybody knows all of it. */
  settle(): void {
    this.#changed.clear();
  }
}
