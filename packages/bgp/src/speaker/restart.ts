import type { DownReason, Negotiated } from '../events.ts';
import { PathFlag } from '../rib/path-table.ts';
import { type Job, LongLivedJob, PurgeJob } from './jobs.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';
import type { Timers } from './timers.ts';
import type { SpeakerEvent } from './types.ts';

const staleFlags = PathFlag.stale | PathFlag.llgr;

interface RestartContext {
  readonly timers: Timers;
  readonly addJob: (job: Job) => void;
  readonly event: (event: SpeakerEvent) => void;
  /** A family's paths are all gone or settled. */
  readonly settled: (peer: SpeakerPeer) => void;
}

/**
 * The helper's side of graceful restart (RFC 4724 section 4.2) and what follows it (RFC 9494): paths of a session
 * that fell are marked; the marks go with the paths' coming again, and what keeps its mark goes in the end.
 * The same marks serve when nothing is to be kept: then they go at once, but in slices.
 */
export class Restarts {
  readonly #context: RestartContext;
  #turn = 1;

  constructor(context: RestartContext) {
    this.#context = context;
  }

  /** The session fell. Gives the families that are kept and until when (ms). */
  down(peer: SpeakerPeer, reason: DownReason, negotiated: Negotiated, now: number) {
    const retained: { family: PeerFamily['family']; until: number }[] = [];
    for (const family of peer.families.values()) {
      this.#mark(peer, family);
      const agreed = family.negotiated;
      const keeps = reason.retain && agreed?.gracefulRestart !== undefined && !peer.removed;
      const seconds = negotiated.gracefulRestart === undefined ? 0 : reason.retainSeconds;
      family.llgrSeconds =
        keeps && agreed.llgr !== undefined && family.config.llgr !== undefined
          ? agreed.llgr.staleTime
          : 0;
      family.restart = undefined;
      family.endOfRibReceived = false;
      if (family.rib.counts(peer.index).received === 0) continue;
      if (!keeps || (seconds === 0 && family.llgrSeconds === 0)) {
        this.purge(peer, family);
      } else {
        this.#keep(peer, family, now, seconds);
        retained.push({ family: family.family, until: family.restart!.until });
      }
    }
    return retained;
  }

  #keep(peer: SpeakerPeer, family: PeerFamily, now: number, seconds: number): void {
    const turn = this.#turn++;
    const until = now + seconds * 1000;
    family.restart = { phase: 'stale', until, turn };
    this.#context.timers.add(until, (later) => {
      if (family.restart?.turn === turn) this.#expired(peer, family, later);
    });
  }

  /** The restart timer ran out. */
  #expired(peer: SpeakerPeer, family: PeerFamily, now: number): void {
    if (family.llgrSeconds === 0) {
      family.restart = undefined;
      this.purge(peer, family);
      return;
    }
    const turn = this.#turn++;
    const until = now + family.llgrSeconds * 1000;
    family.restart = { phase: 'llgr', until, turn };
    this.#context.addJob(new LongLivedJob(family.rib, peer.index, () => {}));
    this.#context.timers.add(until, () => {
      if (family.restart?.turn !== turn) return;
      family.restart = undefined;
      this.purge(peer, family);
    });
  }

  /**
   * The session is up again. Families that the neighbour did not keep forwarding for go at once; the others
   * wait for End-of-RIB, as long as the timer still lasts.
   */
  up(peer: SpeakerPeer): void {
    for (const family of peer.families.values()) {
      if (family.restart === undefined) continue;
      const agreed = family.negotiated;
      const kept =
        family.restart.phase === 'llgr'
          ? agreed?.llgr?.forwarding === true
          : agreed?.gracefulRestart?.forwarding === true;
      if (kept) continue;
      family.restart = undefined;
      this.purge(peer, family);
    }
  }

  /** What was not brought again is no more. */
  endOfRib(peer: SpeakerPeer, family: PeerFamily): void {
    family.endOfRibReceived = true;
    family.restart = undefined;
    if (family.rib.counts(peer.index).stale > 0) this.purge(peer, family);
  }

  /** Marks all paths of the peer; a purge that is going on takes them along no more. */
  #mark(peer: SpeakerPeer, family: PeerFamily): void {
    const { rib } = family;
    if (family.purge !== undefined) family.purge.cancelled = true;
    family.purge = undefined;
    rib.markStale(peer.index);
  }

  purge(peer: SpeakerPeer, family: PeerFamily): void {
    const { family: key, rib } = family;
    if (family.purge !== undefined) family.purge.cancelled = true;
    const job = new PurgeJob(rib, peer.index, staleFlags, (count) => {
      if (family.purge === job) family.purge = undefined;
      if (count > 0 && peer.negotiated !== undefined) {
        this.#context.event({
          type: 'stale-purged',
          peer: peer.name,
          family: key,
          count,
          llgr: false,
        });
      }
      this.#context.settled(peer);
    });
    family.purge = job;
    this.#context.addJob(job);
  }
}
