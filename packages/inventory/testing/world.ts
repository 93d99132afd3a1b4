import { checkConfig, silentLog } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { ClusterId, identityLayout } from '@causeway/identity';
import {
  decodeClusterConfig,
  MeshReader,
  meshTables,
  STATE_KINDS,
  syncedKey,
} from '@causeway/mesh';
import { Database } from '@causeway/tables';
import { type InventoryConfig, type InventoryInput, inventoryConfig } from '../src/config.ts';
import { host } from '../src/daemon.ts';
import { Instance } from '../src/instance.ts';

export const CLUSTER = Object.freeze({ name: 'outside', id: 37 });

export const settings = (input: Partial<InventoryInput>): InventoryConfig =>
  checkConfig({ cluster: CLUSTER, name: 'one', ...input }, inventoryConfig);

/** An instance on a store of the test's. */
export const instanceOn = (kv: Kv, input: Partial<InventoryInput> = {}): Instance =>
  new Instance(host(settings(input), silentLog, kv));

/** A strict reader of another cluster, by the rules of 1.19, and everything that it ever saw go. */
export class Reader implements AsyncDisposable {
  readonly tables = meshTables(new Database());
  /** Keys of entries that were deleted, in order: a blink would stand here. */
  readonly gone: string[] = [];
  readonly #kv: Kv;
  readonly #reader: MeshReader;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  constructor(kv: Kv) {
    this.#kv = kv;
    this.#reader = new MeshReader({
      kv,
      cluster: { name: CLUSTER.name, id: ClusterId(CLUSTER.id) },
      layout: identityLayout(255),
      tables: this.tables,
    });
    this.#watching = this.#watch();
  }

  /** Reasons for what was refused; empty for an inventory that keeps to the letter. */
  get rejected(): string[] {
    return [...this.tables.rejected.rows()].map(({ key, reason }) => `${key}: ${reason}`);
  }

  /** The labels that an address has for this reader; undefined where it is nobody. */
  labels(address: string): string[] | undefined {
    const entry = this.tables.ipEntries.winner(address);
    if (entry === undefined) return undefined;
    return this.tables.identities.get(entry.identity)?.labels.toStrings();
  }

  label(address: string, key: string): string | undefined {
    const entry = this.tables.ipEntries.winner(address);
    const labels = entry && this.tables.identities.get(entry.identity)?.labels;
    return labels?.get(key)?.value;
  }

  get entries(): number {
    return this.tables.ipEntries.size;
  }

  /** What a 1.19 peer asks before it reads anything. */
  async handshake(): Promise<boolean> {
    const config = await this.#kv.get(`cilium/cluster-config/${CLUSTER.name}`);
    const heartbeat = await this.#kv.get('cilium/.heartbeat');
    if (config === undefined || heartbeat === undefined) return false;
    const { id, syncedCanaries } = decodeClusterConfig(config.text);
    if (id !== CLUSTER.id || !syncedCanaries) return false;
    const markers = STATE_KINDS.map((kind) => this.#kv.get(syncedKey(CLUSTER.name, kind)));
    return (await Promise.all(markers)).every((marker) => marker !== undefined);
  }

  async #watch(): Promise<void> {
    const watch = this.#kv.watch('cilium/state/', { signal: this.#stop.signal, replacedGrace: 0 });
    for await (const event of watch) if (event.type === 'delete') this.gone.push(event.key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    await this.#reader[Symbol.asyncDispose]();
  }
}

/** Every key of a prefix with its value. */
export async function keysOf(kv: Kv, prefix: string): Promise<Map<string, string>> {
  const { entries } = await kv.list(prefix);
  return new Map(entries.map(({ key, text }) => [key, text]));
}
