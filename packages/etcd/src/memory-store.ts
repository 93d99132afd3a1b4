/** An etcd in memory: the same revisions, history, transactions, leases and refusals, without a network. */

import { bytesOf, compareKeys, Entry } from './entry.ts';
import { KvError } from './errors.ts';
import { checkTransaction, holds } from './memory-rules.ts';
import type { StreamEvent } from './transport.ts';
import type { Compare, LeaseId, TxnOperation, TxnOperationResult } from './types.ts';

interface LeaseState {
  readonly ttl: number;
  expires: number;
  readonly keys: Set<string>;
}

interface Version {
  readonly revision: number;
  /** Undefined for a deletion. */
  readonly entry: Entry | undefined;
}

export interface Revision {
  readonly revision: number;
  readonly events: readonly StreamEvent[];
}

export class MemoryStore {
  readonly clusterId: string;
  /** Per key its versions since the last compaction, oldest first. */
  readonly #versions = new Map<string, Version[]>();
  #history: Revision[] = [];
  readonly #leases = new Map<LeaseId, LeaseState>();
  readonly #listeners = new Set<() => void>();
  #sorted: string[] | undefined;
  #revision = 1;
  #compacted = 0;
  #nextLease = 7_587_000_000_000_000_000n;

  constructor(clusterId: string) {
    this.clusterId = clusterId;
  }

  get revision(): number {
    return this.#revision;
  }

  get leases(): readonly LeaseId[] {
    return [...this.#leases.keys()];
  }

  /** Told of each new revision and of each compaction. */
  onRevision(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** The revisions from `start` on. Throws `compacted`. */
  since(start: number): readonly Revision[] {
    if (start <= this.#compacted) {
      throw new KvError('compacted', start, `revision ${start} has been compacted`);
    }
    const base = this.#history[0]?.revision ?? 0;
    // Revisions have no gaps, so the place follows from the number.
    return this.#history.slice(Math.max(0, start - base));
  }

  compact(revision = this.#revision): void {
    if (revision > this.#revision) {
      throw new KvError('invalid', revision, `revision ${revision} is in the future`);
    }
    this.#compacted = Math.max(this.#compacted, revision);
    this.#history = this.#history.filter((item) => item.revision > revision);
    for (const [key, versions] of this.#versions) {
      const current = versions.findLastIndex((version) => version.revision <= revision);
      const kept = versions.slice(versions[current]?.entry ? current : current + 1);
      if (kept.length > 0) this.#versions.set(key, kept);
      else this.#versions.delete(key);
    }
    this.#sorted = undefined;
    this.#tell();
  }

  get(key: string): Entry | undefined {
    return this.#versions.get(key)?.at(-1)?.entry;
  }

  range(request: {
    readonly prefix: string;
    readonly after?: string;
    readonly limit: number;
    readonly revision: number;
    readonly keysOnly: boolean;
  }): { entries: Entry[]; more: boolean } {
    const { prefix, after, limit, keysOnly } = request;
    const revision = request.revision === 0 ? this.#revision : request.revision;
    if (revision > this.#revision) {
      throw new KvError('invalid', revision, `revision ${revision} is in the future`);
    }
    if (revision < this.#compacted) {
      throw new KvError('compacted', revision, `revision ${revision} has been compacted`);
    }
    this.#sorted ??= [...this.#versions.keys()].sort(compareKeys);
    const keys = this.#sorted;
    const entries: Entry[] = [];
    for (let i = lowerBound(keys, after ?? prefix); i < keys.length; i++) {
      const key = keys[i] as string;
      if (!key.startsWith(prefix)) break;
      if (key === after) continue;
      const entry = this.#versions
        .get(key)
        ?.findLast((version) => version.revision <= revision)?.entry;
      if (!entry) continue;
      if (entries.length === limit) return { entries, more: true };
      entries.push(keysOnly ? new Entry({ ...entry, value: new Uint8Array() }) : entry);
    }
    return { entries, more: false };
  }

  txn(
    compare: readonly Compare[],
    success: readonly TxnOperation[],
    failure: readonly TxnOperation[],
  ): { succeeded: boolean; results: TxnOperationResult[] } {
    const succeeded = compare.every((condition) => holds(condition, this.get(condition.key)));
    const operations = succeeded ? success : failure;
    checkTransaction(compare, success, failure);
    for (const operation of operations) {
      if (operation.type !== 'put' || operation.lease === undefined) continue;
      if (!this.#leases.has(operation.lease)) {
        throw new KvError(
          'lease-not-found',
          operation.lease,
          `the store does not know lease ${operation.lease}`,
        );
      }
    }
    const write = new Write(this.#revision + 1);
    const results = operations.map((operation) => this.#run(operation, write));
    this.#commit(write);
    return { succeeded, results };
  }

  #run(operation: TxnOperation, write: Write): TxnOperationResult {
    switch (operation.type) {
      case 'put':
        this.#put(operation.key, bytesOf(operation.value), operation.lease, write);
        return { type: 'put' };
      case 'get':
        return { type: 'get', entry: this.get(operation.key) };
      case 'list': {
        const keys = [...this.#versions.keys()].filter((key) => key.startsWith(operation.prefix));
        const entries = keys.sort(compareKeys).map((key) => this.get(key));
        return { type: 'list', entries: entries.filter((entry) => entry !== undefined) };
      }
      case 'delete':
        return { type: 'delete', deleted: this.#delete(operation.key, write) ? 1 : 0 };
      case 'delete-prefix': {
        const keys = [...this.#versions.keys()].filter((key) => key.startsWith(operation.prefix));
        const deleted = keys.filter((key) => this.#delete(key, write)).length;
        return { type: 'delete', deleted };
      }
      default:
        return operation satisfies never;
    }
  }

  #append(key: string, entry: Entry | undefined, write: Write): void {
    const versions = this.#versions.get(key);
    if (versions) versions.push({ revision: write.revision, entry });
    else {
      this.#versions.set(key, [{ revision: write.revision, entry }]);
      this.#sorted = undefined;
    }
  }

  #put(key: string, value: Uint8Array, lease: LeaseId | undefined, write: Write): void {
    const old = this.get(key);
    if (old?.lease !== undefined) this.#leases.get(old.lease)?.keys.delete(key);
    if (lease !== undefined) this.#leases.get(lease)?.keys.add(key);
    const entry = new Entry({
      key,
      value: value.slice(),
      createRevision: old?.createRevision ?? write.revision,
      modRevision: write.revision,
      version: (old?.version ?? 0) + 1,
      lease,
    });
    this.#append(key, entry, write);
    write.events.push({ type: 'put', entry });
  }

  #delete(key: string, write: Write): boolean {
    const old = this.get(key);
    if (!old) return false;
    if (old.lease !== undefined) this.#leases.get(old.lease)?.keys.delete(key);
    this.#append(key, undefined, write);
    write.events.push({ type: 'delete', key, revision: write.revision });
    return true;
  }

  #commit(write: Write): void {
    if (write.events.length === 0) return;
    this.#revision = write.revision;
    this.#history.push({ revision: write.revision, events: write.events });
    this.#tell();
  }

  grant(ttl: number, now: number): LeaseId {
    const id = String(this.#nextLease++);
    this.#leases.set(id, { ttl, expires: now + ttl * 1000, keys: new Set() });
    return id;
  }

  /** Seconds granted anew, 0 for a lease that is not there. */
  keepAlive(id: LeaseId, now: number): number {
    const lease = this.#leases.get(id);
    if (!lease) return 0;
    lease.expires = now + lease.ttl * 1000;
    return lease.ttl;
  }

  /** Throws `lease-not-found`. */
  revoke(id: LeaseId): void {
    const lease = this.#leases.get(id);
    if (!lease) throw new KvError('lease-not-found', id, `the store does not know lease ${id}`);
    const write = new Write(this.#revision + 1);
    for (const key of [...lease.keys].sort(compareKeys)) this.#delete(key, write);
    this.#leases.delete(id);
    this.#commit(write);
  }

  /** Takes away leases whose time is up, and their keys. */
  expire(now: number): void {
    for (const [id, lease] of this.#leases) if (lease.expires <= now) this.revoke(id);
  }

  /** What a new leader does with leases: each gets its full time again. */
  prolong(now: number): void {
    for (const lease of this.#leases.values()) lease.expires = now + lease.ttl * 1000;
  }
}

class Write {
  readonly revision: number;
  readonly events: StreamEvent[] = [];

  constructor(revision: number) {
    this.revision = revision;
  }
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareKeys(keys[middle] as string, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
