import type { Log } from '@causeway/daemon';
import type { Fence, Kv } from '@causeway/etcd';
import type { Address, Prefix } from '@causeway/ip';
import { type Decision, type DrainView, PoolPlanner, type Refusal } from '@causeway/ipam';
import { decodePodCidr, POD_CIDRS, type PodCidrRecord } from '@causeway/resources';
import { type Clock, Gate } from '@causeway/tables';
import type { OperatorTables } from '../sources.ts';
import { KnownCluster } from './known.ts';
import { DecisionWriter, type Outcome } from './writer.ts';

/** Decisions of one round; the next round sees what came meanwhile. */
const ROUND = 1000;
/** All is looked at so often, whatever is told. */
const REST_MS = 60_000;

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
  readonly #known: KnownCluster;
  readonly #stop = new AbortController();
  readonly #wake = new Gate();
  readonly #undo: (() => void)[];
  readonly #counts = {
    given: 0,
    adopted: 0,
    released: 0,
    reclaimed: 0,
    overtaken: 0,
    transactionRounds: 0,
  };
  /** Whoever waits for a release by force. */
  #forces: ((done: boolean) => void)[] = [];

  constructor(options: AllocatorOptions) {
    this.#options = options;
    const { tables } = options;
    this.#known = new KnownCluster({ ...options, planner: this.#planner });
    const wake = () => this.#wake.open();
    this.#undo = [tables.nodes, tables.facts, tables.pools, tables.options].map((table) =>
      table.onCommit(wake),
    );
  }

  /** Reads all records. Throws KvError. */
  async load(): Promise<void> {
    const { kv } = this.#options;
    let at = 0;
    for await (const { entries, revision } of kv.pages(POD_CIDRS, { signal: this.#stop.signal })) {
      at = revision;
      for (const entry of entries) {
        const record = decodePodCidr(entry);
        if (record !== undefined) this.#known.record(record);
        else this.#known.unreadable(entry.key);
      }
    }
    this.#known.giveFrom(await this.#options.loaded(at, this.#known.size));
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
      found: this.#known,
      signal: stop,
    });
    while (!stop.aborted) {
      await this.#known.lookAgain(stop);
      await claimed.refresh(stop);
      this.#known.feed();
      const decisions = this.#planner.plan({
        decisions: ROUND,
        mayReclaim: (node) => this.#known.mayReclaim(node),
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
        if (last > 0) await this.#options.wrote(last, this.#known.size);
        // What lost to something that the tables do not show yet would lose again at once.
        if (outcomes.every(({ type }) => type === 'overtaken')) await this.#rest(20, stop);
        continue;
      }
      for (const done of this.#forces.splice(0)) done(true);
      this.#known.forgetEmpty();
      await this.#rest(Math.max(10, Math.min(REST_MS, this.#known.wait())), stop);
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
    return this.#known.giving;
  }

  record(cidr: Prefix): PodCidrRecord | undefined {
    return this.#known.recordOf(cidr);
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
    this.#known.isEmpty(node);
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

  #settle(outcome: Outcome): void {
    const { decision, type } = outcome;
    this.#planner.settle(decision, type === 'won');
    if (outcome.type === 'overtaken') {
      this.#counts.overtaken++;
      return;
    }
    const { node, cidr, pool } = decision;
    // The node's own object was written at this revision, unless nothing of it changed.
    if (decision.type === 'give' || (decision.type === 'reclaim' && decision.why === 'forced')) {
      this.#known.wroteNode(node, outcome.revision);
    }
    this.#count(decision);
    if (decision.type === 'give' || decision.type === 'adopt') {
      const since = new Date(this.#options.wall()).toISOString();
      const state = decision.type === 'adopt' ? 'adopted' : 'given';
      this.#known.recorded({ cidr, pool, node, since, state });
    } else this.#known.unrecorded(cidr);
    if (decision.type === 'reclaim' && decision.why === 'forced') {
      this.#known.forgetWishes(node);
    }
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
    this.#known[Symbol.dispose]();
    this.#wake.open();
  }
}
