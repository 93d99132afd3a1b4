import type { Negotiated } from '../events.ts';
import type { FamilyKey } from '../types.ts';
import type { Timers } from './timers.ts';

type Why = 'all-end-of-rib' | 'no-peers' | 'timeout';

/**
 * The restarting speaker's side of RFC 4724 section 4.1: nothing is chosen or sent before all who were there before
 * have said what they have, or the time for it has run out. Who comes without the capability, or restarts
 * itself, is not waited for.
 */
export class Deferral {
  #waiting: Map<string, 'absent' | Set<FamilyKey>> | undefined;
  readonly #began: number;
  readonly #over: (why: Why, afterMs: number) => void;

  constructor(
    restart: { readonly expected: readonly string[]; readonly seconds: number } | undefined,
    now: number,
    timers: Timers,
    over: (why: Why, afterMs: number) => void,
  ) {
    this.#began = now;
    this.#over = over;
    if (restart === undefined) return;
    this.#waiting = new Map(restart.expected.map((name) => [name, 'absent'] as const));
    timers.add(now + restart.seconds * 1000, (later) => this.#finish('timeout', later));
  }

  get isOn(): boolean {
    return this.#waiting !== undefined;
  }

  /** Once whoever listens to the outcome is ready. */
  start(now: number): void {
    if (this.#waiting?.size === 0) this.#finish('no-peers', now);
  }

  up(name: string, negotiated: Negotiated, now: number): void {
    if (this.#waiting?.has(name) !== true) return;
    const restart = negotiated.gracefulRestart;
    if (restart === undefined || restart.restarting) this.#done(name, now);
    else this.#waiting.set(name, new Set(negotiated.families.map(({ family }) => family)));
  }

  endOfRib(name: string, family: FamilyKey, now: number): void {
    const left = this.#waiting?.get(name);
    if (left === undefined || left === 'absent') return;
    left.delete(family);
    if (left.size === 0) this.#done(name, now);
  }

  /** It fell again: it has to begin anew, within the time that there is. */
  down(name: string, _now: number): void {
    if (this.#waiting?.has(name) === true) this.#waiting.set(name, 'absent');
  }

  removed(name: string, now: number): void {
    if (this.#waiting?.has(name) === true) this.#done(name, now);
  }

  #done(name: string, now: number): void {
    this.#waiting?.delete(name);
    if (this.#waiting?.size === 0) this.#finish('all-end-of-rib', now);
  }

  #finish(why: Why, now: number): void {
    if (this.#waiting === undefined) return;
    this.#waiting = undefined;
    this.#over(why, now - this.#began);
  }
}
