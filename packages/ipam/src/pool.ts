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
 * The addresses of one pod CIDR: reserved, used, in quarantine, blocked or free. An offset counts from the
 * first address of the CIDR. Every offset that is not free has its bit set, whatever the reason.
 */
export class Pool {
  readonly layout: Layout;
  /** Gives no new addresses while others can. */
  draining: boolean;
  /** Its node no longer holds it: it gives none and goes as soon as it is empty. */
  leaving = false;
  readonly #occupied: Occupancy;
  /** Offsets freed and not yet to be given again, in the order of their ends (ms). */
  readonly #quarantine = new Map<bigint, number>();
  /** Offsets that an overlapping CIDR on its way out still uses. */
  readonly #blocked = new Set<bigint>();
  #cursor: bigint;
  #used = 0n;

  constructor(prefix: Prefix, draining: boolean) {
    this.layout = layout(prefix);
    this.draining = draining;
    this.#occupied = occupancy(this.layout.size);
    for (const offset of this.layout.reserved) this.#occupied.take(offset);
    this.#cursor = (this.layout.gatewayOffset + 1n) % this.layout.size;
  }

  get state(): 'active' | 'draining' | 'leaving' {
    if (this.leaving) return 'leaving';
    return this.draining ? 'draining' : 'active';
  }

  get used(): bigint {
    return this.#used;
  }

  get quarantined(): number {
    return this.#quarantine.size;
  }

  get blocked(): number {
    return this.#blocked.size;
  }

  get free(): bigint {
    return this.layout.size - this.#occupied.count;
  }

  get empty(): boolean {
    return this.#used === 0n && this.#quarantine.size === 0;
  }

  isFree(offset: bigint): boolean {
    return !this.#occupied.has(offset);
  }

  isReserved(offset: bigint): boolean {
    return this.layout.reserved.includes(offset);
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
    const first = this.#quarantine.entries().next();
    return !first.done && first.value[1] <= until ? first.value[0] : undefined;
  }

  /** Puts an offset to use, out of quarantine too. False if it is reserved or used. */
  take(offset: bigint): boolean {
    const held = this.#quarantine.delete(offset) || this.#blocked.delete(offset);
    if (!held && !this.#occupied.take(offset)) return false;
    this.#used += 1n;
    this.#cursor = (offset + 1n) % this.layout.size;
    return true;
  }

  /** Ends a use; the offset stays occupied until `until` (ms). */
  release(offset: bigint, until: number): void {
    this.#used -= 1n;
    this.#quarantine.set(offset, until);
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
      this.#occupied.free(offset);
      freed += 1;
    }
    return freed;
  }

  /** Keeps a free offset from being given while another CIDR uses its address. */
  block(offset: bigint): void {
    if (this.#occupied.take(offset)) this.#blocked.add(offset);
  }

  unblockAll(): void {
    for (const offset of this.#blocked) this.#occupied.free(offset);
    this.#blocked.clear();
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
