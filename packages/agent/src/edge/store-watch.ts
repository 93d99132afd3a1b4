import { type Log, messageWithCauses } from '@causeway/daemon';
import type { Address } from '@causeway/ip';
import type { Clock } from '@causeway/tables';
import type { PresenceKeys } from './presence-keys.ts';

/** How often the store is asked whether it answers, and while it does not, the others whether it answers them. */
export const LOOK_MS = 1_000;

/** Asks other nodes of the group for their word, and gives one's own. */
export interface Words extends AsyncDisposable {
  /** Whether the node at that address says that `node` is counted out. */
  ask(address: Address, node: string): Promise<boolean>;
}

/** @param isOut what this node says of another that asks. */
export type OpenWords = (isOut: (node: string) => boolean, clock: Clock, log: Log) => Words;

export interface StoreWatchOptions {
  readonly node: string;
  readonly keys: Pick<PresenceKeys, 'answers' | 'has' | 'synced'>;
  /** Those that would take over. */
  readonly rivals: () => readonly { readonly address: Address }[];
  readonly words: OpenWords;
  readonly clock: Clock;
  readonly onOverruled: (overruled: boolean) => void;
  readonly log: Log;
}

/**
 * Whether the others go on without this node. While the store does not answer, its key may be gone and another have
 * taken over, or the store be away for all, and then nobody does: only the others can tell.
 */
export class StoreWatch implements AsyncDisposable {
  readonly #options: StoreWatchOptions;
  readonly #words: Words;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #answers = false;
  #overruled = false;

  constructor(options: StoreWatchOptions) {
    this.#options = options;
    const { words, keys, clock, log } = options;
    // Who does not reach the store himself knows as little.
    this.#words = words((node) => this.#answers && keys.synced && !keys.has(node), clock, log);
    this.#running = this.#run(this.#stop.signal);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { keys, clock, onOverruled, log } = this.#options;
    while (!signal.aborted) {
      try {
        this.#answers = await keys.answers();
        // Once overruled it stays so until the store tells more.
        const overruled = !this.#answers && (this.#overruled || (await this.#isOut()));
        if (overruled !== this.#overruled && !signal.aborted) {
          this.#overruled = overruled;
          onOverruled(overruled);
        }
      } catch (error) {
        log.warn({ error: messageWithCauses(error) }, 'other edge nodes cannot be asked');
      }
      await clock.sleep(LOOK_MS, signal);
    }
  }

  async #isOut(): Promise<boolean> {
    const { rivals, node } = this.#options;
    const said = rivals().map(({ address }) => this.#words.ask(address, node));
    return (await Promise.all(said)).includes(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#words[Symbol.asyncDispose]();
  }
}
