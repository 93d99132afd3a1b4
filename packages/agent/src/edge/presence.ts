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

export interface PresenceOptions {
  readonly node: string;
  readonly kv: Kv;
  readonly database: Database;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ttl?: number;
  /** The living are others now. */
  readonly onChange: () => void;
  readonly log: Log;
}

/**
 * Which edge nodes and egress gateways live, by their leases. All nodes read the same keys and so choose alike. While
 * the store is away, the last known ones count.
 */
export class Presence implements AsyncDisposable {
  readonly #options: PresenceOptions;
  readonly #table: Table<{ readonly node: string }>;
  readonly #initial: InitialSource;
  readonly #store: SharedStore<{ readonly node: string }>;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #living = new Set<string>();
  #synced = false;
  #said = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const { node, kv, database, clock, random, ttl = TTL } = options;
    this.#table = database.table({ name: 'edge-presence', key: (row) => row.node });
    this.#initial = this.#table.source('edge');
    this.#store = new SharedStore({
      name: 'edge-presence',
      kv,
      clock,
      random,
      table: this.#table,
      encode: (row) => ({ key: PRESENCE_PREFIX + row.node, value: '{}' }),
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
    return this.#living;
  }

  /** Whether others rely on this node, from now on. */
  announce(present: boolean): void {
    const { node } = this.#options;
    if (present) this.#table.put({ node });
    else this.#table.delete(node);
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
          if (event.type === 'put') this.#living.add(event.entry.key.slice(PRESENCE_PREFIX.length));
          else if (event.type === 'delete') {
            this.#living.delete(event.key.slice(PRESENCE_PREFIX.length));
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
