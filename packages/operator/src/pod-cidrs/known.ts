import type { Log } from '@causeway/daemon';
import type { Kv, KvEntry } from '@causeway/etcd';
import type { Prefix } from '@causeway/ip';
import type { PoolPlanner } from '@causeway/ipam';
import {
  decodeObject,
  decodePodCidr,
  type PodCidrRecord,
  podCidrKey,
  podCidrOfKey,
} from '@causeway/resources';
import type { Clock, Tracker } from '@causeway/tables';
import { type NodeFacts, type NodeRow, nodeRow, plannerNode } from '../nodes.ts';
import type { OperatorTables } from '../sources.ts';
import { KeptCidrs } from './kept.ts';
import { poolSpecOf } from './pool-specs.ts';
import type { Found } from './writer.ts';

export interface KnownClusterOptions {
  readonly kv: Kv;
  readonly planner: PoolPlanner;
  readonly tables: OperatorTables;
  readonly clock: Clock;
  readonly nodeGoneMs: number;
  readonly log: Log;
}

/**
 * What the planner is told of pools, nodes and records: by the tables, by the store where it was read at first or
 * again, and by transactions, which are ahead of the tables.
 */
export class KnownCluster implements Found, Disposable {
  readonly #options: KnownClusterOptions;
  readonly #kept: KeptCidrs;
  readonly #nodes: Tracker<NodeRow, string>;
  readonly #facts: Tracker<NodeFacts, string>;
  /** The revision at which a node was last read or written here: older news of it is passed over. */
  readonly #revisions = new Map<string, { uid: string | undefined; revision: number }>();
  readonly #records = new Map<Prefix, PodCidrRecord>();
  /** When a node with blocks was first found to have no CiliumNode. */
  readonly #missing = new Map<string, number>();
  #poolsRevision = -1;
  #optionsRevision = -1;
  #giving = false;
  #giveFrom = Number.POSITIVE_INFINITY;

  constructor(options: KnownClusterOptions) {
    this.#options = options;
    const { planner, tables, nodeGoneMs } = options;
    this.#kept = new KeptCidrs(planner, nodeGoneMs);
    this.#nodes = tables.nodes.changes('pod-cidrs');
    this.#facts = tables.facts.changes('pod-cidrs');
  }

  /** Records that are known. */
  get size(): number {
    return this.#records.size;
  }

  /** False while the nodes of a store that came back emptied are waited for: their wishes wait as well. */
  get giving(): boolean {
    return this.#giving;
  }

  /** @param at the clock's milliseconds. */
  giveFrom(at: number): void {
    this.#giveFrom = at;
    this.#giving = this.#options.clock.now() >= at;
  }

  recordOf(cidr: Prefix): PodCidrRecord | undefined {
    return this.#records.get(cidr);
  }

  /** Milliseconds until time alone brings something to do; Infinity: never. */
  wait(): number {
    const { clock, nodeGoneMs } = this.#options;
    const now = clock.now();
    let next = this.#kept.wait(now);
    if (!this.#giving) next = Math.min(next, this.#giveFrom - now);
    for (const since of this.#missing.values()) next = Math.min(next, since + nodeGoneMs - now);
    return next;
  }

  /** Whether a node has had no CiliumNode for long enough; the first question begins the time. */
  mayReclaim(node: string): boolean {
    const { clock, nodeGoneMs } = this.#options;
    const now = clock.now();
    const since = this.#missing.get(node) ?? now;
    this.#missing.set(node, since);
    return this.#giving && now - since >= nodeGoneMs;
  }

  /** Nothing is to be reclaimed of nodes that hold nothing. */
  forgetEmpty(): void {
    for (const node of this.#missing.keys()) {
      if (!this.#options.planner.holds(node)) this.#missing.delete(node);
    }
  }

  /** Somebody has seen to it that nothing of the node runs any more. */
  isEmpty(node: string): void {
    this.#kept.open(node);
  }

  /** Brings the planner up to what the tables say. */
  feed(): void {
    const { planner, tables, clock } = this.#options;
    const { pools, options } = tables;
    if (this.#poolsRevision !== pools.revision || this.#optionsRevision !== options.revision) {
      this.#poolsRevision = pools.revision;
      this.#optionsRevision = options.revision;
      // The oldest first: of two pools that overlap it keeps the range.
      const specs = [...pools]
        .toSorted((a, b) => age(a) - age(b) || (a.metadata.name < b.metadata.name ? -1 : 1))
        .map((pool) => poolSpecOf(pool, options.get(pool.metadata.name)));
      planner.setPools(specs);
    }
    for (const { key, row, type } of this.#nodes.take(Number.MAX_SAFE_INTEGER)) {
      if (type === 'put') this.#upsert(row);
      else this.#remove(key);
    }
    this.#kept.expire(clock.now());
    for (const { key } of this.#facts.take(Number.MAX_SAFE_INTEGER)) {
      const row = tables.nodes.get(key);
      if (row !== undefined) this.#upsert(row);
    }
    if (this.#giving || clock.now() < this.#giveFrom) return;
    this.#giving = true;
    for (const row of tables.nodes) this.#upsert(row);
  }

  /** Reads records again that could not be read. Throws KvError. */
  async lookAgain(signal: AbortSignal): Promise<void> {
    const { kv, clock } = this.#options;
    for (const cidr of this.#kept.takeDue(clock.now())) {
      const entry = await kv.get(podCidrKey(cidr), { signal });
      const record = entry === undefined ? undefined : decodePodCidr(entry);
      if (entry !== undefined && record === undefined) continue;
      this.#kept.deleteUnreadable(cidr);
      if (record !== undefined) this.record(record);
    }
  }

  /** A node as the store has it. */
  node(name: string, entry: KvEntry | undefined): void {
    if (entry === undefined) {
      this.#remove(name);
      return;
    }
    const decoded = decodeObject('CiliumNode', entry);
    if (decoded.type === 'object') this.#upsert(nodeRow(decoded.object));
    // Not readable: its CIDRs stay its own, and nothing is given until somebody mends it.
    else {
      this.#revisions.delete(name);
      this.#options.planner.upsertNode({
        name,
        labels: {},
        requested: [],
        allocated: [...this.#records.values()]
          .filter((record) => record.node === name)
          .map(({ pool, cidr }) => ({ pool, cidrs: [cidr] })),
      });
    }
  }

  record(record: PodCidrRecord): void {
    this.#records.set(record.cidr, record);
    this.#options.planner.upsertRecord(record);
  }

  /** Nobody is given what such a record stands for: somebody may have it. */
  unreadable(key: string): void {
    this.#options.log.error(
      { key },
      'a record of a pod CIDR cannot be read, and its CIDR is given to nobody; delete the record',
    );
    const cidr = podCidrOfKey(key);
    if (cidr !== undefined) this.#kept.addUnreadable(cidr, this.#options.clock.now());
  }

  /** The record was written here; the planner knows. */
  recorded(record: PodCidrRecord): void {
    this.#records.set(record.cidr, record);
  }

  unrecorded(cidr: Prefix): void {
    this.#records.delete(cidr);
  }

  /** The node's object was written here. */
  wroteNode(name: string, revision: number): void {
    const known = this.#revisions.get(name);
    if (known !== undefined && revision > known.revision) {
      this.#revisions.set(name, { uid: known.uid, revision });
    }
  }

  /** The node's wishes went with its blocks: before the watch says so it must not be given them again. */
  forgetWishes(name: string): void {
    const { planner, tables } = this.#options;
    const row = tables.nodes.get(name);
    if (row === undefined) return;
    const node = plannerNode(row, tables.facts.get(name));
    const allocated = row.allocated.map(({ pool, cidrs }) => ({
      pool,
      cidrs: cidrs.filter((cidr) => this.#records.get(cidr)?.node === name),
    }));
    planner.upsertNode({ ...node, requested: [], allocated });
  }

  #upsert(row: NodeRow): void {
    const known = this.#revisions.get(row.name);
    // Another object of the name is of another store, perhaps, whose revisions are others too.
    if (known !== undefined && known.uid === row.uid && row.revision < known.revision) return;
    this.#revisions.set(row.name, { uid: row.uid, revision: row.revision });
    this.#missing.delete(row.name);
    this.#kept.open(row.name);
    const node = plannerNode(row, this.#options.tables.facts.get(row.name));
    this.#options.planner.upsertNode(this.#giving ? node : { ...node, requested: [] });
  }

  #remove(name: string): void {
    this.#revisions.delete(name);
    this.#kept.bury(name, this.#options.clock.now());
  }

  [Symbol.dispose](): void {
    this.#nodes[Symbol.dispose]();
    this.#facts[Symbol.dispose]();
  }
}

const age = (pool: { metadata: { creationTimestamp?: string } }): number =>
  Date.parse(pool.metadata.creationTimestamp ?? '') || 0;
