import type { Compare, Fence, Kv, KvEntry, TxnOperation } from '@causeway/etcd';
import type { Decision } from '@causeway/ipam';
import {
  decodePodCidr,
  type PodCidrRecord,
  podCidrOfKey,
  poolUseKey,
  registryKey,
} from '@causeway/resources';
import { changeOf, type NodeChange } from './changes.ts';

/** etcd's default `--max-txn-ops`; it counts compares and operations each. */
const MAX_TXN_OPS = 128;
/** etcd refuses requests over 1.5 MiB; a CiliumNode of many CIDRs is large. */
const MAX_TXN_BYTES = 1_000_000;
/** Decisions of one node in one transaction; the rest follows. */
const MAX_PER_NODE = 32;
/** Transactions under way at once: enough to hide the round trip, few enough to leave etcd to others. */
const PARALLEL = 4;

/** The lead has passed on: nothing more may be written, and what was known may be old. */
export class FenceLost extends Error {
  override readonly name = 'FenceLost';
}

/** What became of a decision. Whatever did not win is planned anew from what stands in the store. */
export type Outcome =
  | { readonly type: 'won'; readonly decision: Decision; readonly revision: number }
  | { readonly type: 'overtaken'; readonly decision: Decision };

/** What the store was found to hold on the way, which the planner did not know. */
export interface Found {
  node(name: string, entry: KvEntry | undefined): void;
  record(record: PodCidrRecord): void;
  /** A record that cannot be understood stands under the key. */
  unreadable(key: string): void;
}

export interface WriterOptions {
  readonly kv: Kv;
  readonly fence: Fence;
  /** The store's revision of each pool, as the planner has it. */
  readonly poolRevision: (pool: string) => number;
  /** Milliseconds since the epoch, for records. */
  readonly now: () => number;
  readonly found: Found;
  readonly signal: AbortSignal;
}

/**
 * Writes decisions: records and `allocated` of one node in one transaction, many nodes in each. Every one of
 * them compares the fence, each node's revision, each record's absence and each pool's revision; what fails is
 * told apart from what only stood in the same transaction. Throws FenceLost, and KvError when it is not known
 * what was written: then only a new load of everything tells.
 */
export class DecisionWriter {
  readonly #options: WriterOptions;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  async write(decisions: readonly Decision[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const byNode = new Map<string, Decision[]>();
    for (const decision of decisions) {
      const list = byNode.get(decision.node);
      if (list === undefined) byNode.set(decision.node, [decision]);
      else if (list.length < MAX_PER_NODE) list.push(decision);
      else outcomes.push({ type: 'overtaken', decision });
    }
    const groups = chunks([...byNode.keys()], MAX_TXN_OPS);
    for (const names of groups) {
      const entries = await this.#read(names);
      const changes: NodeChange[] = [];
      for (const name of names) {
        const { change, overtaken } = changeOf(
          byNode.get(name)!,
          entries.get(name),
          new Date(this.#options.now()).toISOString(),
        );
        if (change !== undefined) changes.push(change);
        if (overtaken.length > 0) this.#options.found.node(name, entries.get(name));
        outcomes.push(...overtaken.map((decision) => ({ type: 'overtaken', decision }) as const));
      }
      await this.#commitAll(transactionsOf(changes), outcomes);
    }
    return outcomes;
  }

  async #commitAll(groups: readonly NodeChange[][], outcomes: Outcome[]): Promise<void> {
    const left = [...groups];
    const work = async (): Promise<void> => {
      for (let group = left.shift(); group !== undefined; group = left.shift()) {
        outcomes.push(...(await this.#commit(group)));
      }
    };
    // All are waited for, also when one fails: nothing may still be under way when the caller loads anew.
    const done = await Promise.allSettled(Array.from({ length: PARALLEL }, work));
    const failures = done.filter((each) => each.status === 'rejected').map(({ reason }) => reason);
    const lost = failures.find((reason) => reason instanceof FenceLost);
    if (failures.length > 0) throw lost ?? failures[0];
  }

  /** One transaction; what did not lose by itself is tried again without what did. */
  async #commit(group: readonly NodeChange[]): Promise<Outcome[]> {
    const { kv, fence, signal } = this.#options;
    const outcomes: Outcome[] = [];
    let left = group;
    while (left.length > 0) {
      const pools = this.#poolCompares(left);
      const compare = [fence.compare, ...pools.compare, ...left.flatMap((each) => each.compare)];
      const { succeeded, results, revision } = await kv.txn(
        {
          compare,
          success: [...pools.operations, ...left.flatMap((each) => each.operations)],
          failure: compare.map(({ key }): TxnOperation => ({ type: 'get', key })),
        },
        { signal },
      );
      if (succeeded) {
        for (const each of left) {
          for (const decision of each.decisions) outcomes.push({ type: 'won', decision, revision });
        }
        return outcomes;
      }
      const failed = new Set<string>();
      results.forEach((result, at) => {
        const entry = result.type === 'get' ? result.entry : undefined;
        const asked = compare[at]!;
        if (holds(asked, entry)) return;
        if (asked.key === fence.key) throw new FenceLost('another operator leads');
        failed.add(asked.key);
        this.#tell(asked.key, entry);
      });
      const lost = left.filter(
        (each) =>
          each.compare.some(({ key }) => failed.has(key)) ||
          [...each.pools].some((pool) => failed.has(poolKey(pool))),
      );
      if (lost.length === 0) throw new Error('a transaction failed at none of its compares');
      for (const each of lost) {
        for (const decision of each.decisions) outcomes.push({ type: 'overtaken', decision });
      }
      left = left.filter((each) => !lost.includes(each));
    }
    return outcomes;
  }

  #poolCompares(changes: readonly NodeChange[]): {
    compare: Compare[];
    operations: TxnOperation[];
  } {
    const pools = [...new Set(changes.flatMap((each) => [...each.pools]))];
    return {
      compare: pools.map((pool) => ({
        type: 'mod',
        key: poolKey(pool),
        operator: '=',
        revision: this.#options.poolRevision(pool),
      })),
      operations: pools.map((pool) => ({ type: 'put', key: poolUseKey(pool), value: '' })),
    };
  }

  #tell(key: string, entry: KvEntry | undefined): void {
    const { found } = this.#options;
    const node = nodeOfKey(key);
    const record = entry && decodePodCidr(entry);
    if (node !== undefined) found.node(node, entry);
    else if (record !== undefined) found.record(record);
    else if (entry !== undefined && podCidrOfKey(key) !== undefined) found.unreadable(key);
  }

  async #read(names: readonly string[]): Promise<Map<string, KvEntry | undefined>> {
    const { kv, signal } = this.#options;
    const success = names.map(
      (name): TxnOperation => ({ type: 'get', key: registryKey('CiliumNode', { name }) }),
    );
    const { results } = await kv.txn({ compare: [], success }, { signal });
    return new Map(
      names.map((name, at) => {
        const result = results[at];
        return [name, result?.type === 'get' ? result.entry : undefined];
      }),
    );
  }
}

const poolKey = (name: string): string => registryKey('CiliumPodIPPool', { name });

const NODES = registryKey('CiliumNode', { name: '' });
const nodeOfKey = (key: string): string | undefined =>
  key.startsWith(NODES) ? key.slice(NODES.length) : undefined;

/** Those that `changes.ts` and this file write. */
function holds(compare: Compare, entry: KvEntry | undefined): boolean {
  switch (compare.type) {
    case 'create':
      return (entry?.createRevision ?? 0) === compare.revision;
    case 'mod':
      return (entry?.modRevision ?? 0) === compare.revision;
    default:
      throw new Error(`no decision compares by ${compare.type}`);
  }
}

/** As many nodes in each as etcd's limits and the compares of fence and pools allow. */
function transactionsOf(changes: readonly NodeChange[]): NodeChange[][] {
  const groups: NodeChange[][] = [];
  let group: NodeChange[] = [];
  let compares = 1;
  let operations = 0;
  let bytes = 0;
  for (const each of changes) {
    const size = each.operations.reduce(
      (sum, one) => sum + (one.type === 'put' ? one.value.length + one.key.length : 64),
      0,
    );
    const pools = each.pools.size;
    const full =
      compares + each.compare.length + pools > MAX_TXN_OPS ||
      operations + each.operations.length + pools > MAX_TXN_OPS ||
      bytes + size > MAX_TXN_BYTES;
    if (full && group.length > 0) {
      groups.push(group);
      group = [];
      compares = 1;
      operations = 0;
      bytes = 0;
    }
    group.push(each);
    compares += each.compare.length + pools;
    operations += each.operations.length + pools;
    bytes += size;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  const found: T[][] = [];
  for (let at = 0; at < items.length; at += size) found.push(items.slice(at, at + size));
  return found;
}
