import type { Clock } from '@causeway/tables';
import type { OpenStackSourceConfig } from './config.ts';
import { Wake } from './wake.ts';

/** What has changed, who is there at all, and everything. */
export type List = 'changes' | 'roll' | 'resync';

/** Between one that failed or was called for and the next. */
const RESYNC_REST_S = 60;

/** Which list is asked for when. Nothing but everything is of use before everything was there once. */
export class ListSchedule {
  readonly #poll: OpenStackSourceConfig['poll'];
  readonly #clock: Clock;
  readonly #wake = new Wake();
  readonly #next: Record<List, number> = { changes: 0, roll: 0, resync: 0 };
  /** Lists that were called for since they were begun last. */
  readonly #called = new Set<List>();
  #rollRestUntil = 0;
  #resyncRestUntil = 0;
  #synced = false;

  constructor(poll: OpenStackSourceConfig['poll'], clock: Clock) {
    this.#poll = poll;
    this.#clock = clock;
  }

  /** Everything has been there once. */
  get synced(): boolean {
    return this.#synced;
  }

  /** To be asked for at once, or when its rest is over. */
  call(name: List): void {
    this.#next[name] = 0;
    this.#called.add(name);
    this.#wake.wake();
  }

  /** The list that is due; undefined after a sleep, when it is to be asked again. */
  async due(signal: AbortSignal): Promise<List | undefined> {
    const at = {
      changes: this.#next.changes,
      roll: Math.max(this.#next.roll, this.#rollRestUntil),
      resync: Math.max(this.#next.resync, this.#resyncRestUntil),
    };
    const [name, due] = (['resync', 'changes', 'roll'] as const)
      .map((each) => [each, this.#synced || each === 'resync' ? at[each] : Infinity] as const)
      .reduce((first, each) => (each[1] < first[1] ? each : first));
    const wait = due - this.#clock.now();
    if (wait <= 0) return name;
    await this.#wake.wait(this.#clock, wait, signal);
    return undefined;
  }

  /**
   * Lists that are being made. The answer is called when they stand: from then on they have their time, but for those
   * that were called for meanwhile, as whoever did may know of what came too late for them.
   */
  making(...names: readonly List[]): () => void {
    const seconds = {
      changes: this.#poll.changesSeconds,
      roll: this.#poll.rollCallSeconds,
      resync: this.#poll.resyncSeconds,
    };
    const calledFor = names.includes('resync') && this.#called.has('resync');
    for (const name of names) this.#called.delete(name);
    return () => {
      for (const name of names) {
        if (!this.#called.has(name)) this.#next[name] = this.#clock.now() + seconds[name] * 1000;
      }
      if (names.includes('resync')) this.#synced = true;
      // More hints than can be kept call for everything without end.
      if (calledFor) this.#restResync();
    };
  }

  /** A full list that fails must not keep those for changes and deletions from being asked. */
  resyncFailed(): void {
    if (this.#synced) this.#restResync();
    this.#next.resync = this.#synced ? this.#resyncRestUntil : this.#clock.now();
  }

  #restResync(): void {
    const seconds = Math.min(RESYNC_REST_S, this.#poll.resyncSeconds);
    this.#resyncRestUntil = this.#clock.now() + seconds * 1000;
  }

  /** Calling the roll takes no more than its share of the time. @param began ms, when the last one began. */
  restAfterRoll(began: number): void {
    const now = this.#clock.now();
    this.#rollRestUntil = now + (now - began) * (1 / this.#poll.rollCallShare - 1);
  }
}
