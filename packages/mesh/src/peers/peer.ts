import type { Kv } from '@causeway/etcd';
import { type Clock, exponentialBackoff, Gate } from '@causeway/tables';
import type { KeptContact } from '../keep/records.ts';
import { type Age, Contact, type ContactTimes } from './contact.ts';
import {
  type PeerStore,
  type PeerStream,
  Session,
  type SessionEnd,
  type StoreMark,
  type Upstream,
} from './session.ts';
import type { MeshPeerTable } from './table.ts';
import type { MeshPeerRow, PeerCounts, PeerSpec, PeerState } from './types.ts';

/** What a peer's state is read into: an agent's tables, or the cache in the own store. */
export interface PeerTarget {
  /** What is to be read of a store with such a config. Throws MeshError if it may not be read. */
  open(store: PeerStore, page: { readonly size: number }): readonly PeerStream[];
  counts(): PeerCounts;
  /**
   * Puts back what an earlier life of ours kept of the peer, if that is younger than `oldest`, milliseconds since the
   * epoch. Undefined: there is nothing.
   */
  restore?(oldest: number, signal: AbortSignal): Promise<KeptPeerState | undefined>;
  /** All that the peer says is known and followed. */
  current?(contact: KeptContact): void;
  /** Takes away the services whose turn comes before `share`. Returns whether any went. */
  withdrawServices(share: number): boolean | Promise<boolean>;
  /** Takes away all that is known of the peer. Returns whether there was any. */
  withdrawAll(): boolean | Promise<boolean>;
  /** The peer is given up: nothing of it stays, and its id is free. */
  forget(): void | Promise<void>;
}

/** What was put back. */
export interface KeptPeerState {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly lastContact: number;
  readonly mark: StoreMark | undefined;
}

/** How a peer's store is reached: over a connection of its own, or the one to the own store. */
export interface PeerConnection {
  readonly kv: Kv;
  /** Where `kv` holds a copy that another keeps. */
  readonly upstream?: Upstream;
  close(): Promise<void>;
}

export interface PeerOptions {
  readonly spec: PeerSpec;
  readonly connect: (spec: PeerSpec) => PeerConnection;
  readonly target: PeerTarget;
  readonly table: MeshPeerTable;
  readonly times: ContactTimes;
  readonly clock: Clock;
  readonly random: () => number;
  /** Milliseconds between questions that show whether we may still ask; default 15 s. */
  readonly checkInterval?: number;
  readonly onLog: (event: PeerEvent) => void;
}

export interface PeerEvent {
  readonly peer: string;
  readonly state: PeerState;
  readonly before: PeerState;
  readonly reason: string | undefined;
}

/** How often peers are looked at, milliseconds: what is withdrawn goes in such steps. */
const LOOK_MS = 1000;
/** Entries a page: etcd walks the whole range for each, but answers are limited in size and time. */
const PAGES = [1000, 250, 32] as const;

/** Looks at all peers until the signal aborts, in one turn: a timer for each costs more than what is looked at. */
export async function lookAfter(
  peers: () => Iterable<Peer>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(LOOK_MS, signal);
    if (signal.aborted) return;
    const now = clock.now();
    for (const peer of peers()) peer.look(now);
  }
}

/** One peer cluster: sessions with its store one after the other, and the ageing of what it said. */
export class Peer implements AsyncDisposable {
  readonly #options: PeerOptions;
  readonly #contact: Contact;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #changed = new Gate();
  #spec: PeerSpec;
  #session: Session | undefined;
  #kv: Kv | undefined;
  #store: PeerStore | undefined;
  #state: PeerState = 'connecting';
  #since: number;
  #reason: string | undefined;
  #id: number | undefined;
  /** What its description lacks, where it was understood before. */
  #note: string | undefined;
  /** Something of it may be in force. */
  #known = false;
  /** A session is putting rows in. */
  #reading = false;
  /** The grace is over and everything was taken away since the last contact. */
  #emptied = false;
  /** Something was taken away while a session was reading: what that has read is not whole. */
  #torn = false;
  #page = 0;
  #mark: StoreMark | undefined;
  /** What is to go is being taken away. */
  #ageing: Promise<void> | undefined;

  constructor(options: PeerOptions) {
    this.#options = options;
    this.#spec = options.spec;
    const now = options.clock.now();
    this.#since = now;
    this.#contact = new Contact(options.times, now);
    this.#show();
    this.#running = this.#run();
  }

  get spec(): PeerSpec {
    return this.#spec;
  }

  /** It has been read whole once, or there is a reason for which it will not be. */
  get settled(): boolean {
    return this.#wasReady || this.#state === 'refused' || this.#spec.suspended;
  }

  get #wasReady(): boolean {
    return !this.#contact.lost || this.#contact.lastContact !== undefined;
  }

  /** The peer's store, while a session reads it. */
  get store(): PeerStore | undefined {
    return this.#store;
  }

  /** It is reached in another way from now on. What is known of it stays until it is read again. */
  describe(spec: PeerSpec): void {
    this.#note = undefined;
    if (spec.stamp === this.#spec.stamp) {
      this.#show();
      return;
    }
    this.#spec = spec;
    this.#session?.finish('its description has changed');
    this.#changed.open();
  }

  /** Its description cannot be used any more; the last good one stays in force. */
  doubt(reason: string): void {
    this.#note = `the last good description stays in force: ${reason}`;
    this.#show();
  }

  /** Reads everything again: what may be believed of it has changed. */
  reread(reason: string): void {
    this.#torn = true;
    if (this.#state === 'ready') this.#session?.finish(reason);
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#stop;
    const backoff = exponentialBackoff(random, { min: 500, max: 30_000 });
    let failures = 0;
    await this.#restore();
    while (!signal.aborted) {
      if (this.#spec.suspended) {
        this.#contact.lose(clock.now());
        this.#enter('suspended', 'its MeshPeer says so; what was known of it ages as after a loss');
        await this.#changed.wait(signal);
        continue;
      }
      const spec = this.#spec;
      const end = await this.#converse(spec);
      if (signal.aborted) return;
      const inContact = !this.#contact.lost;
      failures = inContact ? 1 : failures + 1;
      if (end.type === 'lost') this.#adaptPage(end);
      // It was ended to be begun anew: no loss of contact.
      const wanted = end.type === 'lost' && end.error === undefined && this.#torn;
      if ((inContact && wanted) || spec !== this.#spec) continue;
      this.#contact.lose(clock.now());
      this.#lost(end);
      const pause = Math.max(backoff(failures), this.#contact.pause(clock.now()));
      await this.#changedWithin(pause);
    }
  }

  /** What it said before we started is in force at once, and as old as it is. */
  async #restore(): Promise<void> {
    const { target, clock, times } = this.#options;
    const { signal } = this.#stop;
    const oldest = clock.now() - times.grace - times.withdraw;
    const kept = await target.restore?.(oldest, signal);
    if (kept === undefined || signal.aborted) return;
    this.#id = kept.id;
    this.#mark = kept.mark;
    this.#known = true;
    this.#contact.resume(kept.lastContact, clock.now());
    this.#enter('stale', 'as it was kept on the own disk; its store was not read since the start');
  }

  async #changedWithin(ms: number): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, over.signal]);
    await Promise.race([this.#changed.wait(signal), this.#options.clock.sleep(ms, signal)]);
    over.abort();
  }

  async #converse(spec: PeerSpec): Promise<SessionEnd> {
    const { connect, clock, target, checkInterval } = this.#options;
    if (this.#state === 'suspended') {
      this.#enter(this.#wasReady ? 'stale' : 'connecting', 'no longer suspended');
    }
    let connection: PeerConnection;
    try {
      connection = connect(spec);
    } catch (error) {
      return { type: 'refused', reason: error instanceof Error ? error.message : String(error) };
    }
    // Of a copy the own store answers, which is not the peer's.
    this.#kv = connection.upstream === undefined ? connection.kv : undefined;
    const session = new Session({
      name: spec.name,
      kv: connection.kv,
      before: this.#mark,
      ...(connection.upstream === undefined ? {} : { upstream: connection.upstream }),
      clock,
      // Of a copy its keeper tells; all nodes asking for all peers would be too much for one store.
      ...(connection.upstream !== undefined
        ? { checkInterval: Number.POSITIVE_INFINITY }
        : checkInterval === undefined
          ? {}
          : { checkInterval }),
      open: (store) => {
        const streams = target.open(store, { size: PAGES[this.#page]! });
        this.#id = store.config.id;
        this.#store = store;
        this.#torn = false;
        this.#known = true;
        this.#reading = true;
        return streams;
      },
      onStep: (step) => {
        if (step.type !== 'ready') return this.#onTheWay(step.type, step.reason);
        this.#page = 0;
        this.#emptied = false;
        this.#contact.found(clock.now());
        this.#enter('ready', undefined);
        if (this.#torn) session.finish('read again: some of it was withdrawn meanwhile');
      },
    });
    this.#session = session;
    try {
      return await session.run(this.#stop.signal);
    } finally {
      const { clusterId, revision } = connection.kv.health();
      // Of a store that was not read nothing is known that could be missed.
      if (this.#reading && clusterId !== undefined) this.#mark = { clusterId, revision };
      this.#session = undefined;
      this.#kv = undefined;
      this.#store = undefined;
      this.#reading = false;
      await connection.close();
    }
  }

  /** Too much for one answer, or for its time: smaller pages next. */
  #adaptPage({ error }: Extract<SessionEnd, { type: 'lost' }>): void {
    if (error?.code !== 'too-large' && error?.code !== 'deadline') return;
    this.#page = Math.min(this.#page + 1, PAGES.length - 1);
  }

  #onTheWay(state: 'handshake' | 'syncing', reason: string): void {
    // What is known of it ages on, and that is what is to be seen.
    if (!this.#wasReady) this.#enter(state, reason);
    else if (this.#contact.lost) this.#enter(this.#state, `${state}: ${reason}`);
  }

  #lost(end: SessionEnd): void {
    const reason = end.type === 'closed' ? 'closed' : end.reason;
    const aged = this.#state === 'withdrawing' || this.#state === 'withdrawn';
    if (aged) this.#enter(this.#state, reason);
    else if (end.type === 'refused') this.#enter('refused', reason);
    else this.#enter(this.#wasReady ? 'stale' : 'connecting', reason);
  }

  /**
   * Time has passed: what is known of a peer out of contact ages, and what is shown of one may have changed. Never
   * throws: the other peers are looked at in the same turn.
   */
  look(now: number): void {
    if (this.#stop.signal.aborted || this.#ageing !== undefined) return;
    const age = this.#contact.age(now);
    if (this.#known && age.type !== 'kept') {
      this.#ageing = this.#grow(age);
      return;
    }
    try {
      this.#tellCurrent(now);
      this.#show(now);
    } catch (error) {
      this.#showFault(error);
    }
  }

  async #grow(age: Age): Promise<void> {
    try {
      await this.#age(age);
    } catch (error) {
      this.#reason = `its state cannot be withdrawn: ${error instanceof Error ? error.message : String(error)}`;
    }
    this.#ageing = undefined;
    try {
      this.#show();
    } catch (error) {
      this.#showFault(error);
    }
  }

  #tellCurrent(now: number): void {
    const health = this.#session?.health();
    if (this.#state !== 'ready' || this.#contact.lost || health === undefined) return;
    const { clusterId, revision } = health;
    const store = clusterId === undefined ? {} : { store: { clusterId, revision } };
    this.#options.target.current?.({ at: now, ...store });
  }

  async #age(age: Age): Promise<void> {
    const { target } = this.#options;
    switch (age.type) {
      case 'kept':
        return;
      case 'withdrawing':
        if (await target.withdrawServices(age.share)) this.#torn = true;
        break;
      case 'withdrawn':
        // What a session has read since is fresh, and stays while the session does.
        if (this.#emptied && this.#reading) return;
        this.#torn = true;
        this.#known = this.#reading;
        this.#emptied = true;
        await target.withdrawAll();
        break;
      default:
        age satisfies never;
    }
    if (this.#contact.lost && !this.#spec.suspended) this.#enter(age.type, this.#reason);
  }

  #enter(state: PeerState, reason: string | undefined): void {
    const { clock, onLog } = this.#options;
    if (state !== this.#state) {
      const before = this.#state;
      this.#state = state;
      this.#since = clock.now();
      onLog({ peer: this.#spec.name, state, before, reason });
    }
    this.#reason = reason;
    this.#show();
  }

  #show(now = this.#options.clock.now()): void {
    const { table, target } = this.#options;
    const spec = this.#spec;
    if (this.#stop.signal.aborted) return;
    const silence = this.#silence();
    const row: MeshPeerRow = {
      name: spec.name,
      source: spec.source,
      id: this.#id,
      endpoint: this.#kv?.health().endpoint ?? spec.endpoints.join(','),
      state: this.#state,
      since: this.#since,
      lastContact: this.#contact.lost ? this.#contact.lastContact : silence?.since,
      reason: this.#note ?? silence?.reason ?? this.#reason,
      losses: this.#contact.losses(now),
      counts: target.counts(),
    };
    table.put(row);
  }

  #showFault(error: unknown): void {
    const { table } = this.#options;
    const before = table.get(this.#spec.name);
    if (before === undefined) return;
    const reason = `it cannot be looked after: ${error instanceof Error ? error.message : String(error)}`;
    try {
      table.put({ ...before, state: this.#state, since: this.#since, reason });
    } catch {
      // Whoever listens to the table has failed: the row is in, and there is nobody else to tell.
    }
  }

  /** A store that does not answer, though its connection is not given up yet. */
  #silence(): { readonly since: number; readonly reason: string } | undefined {
    const health = this.#state === 'ready' ? this.#session?.health() : undefined;
    if (health === undefined || health.connected) return undefined;
    const { since, lastError } = health;
    return { since, reason: `its store does not answer: ${lastError?.message ?? 'not asked yet'}` };
  }

  /** Ends the reading; what is known of the peer stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#ageing;
  }

  /** Gives the peer up. */
  async forget(): Promise<void> {
    await this[Symbol.asyncDispose]();
    await this.#options.target.forget();
    this.#options.table.delete(this.#spec.name);
  }
}
