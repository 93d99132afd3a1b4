import { createHash } from 'node:crypto';
import { Address } from '@causeway/ip';
import type { StateChange } from '../src/changes.ts';
import { type BfdDatagram, type BfdEffect, BfdEngine } from '../src/engine.ts';
import type { Session } from '../src/session.ts';
import type { SessionSpec } from '../src/spec.ts';
import { Micros } from '../src/values.ts';

/** A repeatable sequence of 32-bit numbers (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

export const tools = (seed: number) => ({
  random: randomFrom(seed),
  digest: (algorithm: 'md5' | 'sha1', bytes: Uint8Array) =>
    createHash(algorithm).update(bytes).digest(),
});

export const addressOf = { a: Address.parse('192.0.2.1'), b: Address.parse('192.0.2.2') };
export type Side = 'a' | 'b';
export const otherSide = (side: Side): Side => (side === 'a' ? 'b' : 'a');

/** A session of `side` with the other one: 300 ms x 3 unless told. */
export function specOf(side: Side, change: Partial<SessionSpec> = {}): SessionSpec {
  return {
    remote: addressOf[otherSide(side)],
    hops: 'single',
    desiredMinTx: Micros.of(300_000),
    requiredMinRx: Micros.of(300_000),
    multiplier: 3,
    ...change,
  };
}

export function datagramOf(from: Side, bytes: Uint8Array, change: Partial<BfdDatagram> = {}) {
  return {
    bytes,
    length: bytes.length,
    hops: 'single' as const,
    ttl: 255,
    source: Address.toBytes16(addressOf[from]),
    destination: Address.toBytes16(addressOf[otherSide(from)]),
    ifindex: 1,
    ...change,
  };
}

/** How long a packet takes in microseconds; undefined loses it. */
export type Link = (from: Side, now: number, random: () => number) => number | undefined;

interface InFlight {
  readonly at: number;
  readonly from: Side;
  readonly bytes: Uint8Array;
}

export interface Seen {
  readonly side: Side;
  readonly at: number;
  readonly change: StateChange;
}

/** Two systems and a link between them, in virtual time: a day of it takes seconds. */
export class TwoSystems {
  now = 0;
  link: Link = () => 1000;
  readonly engines: Readonly<Record<Side, BfdEngine>>;
  readonly changes: Seen[] = [];
  readonly packets: { readonly from: Side; readonly at: number; readonly bytes: Uint8Array }[] = [];
  /** Whether packets are kept. */
  recording = true;
  /** Called after every event. */
  watch: () => void = () => {};
  readonly #random: () => number;
  readonly #flying: InFlight[] = [];

  constructor(seed = 1) {
    this.engines = { a: new BfdEngine(tools(seed)), b: new BfdEngine(tools(seed + 1000)) };
    this.#random = randomFrom(seed + 2000);
  }

  configure(side: Side, specs: readonly SessionSpec[]) {
    const { results, effects } = this.engines[side].configure(specs, this.now);
    this.do(side, effects);
    return results;
  }

  start(a: Partial<SessionSpec> = {}, b: Partial<SessionSpec> = {}): void {
    this.configure('a', [specOf('a', a)]);
    this.configure('b', [specOf('b', b)]);
  }

  session(side: Side): Session {
    const [session] = this.engines[side].sessions();
    if (session === undefined) throw new Error(`${side} has no session`);
    return session;
  }

  get states(): string {
    return `${this.session('a').state} ${this.session('b').state}`;
  }

  do(side: Side, effects: readonly BfdEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'changed') {
        this.changes.push({ side, at: this.now, change: effect.change });
        continue;
      }
      if (effect.type === 'removed') continue;
      const bytes = effect.bytes.slice();
      if (this.recording) this.packets.push({ from: side, at: this.now, bytes });
      const delay = this.link(side, this.now, this.#random);
      if (delay !== undefined) this.#flying.push({ at: this.now + delay, from: side, bytes });
    }
  }

  run(micros: number): void {
    const until = this.now + micros;
    for (;;) {
      const arrival = this.#flying.reduce<InFlight | undefined>(
        (first, one) => (first === undefined || one.at < first.at ? one : first),
        undefined,
      );
      const next = Math.min(
        arrival?.at ?? Number.POSITIVE_INFINITY,
        this.engines.a.deadline,
        this.engines.b.deadline,
      );
      if (next > until) break;
      this.now = Math.max(this.now, next);
      if (arrival !== undefined && arrival.at <= this.now) {
        this.#flying.splice(this.#flying.indexOf(arrival), 1);
        const to = otherSide(arrival.from);
        this.do(to, this.engines[to].receive(datagramOf(arrival.from, arrival.bytes), this.now));
      } else
        for (const side of ['a', 'b'] as const) this.do(side, this.engines[side].advance(this.now));
      this.watch();
    }
    this.now = until;
  }
}
