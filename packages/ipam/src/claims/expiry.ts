import type { Address } from '@causeway/ip';
import { isUnused } from './steps.ts';
import type { Claim } from './types.ts';

/** A released claim whose time is over; `expireClaim` with both values ends it if nothing has happened since. */
export interface ExpiredClaim {
  readonly address: Address;
  readonly epoch: number;
  readonly releasedAt: number | null;
}

interface Watched {
  readonly epoch: number;
  readonly releasedAt: number | null;
  readonly since: number;
}

/**
 * How long the leader has itself seen each claim lie unused. Only its own steady clock counts: no other machine's,
 * and no wall clock, so that a clock that jumps ends nothing early; a new leader waits anew.
 */
export class ClaimExpiry {
  #watched = new Map<Address, Watched>();

  /** All claims as they are at `now` (milliseconds of a steady clock). Returns those whose time is over. */
  observe(claims: Iterable<Claim>, now: number): ExpiredClaim[] {
    const expired: ExpiredClaim[] = [];
    const watched = new Map<Address, Watched>();
    for (const claim of claims) {
      const { address, epoch, releasedAt, ttlSeconds } = claim;
      if (!isUnused(claim) || ttlSeconds === null) continue;
      const before = this.#watched.get(address);
      const same =
        before?.epoch === epoch && before.releasedAt === releasedAt && before.since <= now;
      const one = same ? before : { epoch, releasedAt, since: now };
      watched.set(address, one);
      if (now - one.since >= ttlSeconds * 1_000) expired.push({ address, epoch, releasedAt });
    }
    this.#watched = watched;
    return expired;
  }
}
