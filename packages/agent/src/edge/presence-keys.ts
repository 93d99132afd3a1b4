import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Kv, SharedStore } from '@causeway/etcd';
import type { Clock, Database, InitialSource, Table } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { reconcilerHealth } from '../health.ts';

/** Nodes that others rely on at the edge say that they live, each by a key on a short lease. */
export const PRESENCE_PREFIX = 'causeway/state/edge/';

/** Seconds until a node that says nothing more is held for dead: not so few that a busy store or node seems dead. */
const TTL = 10;
const MAX_NODES = 10_000;
/** Says in a key that its node watches the group: taken out in error, it comes back by itself. */
const RETURNS = '{"echo":1}';
/** A store that has not answered by then is out of reach, for the moment. */
const ANSWER_MS = 500;

export interface PresenceKeysOptions {
  readonly node: string;
  readonly kv: Kv;
  readonly database: Database;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ttl?: number;
  /** Whether this node writes its key anew once it finds it gone. */
  readonly returns: boolean;
  /** The keys are others now. */
  readonly onChange: () => void;
  readonly log: Log;
}

/** The keys by which nodes at the edge say that they live: this node's own, and all as the store last told them. */
export class PresenceKeys implements AsyncDisposable {
  readonly #options: PresenceKeysOptions;
  readonly #table: Table<{ readonly node: string }>;
  readonly #initial: InitialSource;
  readonly #store: SharedStore<{ readonly node: string }>;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #living = new Map<string, { readonly revision: number; readonly returns: boolean }>();
  #synced = false;
  #said = false;
  #takenOut = false;

  constructor(options: PresenceKeysOptions) {
    this.#options = options;
    const { node, kv, database, clock, random, returns, ttl = TTL } = options;
    this.#table = database.table({ name: 'edge-presence', key: (row) => row.node });
    this.#initial = this.#table.source('edge');
    this.#store = new SharedStore({
      name: 'edge-presence',
      kv,
      clock,
      random,
      table: this.#table,
      encode: (row) => ({ key: PRESENCE_PREFIX + row.node, value: returns ? RETURNS : '{}' }),
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

  /** All keys have been read. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Names of the nodes that have a key. */
  get names(): Iterable<string> {
    return this.#living.keys();
  }

  has(name: string): boolean {
    return this.#living.has(name);
  }

  get size(): number {
    return this.#living.size;
  }

  /** Somebody else has deleted this node's key, and it was not written since. */
  get takenOut(): boolean {
    return this.#takenOut && this.#table.has(this.#options.node);
  }

  /** Whether this node shall have a key. */
  announce(present: boolean): void {
    const { node } = this.#options;
    if (present) this.#table.put({ node });
    else this.#table.delete(node);
    if (!this.#said) this.#initial.done();
    this.#said = true;
  }

  rewrite(): void {
    this.#takenOut = false;
    this.#store.reconciler.refresh();
  }

  /**
   * Deletes the key of a node that has fallen. Only the key that was seen: one that was written since is of a node that
   * lives. And only by who is in himself, for where two accuse each other one must stay. Throws KvError.
   */
  async takeOut(name: string): Promise<void> {
    const { kv, node, clock, log } = this.#options;
    const seen = this.#living.get(name);
    // An agent of an older version would be away until it writes its keys anew, which takes minutes.
    if (seen?.returns !== true) return;
    const key = PRESENCE_PREFIX + name;
    const { succeeded } = await limited(clock, (signal) =>
      kv.txn(
        {
          compare: [
            { type: 'mod', key, operator: '=', revision: seen.revision },
            { type: 'create', key: PRESENCE_PREFIX + node, operator: '>', revision: 0 },
          ],
          success: [{ type: 'delete', key }],
        },
        { signal },
      ),
    );
    if (succeeded) log.warn({ node: name }, 'an edge node answers no more; others stand in for it');
  }

  /** Whether the store answers this node now. */
  async answers(): Promise<boolean> {
    const { kv, node, clock } = this.#options;
    const asked = limited(clock, (signal) => kv.get(PRESENCE_PREFIX + node, { signal }));
    return asked.then(
      () => true,
      () => false,
    );
  }

  health(): HealthRow[] {
    if (this.#table.size === 0) return [];
    return [{ ...reconcilerHealth(this.#store.reconciler), name: 'edge-presence' }];
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { kv, onChange, log } = this.#options;
    await using watch = kv.watch(PRESENCE_PREFIX, { signal, maxKeys: MAX_NODES, ownWrites: true });
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

  async [Symbol.asyncDispose](): Promise<void> {
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

/** One call to the store, given up when it takes too long: the client's own deadline is for a store in trouble. */
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
