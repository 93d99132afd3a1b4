import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Kv, SharedStore } from '@causeway/etcd';
import type { Clock, Database, InitialSource, Table } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { reconcilerHealth } from '../health.ts';
import type { EchoRounds, Watched } from './echo-rounds.ts';
import { GroupWatch, type OpenEcho } from './group-watch.ts';

/** Nodes that others rely on at the edge say that they live, each by a key on a short lease. */
export const PRESENCE_PREFIX = 'causeway/state/edge/';

/** Seconds until a node that says nothing more is held for dead: not so few that a busy store or node seems dead. */
const TTL = 10;
const MAX_NODES = 10_000;
/** Says in a key that its node watches the group: taken out in error, it comes back by itself. */
const RETURNS = '{"echo":1}';
/** A store that has not answered by then is out of reach, for the moment. */
const ANSWER_MS = 500;

export interface PresenceOptions {
  readonly node: string;
  readonly kv: Kv;
  readonly database: Database;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ttl?: number;
  /** Whom this node watches while it is one of them; without it leases alone tell who lives. */
  readonly watch?: {
    readonly watched: (living: ReadonlySet<string>) => readonly Watched[];
    readonly open: OpenEcho;
  };
  /** The living are others now. */
  readonly onChange: () => void;
  readonly log: Log;
}

/**
 * Which edge nodes and egress gateways live. All nodes read the same keys and so choose alike. While the store is away,
 * the last known ones count.
 *
 * A key goes with its lease when the agent has been silent for that long, and sooner when the node's kernel answers no
 * more: others of the group ask it for echoes, and who finds it fallen deletes the key that he has seen. A node that
 * lives and finds its key gone writes it anew, once somebody answers it. And a node that has lost both the group and
 * the store counts itself out, in the time in which the others count it out.
 */
export class Presence implements AsyncDisposable {
  readonly #options: PresenceOptions;
  readonly #table: Table<{ readonly node: string }>;
  readonly #initial: InitialSource;
  readonly #store: SharedStore<{ readonly node: string }>;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #living = new Map<string, { readonly revision: number; readonly returns: boolean }>();
  #group: GroupWatch | undefined;
  #ending: Promise<void> = Promise.resolve();
  #synced = false;
  #said = false;
  /** Somebody else has deleted this node's key. */
  #takenOut = false;
  #cutOff = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const { node, kv, database, clock, random, watch, ttl = TTL } = options;
    this.#table = database.table({ name: 'edge-presence', key: (row) => row.node });
    this.#initial = this.#table.source('edge');
    this.#store = new SharedStore({
      name: 'edge-presence',
      kv,
      clock,
      random,
      table: this.#table,
      encode: (row) => ({
        key: PRESENCE_PREFIX + row.node,
        value: watch === undefined ? '{}' : RETURNS,
      }),
      ttl,
      // The reader watches the prefix already.
      scopes: [
        {
          prefix: PRESENCE_PREFIX,
          owns: ({ key }) => key === PRESENCE_PREFIX + node,
          watch: false,
        },
      ],
    });
    this.#watching = this.#watch(this.#stop.signal);
  }

  /** The living are known. */
  get synced(): boolean {
    return this.#synced;
  }

  get living(): ReadonlySet<string> {
    const living = new Set(this.#living.keys());
    if (this.#cutOff) living.delete(this.#options.node);
    return living;
  }

  /** Whether others rely on this node, from now on. */
  announce(present: boolean): void {
    const { node } = this.#options;
    if (present) this.#table.put({ node });
    else this.#table.delete(node);
    this.#watchGroup(present);
    if (!this.#said) this.#initial.done();
    this.#said = true;
  }

  health(): HealthRow[] {
    if (this.#table.size === 0) return [];
    return [{ ...reconcilerHealth(this.#store.reconciler), name: 'edge-presence' }];
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { kv, onChange, log } = this.#options;
    await using watch = kv.watch(PRESENCE_PREFIX, { signal, maxKeys: MAX_NODES });
    try {
      for await (const events of watch.batches()) {
        for (const event of events) {
          if (event.type === 'put') {
            const name = event.entry.key.slice(PRESENCE_PREFIX.length);
            const { modRevision: revision, text } = event.entry;
            this.#living.set(name, { revision, returns: returns(text) });
          } else if (event.type === 'delete') {
            const name = event.key.slice(PRESENCE_PREFIX.length);
            this.#living.delete(name);
            if (name === this.#options.node) this.#takenOut = true;
          } else if (event.type === 'synced') this.#synced = true;
        }
        if (this.#synced) onChange();
      }
    } catch (error) {
      if (!signal.aborted) log.error({ error: messageWithCauses(error) }, 'edge nodes unknown');
    }
  }

  #watchGroup(present: boolean): void {
    const { watch, clock, log } = this.#options;
    if (watch === undefined || present === (this.#group !== undefined)) return;
    const before = this.#group;
    this.#cutOff = false;
    this.#group = present
      ? new GroupWatch({
          watched: () => watch.watched(this.living),
          open: watch.open,
          clock,
          onRound: (rounds) => this.#conclude(rounds),
          log,
        })
      : undefined;
    this.#ending = this.#ending.then(() => before?.[Symbol.asyncDispose]());
  }

  async #conclude(rounds: EchoRounds): Promise<void> {
    const { node, log, onChange } = this.#options;
    const cutOff = rounds.cutOff && !(await this.#storeAnswers());
    if (cutOff !== this.#cutOff) {
      this.#cutOff = cutOff;
      if (cutOff) log.error({ node }, 'neither the other edge nodes nor the store answer');
      else log.info({ node }, 'the other edge nodes or the store answer again');
      onChange();
    }
    if (cutOff) return;
    for (const name of rounds.accused()) {
      const key = this.#living.get(name);
      // An agent of an older version would be away until it writes its keys anew, which takes minutes.
      if (key?.returns === true) await this.#takeOut(name, key.revision);
      rounds.settle(name);
    }
    const wanted = rounds.connected || this.#living.size === 0;
    if (this.#takenOut && wanted && this.#table.has(node)) {
      this.#takenOut = false;
      this.#store.reconciler.refresh();
    }
  }

  /**
   * Only the key that was seen: one that was written since is of a node that lives. And only by who is in himself, for
   * where two accuse each other one must stay.
   */
  async #takeOut(name: string, revision: number): Promise<void> {
    const { kv, node, clock, log } = this.#options;
    const key = PRESENCE_PREFIX + name;
    const { succeeded } = await limited(clock, (signal) =>
      kv.txn(
        {
          compare: [
            { type: 'mod', key, operator: '=', revision },
            { type: 'create', key: PRESENCE_PREFIX + node, operator: '>', revision: 0 },
          ],
          success: [{ type: 'delete', key }],
        },
        { signal },
      ),
    );
    if (succeeded) log.warn({ node: name }, 'an edge node answers no more; others stand in for it');
  }

  async #storeAnswers(): Promise<boolean> {
    const { kv, node, clock } = this.#options;
    const asked = limited(clock, (signal) => kv.get(PRESENCE_PREFIX + node, { signal }));
    return asked.then(
      () => true,
      () => false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watchGroup(false);
    await this.#ending;
    this.#stop.abort();
    await this.#watching;
    await this.#store[Symbol.asyncDispose]();
  }
}

function returns(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && 'echo' in value && value.echo === 1;
  } catch {
    return false;
  }
}

/** One call to the store, given up when it takes too long. */
async function limited<T>(clock: Clock, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const over = new AbortController();
  const done = new AbortController();
  void clock.sleep(ANSWER_MS, done.signal).then(() => over.abort());
  try {
    return await call(over.signal);
  } finally {
    done.abort();
  }
}
