import { PathFlag } from '../rib/path-table.ts';
import { type Job, PurgeJob } from './jobs.ts';
import type { PeerFamily } from './peer.ts';

interface Refresh {
  /** Between BoRR and EoRR. */
  open: boolean;
  purge: PurgeJob | undefined;
  /** Marks that may still be made, as of `at` (ms). */
  marks: number;
  at: number;
}

/**
 * Marking walks the whole table and a BoRR has 23 bytes, so a neighbour has these at once and then one a second. One
 * that is not obeyed leaves a stale path where it is; none is lost by it.
 */
const mostMarks = 8;

/** What a neighbour brings again between BoRR and EoRR, and what it does not (RFC 7313 section 4). */
export class Refreshed {
  readonly #addJob: (job: Job) => void;
  readonly #refreshes = new WeakMap<PeerFamily, Refresh>();

  constructor(addJob: (job: Job) => void) {
    this.#addJob = addJob;
  }

  /** Marks all paths of the peer. */
  begin(peer: number, family: PeerFamily, now: number): void {
    const refresh = this.#of(family, now);
    refresh.open = true;
    refresh.marks = Math.min(mostMarks, refresh.marks + (now - refresh.at) / 1000);
    refresh.at = now;
    if (refresh.marks < 1) return;
    refresh.marks--;
    // What is marked now may still be brought again.
    if (refresh.purge !== undefined) refresh.purge.cancelled = true;
    refresh.purge = undefined;
    const { rib } = family;
    const { paths } = rib;
    let left = rib.counts(peer).received;
    for (let slot = 1; slot < paths.end && left > 0; slot++) {
      if (paths.prefix[slot] === 0 || paths.peer[slot] !== peer) continue;
      if ((paths.flags[slot]! & PathFlag.gone) !== 0) continue;
      left--;
      paths.flags[slot]! |= PathFlag.unrefreshed;
    }
  }

  /** What was not brought again is withdrawn; an EoRR without BoRR says nothing. */
  end(peer: number, family: PeerFamily, now: number): void {
    const refresh = this.#of(family, now);
    if (!refresh.open) return;
    refresh.open = false;
    if (refresh.purge !== undefined) return;
    const job = new PurgeJob(family.rib, peer, PathFlag.unrefreshed, () => {
      if (refresh.purge === job) refresh.purge = undefined;
    });
    refresh.purge = job;
    this.#addJob(job);
  }

  #of(family: PeerFamily, now: number): Refresh {
    const known = this.#refreshes.get(family);
    if (known !== undefined) return known;
    const refresh: Refresh = { open: false, purge: undefined, marks: mostMarks, at: now };
    this.#refreshes.set(family, refresh);
    return refresh;
  }
}
