import type { EchoRounds, Watched } from './echo-rounds.ts';
import { GroupWatch, type OpenEcho } from './group-watch.ts';
import { PresenceKeys, type PresenceKeysOptions } from './presence-keys.ts';
import { type OpenWords, StoreWatch } from './store-watch.ts';

export interface PresenceOptions extends Omit<PresenceKeysOptions, 'returns'> {
  /** Whom this node watches while it is one of them; without it leases alone tell who lives. */
  readonly watch?: {
    readonly watched: (living: ReadonlySet<string>) => readonly Watched[];
    readonly open: OpenEcho;
    readonly words: OpenWords;
  };
}

/**
 * Which edge nodes and egress gateways live. All nodes read the same keys and so choose alike. While the store is away,
 * the last known ones count.
 *
 * A key goes with its lease when the agent has been silent for that long, and sooner when the node's kernel answers no
 * more: others of the group ask it for echoes, and who finds it fallen deletes the key that he has seen. A node that
 * lives and finds its key gone writes it anew, once somebody answers it. A node that has lost both the group and the
 * store counts itself out, in the time in which the others count it out; and one that has lost the store alone, as soon
 * as another of the group says that its key is gone.
 */
export class Presence implements AsyncDisposable {
  readonly #options: PresenceOptions;
  readonly #keys: PresenceKeys;
  #group: AsyncDisposableStack | undefined;
  #ending: Promise<void> = Promise.resolve();
  #cutOff = false;
  #overruled = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#keys = new PresenceKeys({ ...options, returns: options.watch !== undefined });
  }

  /** The living are known. */
  get synced(): boolean {
    return this.#keys.synced;
  }

  get living(): ReadonlySet<string> {
    const living = new Set(this.#keys.names);
    if (this.#cutOff || this.#overruled) living.delete(this.#options.node);
    return living;
  }

  /** Whether others rely on this node, from now on. */
  announce(present: boolean): void {
    this.#keys.announce(present);
    this.#watchGroup(present);
  }

  health() {
    return this.#keys.health();
  }

  #watchGroup(present: boolean): void {
    const { watch, node, clock, log, onChange } = this.#options;
    if (watch === undefined || present === (this.#group !== undefined)) return;
    const before = this.#group;
    this.#cutOff = false;
    this.#overruled = false;
    this.#group = undefined;
    if (present) {
      this.#group = new AsyncDisposableStack();
      const watched = () => watch.watched(this.living);
      const onRound = (rounds: EchoRounds) => this.#conclude(rounds);
      this.#group.use(new GroupWatch({ watched, open: watch.open, clock, onRound, log }));
      this.#group.use(
        new StoreWatch({
          node,
          keys: this.#keys,
          rivals: () => watched().filter(({ rival }) => rival),
          words: watch.words,
          clock,
          onOverruled: (overruled) => {
            this.#overruled = overruled;
            if (overruled)
              log.error({ node }, 'the store answers others, and they go on without this node');
            else log.info({ node }, 'the store answers again');
            onChange();
          },
          log,
        }),
      );
    }
    this.#ending = this.#ending.then(() => before?.disposeAsync());
  }

  async #conclude(rounds: EchoRounds): Promise<void> {
    const { node, log, onChange } = this.#options;
    const cutOff = rounds.cutOff && !(await this.#keys.answers());
    if (cutOff !== this.#cutOff) {
      this.#cutOff = cutOff;
      if (cutOff) log.error({ node }, 'neither the other edge nodes nor the store answer');
      else log.info({ node }, 'the other edge nodes or the store answer again');
      onChange();
    }
    if (cutOff) return;
    for (const name of rounds.accused()) {
      await this.#keys.takeOut(name);
      rounds.settle(name);
    }
    const wanted = rounds.connected || this.#keys.size === 0;
    if (this.#keys.takenOut && wanted) this.#keys.rewrite();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watchGroup(false);
    await this.#ending;
    await this.#keys[Symbol.asyncDispose]();
  }
}
