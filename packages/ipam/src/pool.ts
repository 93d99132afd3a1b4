import type { Prefix } from '@causeway/ip';
import { type Layout, layout } from './layout.ts';
import { type Occupancy, occupancy } from './occupancy.ts';

/** How the next address is chosen: the one after the last given, or a random one (numbers in [0, 1)). */
export type Choice =
  | { readonly type: 'next' }
  | { readonly type: 'random'; readonly random: () => number };

/** Random picks that meet an occupied offset before the search goes on from the last one. */
const RANDOM_TRIES = 8;

/**
 * The addresses of one pod CIDR. An offset counts from the first address of the CIDR. An offset is occupied while
 * any of these holds: reserved, used, in quarantine, kept for a claim, blocked by another CIDR.
 */
export class Pool {
  readonly layout: Layout;
  /** The named pool that the CIDR comes from; undefined for the node's own. */
  name: string | undefined;
  /** Gives no new addresses while others can. */
  draining = false;
  /** Others know the way to it. Until then it gives only where no other has an address left. */
  usable = true;
  /** Its node no longer holds it: it gives none and goes as soon as it is empty. */
  leaving = false;
  readonly #occupied: Occupancy;
  readonly #used = new Set<bigint>();
  /** Offsets freed and not yet to be given again, in the order of their ends (ms). */
  readonly #quarantine = new Map<bigint, number>();
  /** Offsets that claims keep for their owners, used or not. */
  readonly #kept = new Set<bigint>();
  /** Offsets that an overlapping CIDR on its way out still uses. */
  readonly #blocked = new Set<bigint>();
  #cursor: bigint;

  constructor(prefix: Prefix) {
    this.layout = layout(prefix);
    this.#occupied = occupancy(this.layout.size);
    for (const offset of this.layout.reserved) this.#occupied.take(offset);
    this.#cursor = (this.layout.gatewayOffset + 1n) % this.layout.size;
  }

  get state(): 'active' | 'draining' | 'leaving' {
    if (this.leaving) return 'leaving';
    return this.draining ? 'draining' : 'active';
  }

  /** Counts of offsets; one that is several things counts under the first of this order. */
  counts(): { used: bigint; quarantined: bigint; claimed: bigint; blocked: bigint; free: bigint } {
    let claimed = 0n;
    for (const offset of this.#kept) {
      if (!this.#used.has(offset) && !this.#quarantine.has(offset)) claimed += 1n;
    }
    const used = BigInt(this.#used.size);
    const quarantined = BigInt(this.#quarantine.size);
    const reserved = BigInt(this.layout.reserved.length);
    const blocked = this.#occupied.count - reserved - used - quarantined - claimed;
    return { used, quarantined, claimed, blocked, free: this.layout.size - this.#occupied.count };
  }

  get empty(): boolean {
    return this.#used.size === 0 && this.#quarantine.size === 0;
  }

  isFree(offset: bigint): boolean {
    return !this.#occupied.has(offset);
  }

  isReserved(offset: bigint): boolean {
    return this.layout.reserved.includes(offset);
  }

  isKept(offset: bigint): boolean {
    return this.#kept.has(offset);
  }

  /** A free offset, not yet taken. */
  candidate(choice: Choice): bigint | undefined {
    if (choice.type === 'next') return this.#occupied.nextFree(this.#cursor);
    let offset = 0n;
    for (let tries = 0; tries < RANDOM_TRIES; tries += 1) {
      offset = randomBelow(this.layout.size, choice.random);
      if (!this.#occupied.has(offset)) return offset;
    }
    return this.#occupied.nextFree(offset);
  }

  /** The offset that has been in quarantine longest, if its end is `until` (ms) or earlier. */
  rested(until: number): bigint | undefined {
    for (const [offset, end] of this.#quarantine) {
      if (end > until) return undefined;
      if (!this.#kept.has(offset) && !this.#blocked.has(offset)) return offset;
    }
    return undefined;
  }

  /** Puts an offset to use, whatever kept it free. False if it is reserved or used. */
  take(offset: bigint): boolean {
    if (this.#used.has(offset) || this.isReserved(offset)) return false;
    this.#quarantine.delete(offset);
    this.#blocked.delete(offset);
    this.#used.add(offset);
    this.#occupied.take(offset);
    this.#cursor = (offset + 1n) % this.layout.size;
    return true;
  }

  /** Ends a use; the offset stays occupied until `until` (ms). */
  release(offset: bigint, until: number): void {
    if (this.#used.delete(offset)) this.#quarantine.set(offset, until);
  }

  /** Occupies a free offset until `until` (ms) without a user, as after a restart. False if it is occupied. */
  hold(offset: bigint, until: number): boolean {
    if (!this.#occupied.take(offset)) return false;
    this.#quarantine.set(offset, until);
    return true;
  }

  /** When the offset leaves quarantine (ms); undefined when it is not in quarantine. */
  heldUntil(offset: bigint): number | undefined {
    return this.#quarantine.get(offset);
  }

  /** Offsets in quarantine with their ends (ms), earliest first. */
  held(): Iterable<readonly [bigint, number]> {
    return this.#quarantine.entries();
  }

  /** Frees what has been in quarantine long enough; returns how much that was. */
  expire(now: number): number {
    let freed = 0;
    for (const [offset, until] of this.#quarantine) {
      if (until > now) break;
      this.#quarantine.delete(offset);
      this.#settle(offset);
      freed += 1;
    }
    return freed;
  }

  /** Keeps an offset for its claim: only who asks for it as the claim's owner is given it. */
  keep(offset: bigint): void {
    this.#kept.add(offset);
    this.#occupied.take(offset);
  }

  unkeep(offset: bigint): void {
    if (this.#kept.delete(offset)) this.#settle(offset);
  }

  /** Keeps a free offset from being given while another CIDR uses its address. */
  block(offset: bigint): void {
    if (this.#used.has(offset) || this.isReserved(offset)) return;
    this.#blocked.add(offset);
    this.#occupied.take(offset);
  }

  unblockAll(): void {
    const offsets = [...this.#blocked];
    this.#blocked.clear();
    for (const offset of offsets) this.#settle(offset);
  }

  #settle(offset: bigint): void {
    const occupied =
      this.#used.has(offset) ||
      this.#quarantine.has(offset) ||
      this.#kept.has(offset) ||
      this.#blocked.has(offset) ||
      this.isReserved(offset);
    if (!occupied) this.#occupied.free(offset);
  }
}

/** A uniform choice in [0, size) from as many numbers in [0, 1) as its bits need. */
function randomBelow(size: bigint, random: () => number): bigint {
  if (size <= 0x1_0000_0000n) return BigInt(Math.floor(random() * Number(size)));
  let value = 0n;
  for (let range = 1n; range < size; range <<= 32n) {
    value = (value << 32n) | BigInt(Math.floor(random() * 0x1_0000_0000));
  }
  return value % size;
}
