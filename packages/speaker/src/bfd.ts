import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient, type Log, messageWithCauses } from '@causeway/daemon';
import { z } from 'zod';
import { same } from './same.ts';

/** One session as the BFD daemon takes it (`PUT /v1/sessions/:owner`). */
export interface BfdSession {
  readonly remote: string;
  readonly local?: string;
  readonly interface?: string;
  readonly multihop?: boolean;
  readonly minTtl?: number;
  readonly txIntervalMs: number;
  readonly rxIntervalMs: number;
  readonly multiplier: number;
  readonly auth?: {
    readonly type: string;
    readonly keyId: number;
    readonly key: string;
    readonly alsoAccept?: { readonly keyId: number; readonly key: string };
  };
}

/** `down` only if the path failed (RFC 5882): a neighbour that takes BFD down on purpose is `unknown`. */
export type BfdState = 'up' | 'down' | 'unknown';

export interface BfdStatus {
  readonly socket: string;
  /** We follow the daemon's events. */
  readonly connected: boolean;
  readonly sessions: number;
  readonly up: number;
  /** Why the daemon did not take our sessions, or does not answer. */
  readonly error?: string;
}

export interface BfdClientOptions {
  readonly socket: string;
  readonly log: Log;
  readonly onState: (peer: string, state: BfdState) => void;
  /** What the process before this one wanted: kept up until `settled`, since neighbours not met yet may have them. */
  readonly carried: readonly BfdSession[];
  /** Told of the set that the daemon has, for the next process. */
  readonly onAccepted: (sessions: readonly BfdSession[]) => void;
}

const OWNER = 'speaker';
const SETTLE_MS = 20;
const BACK_OFF_MS = [100, 200, 500, 1_000, 2_000, 5_000];

const rowShape = z.object({
  remote: z.string(),
  local: z.string().optional(),
  interface: z.string().optional(),
  multihop: z.boolean(),
  signal: z.enum(['unknown', 'up', 'failed', 'administrative']),
});
const lineShape = z.object({
  type: z.string(),
  session: rowShape.optional(),
  key: z.string().optional(),
});

/**
 * Our part of the BFD daemon's work: tells it the whole set of sessions that neighbours want, and follows
 * what becomes of them. The daemon being away is no news about any path: nothing is told then, and what is
 * true is told when it is back.
 */
export class BfdClient implements AsyncDisposable {
  readonly #options: BfdClientOptions;
  readonly #client: ApiClient;
  readonly #stop = new AbortController();
  readonly #wanted = new Map<string, BfdSession>();
  readonly #states = new Map<string, BfdState>();
  #carried: readonly BfdSession[];
  #accepted: readonly BfdSession[] | undefined;
  #putting: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  #connected = false;
  #error: string | undefined;

  constructor(options: BfdClientOptions) {
    this.#options = options;
    this.#client = new ApiClient('BFD daemon', options.socket);
    this.#carried = options.carried;
    if (this.#carried.length > 0) this.#put();
  }

  /** The session of one neighbour; undefined: none. Told at once if its state is known. */
  want(peer: string, session: BfdSession | undefined): void {
    const before = this.#wanted.get(peer);
    if (same(before, session)) return;
    if (session === undefined) this.#wanted.delete(peer);
    else this.#wanted.set(peer, session);
    this.#put();
    const known = session && this.#states.get(keyOf(session));
    if (known !== undefined) this.#options.onState(peer, known);
    else if (session === undefined) this.#options.onState(peer, 'unknown');
  }

  /** Whoever comes back after a restart has come back: sessions that nobody wants go. */
  settled(): void {
    if (this.#carried.length === 0) return;
    this.#carried = [];
    this.#put();
  }

  stateOf(peer: string): BfdState | undefined {
    const session = this.#wanted.get(peer);
    return session && (this.#states.get(keyOf(session)) ?? 'unknown');
  }

  status(): BfdStatus {
    let up = 0;
    for (const peer of this.#wanted.keys()) if (this.stateOf(peer) === 'up') up++;
    return {
      socket: this.#options.socket,
      connected: this.#connected,
      sessions: this.#wanted.size,
      up,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    };
  }

  /** Sessions stay with the daemon. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#putting, this.#following]);
  }

  #set(): BfdSession[] {
    const all = new Map(this.#carried.map((each) => [keyOf(each), each]));
    for (const each of this.#wanted.values()) all.set(keyOf(each), each);
    return [...all.values()];
  }

  #put(): void {
    this.#following ??= this.#follow();
    this.#putting ??= this.#putAll().finally(() => {
      this.#putting = undefined;
    });
  }

  async #putAll(): Promise<void> {
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const ms = attempt === 0 ? SETTLE_MS : backOff(attempt - 1);
      await sleep(ms, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      const sessions = this.#set();
      if (same(sessions, this.#accepted)) return;
      try {
        await this.#client.ask('PUT', `/v1/sessions/${OWNER}`, sessions);
        this.#accepted = sessions;
        this.#error = undefined;
        this.#options.onAccepted(sessions);
        attempt = -1;
      } catch (error) {
        this.#trouble(error);
      }
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const line of this.#client.lines('/v1/events', signal)) {
          if (!this.#connected) {
            this.#connected = true;
            attempt = 0;
            // A daemon that is new may have lost its own record.
            if (this.#accepted !== undefined) {
              this.#accepted = undefined;
              this.#put();
            }
          }
          this.#line(line);
        }
      } catch (error) {
        this.#trouble(error);
      }
      this.#connected = false;
      await sleep(backOff(attempt), undefined, { signal }).catch(() => {});
    }
  }

  #line(raw: unknown): void {
    const { data } = lineShape.safeParse(raw);
    if (data === undefined) return;
    if (data.session !== undefined) {
      const { signal } = data.session;
      this.#changed(
        keyOf(data.session),
        signal === 'failed' ? 'down' : signal === 'up' ? 'up' : 'unknown',
      );
    } else if (data.type === 'removed' && data.key !== undefined)
      this.#changed(data.key, 'unknown');
  }

  #changed(key: string, state: BfdState): void {
    if ((this.#states.get(key) ?? 'unknown') === state) return;
    if (state === 'unknown') this.#states.delete(key);
    else this.#states.set(key, state);
    for (const [peer, session] of this.#wanted)
      if (keyOf(session) === key) this.#options.onState(peer, state);
  }

  #trouble(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    const text = messageWithCauses(error);
    if (text === this.#error) return;
    this.#error = text;
    this.#options.log.warn(
      { error: text },
      'trouble with the BFD daemon; sessions stay as they are',
    );
  }
}

/** What the daemon knows a session by (its `key`): two neighbours may share one. */
function keyOf(session: {
  remote: string;
  local?: string | undefined;
  interface?: string | undefined;
  multihop?: boolean | undefined;
}): string {
  const at = session.interface === undefined ? '' : `%${session.interface}`;
  const from = session.local === undefined ? '' : ` from ${session.local}`;
  return `${session.multihop === true ? 'multihop ' : ''}${session.remote}${at}${from}`;
}

const backOff = (attempt: number): number =>
  BACK_OFF_MS[Math.min(attempt, BACK_OFF_MS.length - 1)] ?? 5_000;
