import type { Kv } from '@causeway/etcd';
import type { Clock } from '@causeway/tables';

/** After a break every node writes again what the store lost; most do within a second. */
const AFTER_BREAK_MS = 30_000;
const AFTER_START_MS = 5_000;

/**
 * Whether the absence of something in the store may be believed. A store that has just come back, or
 * came back as another one, lacks for a moment what its writers are about to write again: what they
 * said before stays in force that long.
 */
export class StoreTrust implements Disposable {
  readonly #clock: Clock;
  readonly #undo: () => void;
  #until: number;
  #connected = false;
  #broke = false;
  #clusterId: string | undefined;

  constructor(kv: Pick<Kv, 'onHealth' | 'health'>, clock: Clock) {
    this.#clock = clock;
    this.#until = clock.now() + AFTER_START_MS;
    const see = ({
      connected,
      clusterId,
    }: {
      connected: boolean;
      clusterId: string | undefined;
    }) => {
      const back = connected && !this.#connected && this.#clusterId !== undefined;
      const other =
        this.#clusterId !== undefined && clusterId !== undefined && clusterId !== this.#clusterId;
      this.#broke ||= back || other;
      if (back || other) this.#until = Math.max(this.#until, clock.now() + AFTER_BREAK_MS);
      this.#connected = connected;
      this.#clusterId = clusterId ?? this.#clusterId;
    };
    see(kv.health());
    this.#undo = kv.onHealth(see);
  }

  /** It was out of reach, or another one, since the start. */
  get broke(): boolean {
    return this.#broke;
  }

  get settled(): boolean {
    return this.#connected && this.#clock.now() >= this.#until;
  }

  /** Runs `work` once absence may be believed; it looks then whether it is still wanted. */
  whenSettled(work: () => void, signal: AbortSignal): void {
    if (this.settled) {
      work();
      return;
    }
    const wait = this.#connected ? Math.max(50, this.#until - this.#clock.now()) : 1_000;
    void this.#clock.sleep(wait, signal).then(() => {
      if (!signal.aborted) this.whenSettled(work, signal);
    });
  }

  [Symbol.dispose](): void {
    this.#undo();
  }
}
