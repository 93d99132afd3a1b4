import { causesOf, headlineOf } from './headline.ts';
import type { Judgement, Loss } from './losses.ts';
import { suspectsOf } from './suspects.ts';
import type { Fault, FaultNode, FaultPrefixes, FaultSession } from './types.ts';

export interface TrackerOptions {
  /** ms of quiet after which a fault is judged. */
  readonly gap: number;
  /** ms after which it is judged though sessions keep falling. */
  readonly span: number;
  /** Sessions listed per fault. */
  readonly sessions: number;
  /** Faults that are not recovered, at most; the oldest is let go. */
  readonly faults: number;
}

/** What the tracker asks of the station, and tells it. */
export interface TrackerHost {
  nextFault(): number;
  judge(losses: readonly Loss[], since: number): Judgement;
  /** The lists of the losses are not needed any more. */
  release(losses: readonly Loss[]): void;
  /** How many sessions end at a node; asked once for each judgement. */
  sessionsKnown(): (node: FaultNode) => number;
  downs(peer: number, since: number): number;
  /** A fault is new, judged, or recovered. `log`: its prefixes, with the judgement only. */
  changed(fault: Fault, log: Uint8Array | undefined): void;
}

interface Draft {
  fault: Fault;
  readonly nodes: Set<string>;
  readonly losses: Loss[];
  /** Peers that are down, by their numbers in the history. */
  readonly down: Set<number>;
  readonly feedsDown: Set<number>;
}

const NO_PREFIXES: FaultPrefixes = Object.freeze({
  lost: 0,
  reachable: 0,
  gone: 0,
  goneSample: [],
  perRouter: [],
});

const HOUR = 3_600_000;
/** Flaps are counted in the history, a question each. */
const MOST_FLAPS = 500;

/**
 * Groups what falls at one time around common nodes into faults, has them judged when it has become quiet, and
 * follows them until all is back. Time is ms since 1970 by the station's clock.
 */
export class FaultTracker {
  readonly #options: TrackerOptions;
  readonly #host: TrackerHost;
  /** Gathering and open ones by number, in order of opening. */
  readonly #drafts = new Map<number, Draft>();

  constructor(options: TrackerOptions, host: TrackerHost) {
    this.#options = options;
    this.#host = host;
  }

  /** Faults of an earlier run that were open when it ended. */
  restore(faults: readonly Fault[]): void {
    for (const fault of faults) {
      const down = fault.sessions.filter(({ upAt }) => upAt === undefined).map(({ peer }) => peer);
      this.#drafts.set(fault.id, {
        // What was still to be judged cannot be any more: its lists went with the process.
        fault: { ...fault, state: 'open' },
        nodes: new Set(),
        losses: [],
        down: new Set(down),
        feedsDown: new Set(fault.feedsLost.map(({ router }) => router)),
      });
    }
  }

  /** When `tick` is wanted. */
  get deadline(): number | undefined {
    let first: number | undefined;
    for (const { fault } of this.#drafts.values()) {
      if (fault.state === 'gathering') first = Math.min(first ?? Infinity, this.#judgeAt(fault));
    }
    return first;
  }

  get faults(): Fault[] {
    return [...this.#drafts.values()].map(({ fault }) => fault);
  }

  sessionDown(session: FaultSession, loss: Loss): void {
    const { local, remote, downAt, peer } = session;
    const draft = this.#draftFor([local, remote], downAt);
    draft.nodes.add(local.bgpId).add(remote.bgpId);
    draft.down.add(peer);
    if (loss.lists.length > 0) draft.losses.push(loss);
    const room = draft.fault.sessions.length < this.#options.sessions;
    draft.fault = {
      ...draft.fault,
      lastAt: downAt,
      sessions: room ? appended(draft.fault.sessions, session) : draft.fault.sessions,
      sessionsLeftOut: draft.fault.sessionsLeftOut + (room ? 0 : 1),
    };
  }

  sessionUp(peer: number, at: number): void {
    for (const draft of this.#drafts.values()) {
      if (!draft.down.delete(peer)) continue;
      const sessions = draft.fault.sessions as FaultSession[];
      const index = sessions.findLastIndex((one) => one.peer === peer && one.upAt === undefined);
      if (index >= 0) sessions[index] = { ...sessions[index]!, upAt: at };
      this.#recover(draft, at);
    }
  }

  /** The session was taken away on purpose, or is not told of any more: it will not come back. */
  sessionForgotten(peer: number, at: number): void {
    for (const draft of this.#drafts.values()) {
      if (draft.down.delete(peer)) this.#recover(draft, at);
    }
  }

  feedLost(
    router: number,
    name: string,
    nodes: readonly FaultNode[],
    why: string,
    at: number,
  ): void {
    const draft = this.#draftFor(nodes, at);
    for (const node of nodes) draft.nodes.add(node.bgpId);
    draft.feedsDown.add(router);
    draft.fault = {
      ...draft.fault,
      lastAt: at,
      feedsLost: [...draft.fault.feedsLost, { router, name, why }],
    };
  }

  feedBack(router: number, at: number): void {
    for (const draft of this.#drafts.values()) {
      if (draft.feedsDown.delete(router)) this.#recover(draft, at);
    }
  }

  tick(now: number): void {
    for (const draft of this.#drafts.values()) {
      if (draft.fault.state === 'gathering' && now >= this.#judgeAt(draft.fault)) {
        this.#judge(draft, now);
      }
    }
  }

  /** Judges what is still gathering: the station stops. */
  close(now: number): void {
    for (const draft of this.#drafts.values()) {
      if (draft.fault.state === 'gathering') this.#judge(draft, now);
    }
  }

  #judgeAt({ openedAt, lastAt }: Fault): number {
    return Math.min(lastAt + this.#options.gap, openedAt + this.#options.span);
  }

  /** The gathering fault that shares a node with these, or a new one. */
  #draftFor(nodes: readonly FaultNode[], at: number): Draft {
    const near = [...this.#drafts.values()].filter(
      ({ fault, nodes: own }) =>
        fault.state === 'gathering' &&
        at < this.#judgeAt(fault) &&
        nodes.some(({ bgpId }) => own.has(bgpId)),
    );
    const [first, ...others] = near;
    if (first === undefined) return this.#open(at);
    for (const other of others) this.#merge(first, other);
    return first;
  }

  #open(at: number): Draft {
    if (this.#drafts.size >= this.#options.faults) this.#letGo();
    const draft: Draft = {
      fault: {
        id: this.#host.nextFault(),
        state: 'gathering',
        openedAt: at,
        lastAt: at,
        headline: '',
        suspects: [],
        causes: [],
        sessions: [],
        sessionsLeftOut: 0,
        prefixes: NO_PREFIXES,
        alsoLost: [],
        feedsLost: [],
      },
      nodes: new Set(),
      losses: [],
      down: new Set(),
      feedsDown: new Set(),
    };
    this.#drafts.set(draft.fault.id, draft);
    return draft;
  }

  #letGo(): void {
    const [[id, draft] = []] = this.#drafts;
    if (id === undefined || draft === undefined) return;
    this.#host.release(draft.losses);
    this.#drafts.delete(id);
  }

  /** Two that turned out to be one. */
  #merge(into: Draft, from: Draft): void {
    for (const node of from.nodes) into.nodes.add(node);
    for (const peer of from.down) into.down.add(peer);
    for (const router of from.feedsDown) into.feedsDown.add(router);
    into.losses.push(...from.losses);
    const all = [...into.fault.sessions, ...from.fault.sessions];
    all.sort((a, b) => a.downAt - b.downAt);
    const sessions = all.slice(0, this.#options.sessions);
    into.fault = {
      ...into.fault,
      openedAt: Math.min(into.fault.openedAt, from.fault.openedAt),
      lastAt: Math.max(into.fault.lastAt, from.fault.lastAt),
      sessions,
      sessionsLeftOut:
        into.fault.sessionsLeftOut + from.fault.sessionsLeftOut + all.length - sessions.length,
      feedsLost: [...into.fault.feedsLost, ...from.fault.feedsLost],
    };
    this.#drafts.delete(from.fault.id);
  }

  #judge(draft: Draft, now: number): void {
    const { fault, losses } = draft;
    const judgement = this.#host.judge(losses, fault.openedAt - this.#options.gap);
    this.#host.release(losses);
    losses.length = 0;
    const feedsOf = new Set(fault.feedsLost.map(({ name }) => name));
    const suspects = suspectsOf(fault.sessions, this.#host.sessionsKnown(), (node) =>
      feedsOf.has(node.name),
    );
    draft.fault = {
      ...fault,
      state: 'open',
      headline: headlineOf(fault.sessions, fault.sessionsLeftOut, suspects, fault.feedsLost),
      suspects,
      causes: causesOf(fault.sessions),
      sessions: fault.sessions.map((session, index) =>
        index < MOST_FLAPS ? { ...session, flaps: this.#flaps(session.peer, now) } : session,
      ),
      prefixes: judgement.prefixes,
      alsoLost: judgement.alsoLost,
    };
    this.#host.changed(draft.fault, judgement.log);
    this.#recover(draft, now);
  }

  #flaps(peer: number, now: number): NonNullable<FaultSession['flaps']> {
    return {
      lastHour: this.#host.downs(peer, now - HOUR),
      lastDay: this.#host.downs(peer, now - 24 * HOUR),
    };
  }

  #recover(draft: Draft, at: number): void {
    if (draft.fault.state !== 'open' || draft.down.size > 0 || draft.feedsDown.size > 0) return;
    const ups = draft.fault.sessions.map(({ upAt }) => upAt ?? 0);
    const last = Math.max(...ups);
    draft.fault = { ...draft.fault, state: 'recovered', recoveredAt: last > 0 ? last : at };
    this.#drafts.delete(draft.fault.id);
    this.#host.changed(draft.fault, undefined);
  }
}

/** Appends in place: a draft's list is its own until it is judged, and may have thousands of entries. */
function appended(list: readonly FaultSession[], session: FaultSession): readonly FaultSession[] {
  (list as FaultSession[]).push(session);
  return list;
}
