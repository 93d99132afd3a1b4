/**
 * How old what a peer said is, and what follows: a pure clockwork that is told of losses and returns.
 *
 * Out of contact, everything stays for the grace; then services are withdrawn, a growing share of them over the
 * time of withdrawal; then the rest goes. A return ends that at once. Of a peer that comes and goes more than
 * `FLAPS` times within a grace a return counts only for as long as it lasts: otherwise state that nobody keeps
 * current would live for ever on short returns.
 */
export interface ContactTimes {
  /** Milliseconds. */
  readonly grace: number;
  readonly withdraw: number;
}

export type Age =
  /** In contact, or within the grace. */
  | { readonly type: 'kept' }
  /** Of the services this share, 0 to 1, is to be gone. */
  | { readonly type: 'withdrawing'; readonly share: number }
  | { readonly type: 'withdrawn' };

/** Losses within a grace that are nothing unusual. */
export const FLAPS = 3;
const MAX_LOSSES = 32;

export class Contact {
  readonly #times: ContactTimes;
  #losses: number[] = [];
  /** Out of contact since then; undefined while in contact. */
  #lostAt: number | undefined;
  #foundAt: number | undefined;
  /** Time without contact that earlier losses have left, in milliseconds. */
  #carried = 0;

  /** @param now a peer begins out of contact, with nothing to lose. */
  constructor(times: ContactTimes, now: number) {
    this.#times = times;
    this.#lostAt = now;
  }

  /** It was last in contact then, in an earlier life of ours. What lies ahead of now is now. */
  resume(lastContact: number, now: number): void {
    this.#lostAt = Math.min(lastContact, now);
    this.#foundAt = this.#lostAt;
  }

  get lost(): boolean {
    return this.#lostAt !== undefined;
  }

  /** When the last contact ended, or undefined for a peer that never was in contact, or is. */
  get lastContact(): number | undefined {
    return this.#foundAt === undefined ? undefined : this.#lostAt;
  }

  /** All of it is known and followed. */
  found(now: number): void {
    if (this.#lostAt === undefined) return;
    this.#carried = this.flapping(now) ? Math.min(this.#outage(now), this.#times.grace) : 0;
    this.#lostAt = undefined;
    this.#foundAt = now;
  }

  lose(now: number): void {
    if (this.#lostAt !== undefined) return;
    const contact = now - (this.#foundAt ?? now);
    this.#carried = Math.max(0, this.#carried - contact);
    this.#lostAt = now;
    this.#losses = [...this.#recent(now), now].slice(-MAX_LOSSES);
  }

  losses(now: number): number {
    return this.#recent(now).length;
  }

  flapping(now: number): boolean {
    return this.losses(now) > FLAPS;
  }

  age(now: number): Age {
    const { grace, withdraw } = this.#times;
    const over = this.#lostAt === undefined ? -1 : this.#outage(now) - grace;
    if (over < 0) return { type: 'kept' };
    if (over >= withdraw) return { type: 'withdrawn' };
    return { type: 'withdrawing', share: over / withdraw };
  }

  /** Milliseconds until the grace is over; undefined while in contact. */
  left(now: number): number | undefined {
    if (this.#lostAt === undefined) return undefined;
    return Math.max(0, this.#times.grace - this.#outage(now));
  }

  /** The least wait before a peer is tried again, so that one that comes and goes costs both sides little. */
  pause(now: number): number {
    const beyond = this.losses(now) - FLAPS;
    return beyond <= 0 ? 0 : Math.min(60_000, 1000 * 2 ** (beyond - 1));
  }

  #outage(now: number): number {
    return this.#carried + (this.#lostAt === undefined ? 0 : now - this.#lostAt);
  }

  #recent(now: number): number[] {
    return this.#losses.filter((at) => now - at < this.#times.grace);
  }
}

/** Where a key stands in the order of withdrawal, 0 to 1: the same on every node, and spread evenly. */
export function turnOf(key: string): number {
  // FNV-1a, and a last mix: its high bits barely move for keys that differ in their last characters only.
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash ^= hash >>> 13;
  return (hash >>> 0) / 2 ** 32;
}
