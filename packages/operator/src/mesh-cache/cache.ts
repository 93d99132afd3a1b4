import type { Log } from '@causeway/daemon';
import { absent, connectKv } from '@causeway/etcd';
import {
  CACHE_RECORD_INTERVAL,
  CACHE_RECORDS,
  cacheRecordKey,
  clusterConfigKey,
  clusterOfRecord,
  encodeCacheRecord,
  type MeshPeerRow,
  meshPeerTable,
  PeerDirectory,
  PeerObjects,
  type PeerSpec,
  Peers,
} from '@causeway/mesh';
import type { EmptyStoreGuard, ResourceStore } from '@causeway/resources';
import { Database } from '@causeway/tables';
import type { OperatorConfig } from '../config.ts';
import { fencedTxn } from '../fenced.ts';
import { CacheTarget, copyPrefixes } from './target.ts';
import { type CacheWriter, writeAll } from './writes.ts';

/** Section 1.10: for so long readers may notice that the config is gone before everything is. */
const FORGET_MS = 180_000;
const PEER_DEADLINE = 8000;
const LOOK_MS = 200;

export interface MeshCacheOptions extends CacheWriter {
  readonly config: OperatorConfig;
  readonly store: ResourceStore;
  readonly guard: EmptyStoreGuard;
  /** Milliseconds since the epoch, for people. */
  readonly wall: () => number;
  readonly log: Log;
}

/**
 * The copy of every peer in the own store, kept by the leader: a peer's store has one reader for the whole cluster,
 * however many nodes it has. Agents learn by a record a peer whether the copy is current.
 */
export async function keepMeshCache(
  options: MeshCacheOptions,
  signal: AbortSignal,
  good: () => void,
): Promise<void> {
  const { config, store, guard, clock, random, log, wall } = options;
  const { configDir, graceSeconds, withdrawSeconds } = config.mesh.cache;
  const { name: own } = config.cluster;
  const table = meshPeerTable(new Database());
  const ended = new AbortController();
  const until = AbortSignal.any([signal, ended.signal]);
  const now = () => new Date(wall()).toISOString();
  const heard = new Set<PeerSpec['source']>();
  await using peers = new Peers({
    own,
    sources: ['file', 'object'],
    initial: [],
    syncTimeout: 0,
    connect: ({ endpoints, tls }) => {
      const kv = connectKv({
        endpoints,
        deadline: PEER_DEADLINE,
        ...(tls === undefined ? {} : { tls }),
      });
      return { kv, close: async () => kv[Symbol.asyncDispose]() };
    },
    target: (name) => new CacheTarget({ ...options, name, now, signal: until }),
    table,
    times: { grace: graceSeconds * 1000, withdraw: withdrawSeconds * 1000 },
    clock,
    random,
    onLog: (event) => log.info(event, 'the copy of a peer cluster'),
  });
  const set = (source: PeerSpec['source']) => (list: Parameters<Peers['set']>[1]) => {
    heard.add(source);
    peers.set(source, list);
  };
  await using _files = new PeerDirectory({ directory: configDir, clock, onList: set('file') });
  await using _objects = new PeerObjects({
    store,
    guard,
    own,
    log,
    onList: set('object'),
  });
  const records = new Records(options, now);
  try {
    while (!signal.aborted) {
      await records.round([...table.rows()], signal);
      // Which copies are of nobody is known once all who describe peers have spoken.
      if (heard.size === 2) await records.forget(new Set(table.keys()), signal);
      good();
      await clock.sleep(LOOK_MS, signal);
    }
  } finally {
    ended.abort();
  }
}

/** What agents are told of each copy, and the end of copies whose peer is given up. */
class Records {
  readonly #options: MeshCacheOptions;
  readonly #now: () => string;
  readonly #written = new Map<string, { readonly told: string; readonly at: number }>();
  /** Copies of nobody, since when. */
  readonly #leaving = new Map<string, number>();
  #nextLook = 0;

  constructor(options: MeshCacheOptions, now: () => string) {
    this.#options = options;
    this.#now = now;
  }

  async round(rows: readonly MeshPeerRow[], signal: AbortSignal): Promise<void> {
    const { clock, config } = this.#options;
    for (const row of rows) {
      const { name, state, reason, lastContact, endpoint } = row;
      // What is on its way may have been current until now, by another leader: his record counts until it is old.
      if (state === 'connecting' || state === 'handshake' || state === 'syncing') {
        if (row.id !== undefined) await this.#announce(row, signal);
        continue;
      }
      const told = JSON.stringify([state, reason, lastContact]);
      const before = this.#written.get(name);
      const due = (before?.at ?? 0) + CACHE_RECORD_INTERVAL;
      if (before?.told === told && clock.now() < due) continue;
      const value = encodeCacheRecord({
        state,
        ...(reason === undefined ? {} : { reason }),
        ...(lastContact === undefined ? {} : { lastContact: new Date(lastContact).toISOString() }),
        endpoint,
        operator: config.name,
        at: this.#now(),
      });
      const key = cacheRecordKey(name);
      await writeAll(this.#options, [{ type: 'put', key, value }], signal);
      this.#written.set(name, { told, at: clock.now() });
    }
  }

  /** Of a copy that is begun there is a record, by which it is found again when nobody wants it any more. */
  async #announce({ name, state, endpoint }: MeshPeerRow, signal: AbortSignal): Promise<void> {
    if (this.#written.has(name)) return;
    const { kv, fence, config, clock } = this.#options;
    const key = cacheRecordKey(name);
    const value = encodeCacheRecord({ state, endpoint, operator: config.name, at: this.#now() });
    await fencedTxn(kv, fence, [absent(key)], [{ type: 'put', key, value }], signal);
    this.#written.set(name, { told: '', at: clock.now() });
  }

  /** Takes the copies of peers away that nobody describes: the config first, the rest when readers have seen it. */
  async forget(peers: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const { clock, kv } = this.#options;
    if (clock.now() < this.#nextLook) return;
    this.#nextLook = clock.now() + 1000;
    const { entries } = await kv.list(CACHE_RECORDS, { signal, keysOnly: true });
    const copies = entries.flatMap(({ key }) => clusterOfRecord(key) ?? []);
    for (const name of [...this.#leaving.keys()]) if (peers.has(name)) this.#leaving.delete(name);
    for (const name of copies) {
      if (peers.has(name)) continue;
      this.#written.delete(name);
      const since = this.#leaving.get(name);
      if (since === undefined) {
        this.#leaving.set(name, clock.now());
        const key = clusterConfigKey(name);
        await writeAll(this.#options, [{ type: 'delete', key }], signal);
      } else if (clock.now() - since >= FORGET_MS) {
        const operations = copyPrefixes(name).map((prefix) => ({
          type: 'delete-prefix' as const,
          prefix,
        }));
        const record = { type: 'delete' as const, key: cacheRecordKey(name) };
        await writeAll(this.#options, [...operations, record], signal);
        this.#leaving.delete(name);
      }
    }
  }
}
