import type { Log } from '@causeway/daemon';
import type { Fence, Kv, KvEntry } from '@causeway/etcd';
import type { Address, Prefix } from '@causeway/ip';
import { type Decision, type DrainView, PoolPlanner, type Refusal } from '@causeway/ipam';
import {
  decodeObject,
  decodePodCidr,
  POD_CIDRS,
  type PodCidrRecord,
  podCidrKey,
  podCidrOfKey,
} from '@causeway/resources';
import { type Clock, Gate, type Tracker } from '@causeway/tables';
import { type NodeFacts, type NodeRow, nodeRow, plannerNode } from '../nodes.ts';
import type { OperatorTables } from '../sources.ts';
import { KeptCidrs } from './kept.ts';
import { poolSpecOf } from './pool-specs.ts';
import { DecisionWriter, type Outcome } from './writer.ts';

/** Decisions of one round; the next round sees what came meanwhile. */
const ROUND = 1000;

export interface AllocatorOptions {
  readonly kv: Kv;
  readonly fence: Fence;
  readonly tables: OperatorTables;
  /** For waiting: nobody sets it. */
  readonly clock: Clock;
  /** Milliseconds since the epoch, for people. */
  readonly wall: () => number;
  readonly log: Log;
  readonly nodeGoneMs: number;
  /** Whether somebody keeps an address: it shall be no block's gateway. What is not known throws. */
  readonly claimed: {
    refresh(signal: AbortSignal): Promise<void>;
    has(address: Address): boolean;
  };
  /**
   * Told the store's revision and how many records it holds, says from when on (the clock's milliseconds) blocks may
   * be given: in a store that was replaced nodes have yet to name what they hold.
   */
  readonly loaded: (revision: number, records: number) => Promise<number>;
  /** Told the same after each round of writes. */
  readonly wrote: (revision: number, records: number) => Promise<void>;
}

export interface AllocatorCounts {
  readonly given: number;
  readonly adopted: number;
  readonly released: number;
  readonly reclaimed: number;
  readonly overtaken: number;
  readonly transactionRounds: number;
}

/**
 * The leader's allocation of pod CIDRs, from its election to the end of its lead. `load` reads every record after
 * the election, so that nobody else's write can be missing; then it follows the tables and writes what the planner
 * decides. Only what its transactions or a new load tell changes what it holds to be given.
 */
export class PodCidrAllocator implements Disposable {
  readonly #options: AllocatorOptions;
  readonly #planner = new PoolPlanner();
  readonly #kept: KeptCidrs;
  readonly #stop = new AbortController();
  readonly #wake = new Gate();
  readonly #nodes: Tracker<NodeRow, string>;
  readonly #facts: Tracker<NodeFacts, string>;
  readonly #undo: (() => void)[];
  /** The revision at which a node was last read or written here: older news of it is passed over. */
  readonly #known = new Map<string, { uid: string | undefined; revision: number }>();
  readonly #since = new Map<Prefix, PodCidrRecord>();
  /** When a node with blocks was first found to have no CiliumNode. */
  readonly #missing = new Map<string, number>();
  readonly #counts = {
    given: 0,
    adopted: 0,
    released: 0,
    reclaimed: 0,
    overtaken: 0,
    transactionRounds: 0,
  };
  #poolsRevision = -1;
  #optionsRevision = -1;
  #giving = false;
  #giveFrom = Number.POSITIVE_INFINITY;
  /** Whoever waits for a release by force. */
  #forces: ((done: boolean) => void)[] = [];

  constructor(options: AllocatorOptions) {
    this.#options = options;
    const { tables, nodeGoneMs } = options;
    this.#kept = new KeptCidrs(this.#planner, nodeGoneMs);
    this.#nodes = tables.nodes.changes('pod-cidrs');
    this.#facts = tables.facts.changes('pod-cidrs');
    const wake = () => this.#wake.open();
    this.#undo = [tables.nodes, tables.facts, tables.pools, tables.options].map((table) =>
      table.onCommit(wake),
    );
  }

  /** Reads all records. Throws KvError. */
  async load(): Promise<void> {
    const { kv, clock } = this.#options;
    let at = 0;
    for await (const { entries, revision } of kv.pages(POD_CIDRS, { signal: this.#stop.signal })) {
      at = revision;
      for (const entry of entries) {
        const record = decodePodCidr(entry);
        if (record !== undefined) this.#seeRecord(record);
        else this.#seeUnreadable(entry.key);
      }
    }
    this.#giveFrom = await this.#options.loaded(at, this.#since.size);
    this.#giving = clock.now() >= this.#giveFrom;
  }

  /** Allocates until the signal aborts. Throws FenceLost, and KvError when it is not known what was written. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#stop.signal]);
    const { kv, fence, tables, wall, claimed } = this.#options;
    const writer = new DecisionWriter({
      kv,
      fence,
      poolRevision: (pool) => Number(tables.pools.get(pool)?.metadata.resourceVersion ?? 0),
      now: wall,
      found: {
        node: (name, entry) => this.#seeNode(name, entry),
        record: (record) => this.#seeRecord(record),
        unreadable: (key) => this.#seeUnreadable(key),
      },
      signal: stop,
    });
    while (!stop.aborted) {
      await this.#lookAgain(stop);
      await claimed.refresh(stop);
      this.#feed();
      const decisions = this.#planner.plan({
        decisions: ROUND,
        mayReclaim: (node) => this.#mayReclaim(node),
        isClaimed: (address) => claimed.has(address),
      });
      if (decisions.length > 0) {
        const outcomes = await writer.write(decisions);
        this.#counts.transactionRounds++;
        for (const outcome of outcomes) this.#settle(outcome);
        const last = Math.max(
          0,
          ...outcomes.map((each) => (each.type === 'won' ? each.revision : 0)),
        );
        if (last > 0) await this.#options.wrote(last, this.#since.size);
        // What lost to something that the tables do not show yet would lose again at once.
        if (outcomes.every(({ type }) => type === 'overtaken')) await this.#rest(20, stop);
        continue;
      }
      for (const done of this.#forces.splice(0)) done(true);
      for (const node of this.#missing.keys()) {
        if (!this.#planner.holds(node)) this.#missing.delete(node);
      }
      await this.#rest(this.#nextLook(), stop);
    }
  }

  get counts(): AllocatorCounts {
    return this.#counts;
  }

  get planner(): PoolPlanner {
    return this.#planner;
  }

  /** False while the nodes of a store that came back emptied are waited for. */
  get giving(): boolean {
    return this.#giving;
  }

  record(cidr: Prefix): PodCidrRecord | undefined {
    return this.#since.get(cidr);
  }

  refusals(): readonly Refusal[] {
    return this.#planner.refusals();
  }

  drain(cidr: Prefix): DrainView {
    return this.#planner.drain(cidr);
  }

  /** Takes all CIDRs of a node, whatever it says. Resolves with true when it is done, with false if this ends first. */
  forceRelease(node: string): Promise<boolean> {
    if (this.#stop.signal.aborted) return Promise.resolve(false);
    this.#planner.forceRelease(node);
    // Somebody has seen to it that nothing of the node runs any more.
    this.#kept.open(node);
    return new Promise((resolve) => {
      this.#forces.push(resolve);
      this.#wake.open();
    });
  }

  /** Called after the pools' objects changed by this program's own hand. */
  wake(): void {
    this.#wake.open();
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const over = new AbortController();
    await Promise.race([
      this.#wake.wait(AbortSignal.any([signal, over.signal])),
      clock.sleep(ms, AbortSignal.any([signal, over.signal])),
    ]);
    over.abort();
  }

  /** When time alone will bring something to do. */
  #nextLook(): number {
    const { clock, nodeGoneMs } = this.#options;
    const now = clock.now();
    let next = 60_000;
    if (!this.#giving) next = Math.min(next, this.#giveFrom - now);
    for (const since of this.#missing.values()) next = Math.min(next, since + nodeGoneMs - now);
    next = Math.min(next, this.#kept.wait(now));
    return Math.max(10, next);
  }

  #mayReclaim(node: string): boolean {
    const { clock, nodeGoneMs } = this.#options;
    const now = clock.now();
    const since = this.#missing.get(node) ?? now;
    this.#missing.set(node, since);
    return this.#giving && now - since >= nodeGoneMs;
  }

  /** Brings the planner up to what the tables say. */
  #feed(): void {
    const { tables, clock } = this.#options;
    const { pools, options } = tables;
    if (this.#poolsRevision !== pools.revision || this.#optionsRevision !== options.revision) {
      this.#poolsRevision = pools.revision;
      this.#optionsRevision = options.revision;
      // The oldest first: of two pools that overlap it keeps the range.
      const specs = [...pools]
        .toSorted((a, b) => age(a) - age(b) || (a.metadata.name < b.metadata.name ? -1 : 1))
        .map((pool) => poolSpecOf(pool, options.get(pool.metadata.name)));
      this.#planner.setPools(specs);
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

  #upsert(row: NodeRow): void {
    const known = this.#known.get(row.name);
    // Another object of the name is of another store, perhaps, whose revisions are others too.
    if (known !== undefined && known.uid === row.uid && row.revision < known.revision) return;
    this.#known.set(row.name, { uid: row.uid, revision: row.revision });
    this.#missing.delete(row.name);
    this.#kept.open(row.name);
    const node = plannerNode(row, this.#options.tables.facts.get(row.name));
    this.#planner.upsertNode(this.#giving ? node : { ...node, requested: [] });
  }

  #remove(name: string): void {
    this.#known.delete(name);
    this.#kept.bury(name, this.#options.clock.now());
  }

  /** Throws KvError. */
  async #lookAgain(signal: AbortSignal): Promise<void> {
    const { kv, clock } = this.#options;
    for (const cidr of this.#kept.takeDue(clock.now())) {
      const entry = await kv.get(podCidrKey(cidr), { signal });
      const record = entry === undefined ? undefined : decodePodCidr(entry);
      if (entry !== undefined && record === undefined) continue;
      this.#kept.deleteUnreadable(cidr);
      if (record !== undefined) this.#seeRecord(record);
    }
  }

  /** What a transaction found a node to be. */
  #seeNode(name: string, entry: KvEntry | undefined): void {
    if (entry === undefined) {
      this.#remove(name);
      return;
    }
    const decoded = decodeObject('CiliumNode', entry);
    if (decoded.type === 'object') this.#upsert(nodeRow(decoded.object));
    // Not readable: its CIDRs stay its own, and nothing is given until somebody mends it.
    else {
      this.#known.delete(name);
      this.#planner.upsertNode({
        name,
        labels: {},
        requested: [],
        allocated: [...this.#since.values()]
          .filter((record) => record.node === name)
          .map(({ pool, cidr }) => ({ pool, cidrs: [cidr] })),
      });
    }
  }

  #seeRecord(record: PodCidrRecord): void {
    this.#since.set(record.cidr, record);
    this.#planner.upsertRecord(record);
  }

  /** Nobody is given what such a record stands for: somebody may have it. */
  #seeUnreadable(key: string): void {
    this.#options.log.error(
      { key },
      'a record of a pod CIDR cannot be read, and its CIDR is given to nobody; delete the record',
    );
    const cidr = podCidrOfKey(key);
    if (cidr !== undefined) this.#kept.addUnreadable(cidr, this.#options.clock.now());
  }

  #settle(outcome: Outcome): void {
    const { decision, type } = outcome;
    this.#planner.settle(decision, type === 'won');
    if (outcome.type === 'overtaken') {
      this.#counts.overtaken++;
      return;
    }
    const { node, cidr, pool } = decision;
    // The node's own object was written at this revision, unless nothing of it changed.
    const known = this.#known.get(node);
    const written =
      decision.type === 'give' || (decision.type === 'reclaim' && decision.why === 'forced');
    if (known !== undefined && written && outcome.revision > known.revision) {
      this.#known.set(node, { uid: known.uid, revision: outcome.revision });
    }
    this.#count(decision);
    if (decision.type === 'give' || decision.type === 'adopt') {
      const since = new Date(this.#options.wall()).toISOString();
      const state = decision.type === 'adopt' ? 'adopted' : 'given';
      this.#since.set(cidr, { cidr, pool, node, since, state });
    } else this.#since.delete(cidr);
    if (decision.type === 'reclaim' && decision.why === 'forced') this.#forget(node);
  }

  /** The node's wishes went with its blocks: before the watch says so it must not be given them again. */
  #forget(name: string): void {
    const row = this.#options.tables.nodes.get(name);
    if (row === undefined) return;
    const node = plannerNode(row, this.#options.tables.facts.get(name));
    const allocated = row.allocated.map(({ pool, cidrs }) => ({
      pool,
      cidrs: cidrs.filter((cidr) => this.#since.get(cidr)?.node === name),
    }));
    this.#planner.upsertNode({ ...node, requested: [], allocated });
  }

  #count(decision: Decision): void {
    const { log } = this.#options;
    const { node, cidr, pool } = decision;
    const about = { node, cidr, pool };
    switch (decision.type) {
      case 'give':
        this.#counts.given++;
        log.debug(about, 'pod CIDR given');
        break;
      case 'adopt':
        this.#counts.adopted++;
        log.info(about, 'pod CIDR that the node has is its own now');
        break;
      case 'release':
        this.#counts.released++;
        log.debug(about, 'pod CIDR given back');
        break;
      case 'reclaim':
        this.#counts.reclaimed++;
        log.info(about, 'pod CIDR taken back');
        break;
      default:
        decision satisfies never;
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const done of this.#forces.splice(0)) done(false);
    for (const undo of this.#undo) undo();
    this.#nodes[Symbol.dispose]();
    this.#facts[Symbol.dispose]();
    this.#wake.open();
  }
}

const age = (pool: { metadata: { creationTimestamp?: string } }): number =>
  Date.parse(pool.metadata.creationTimestamp ?? '') || 0;
