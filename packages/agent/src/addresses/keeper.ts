import { type Log, messageWithCauses, type StateDirectory } from '@causeway/daemon';
import { type Address, Prefix } from '@causeway/ip';
import {
  type BlockFacts,
  type BlockOrders,
  type BlockPhase,
  type BlockStep,
  FIRST_PHASE,
  ordersOf,
  type PodCidr,
  type PoolStats,
  stepBlock,
} from '@causeway/ipam';
import type { OwnNodeTable, StoredNode, StoredNodeTable } from '../node/own-node.ts';
import { STATIC } from './choice.ts';
import { type HeldBlock, type HeldBlocks, isStatic } from './held.ts';
import { type NodeDemand, usableBlocks } from './node-demand.ts';
import type { PoolWish } from './stored-pools.ts';

/** How soon a step that waits for others is looked at again, and how often all is looked at. */
const STEP_MS = 200;
const REST_MS = 2_000;
const RECORD = 'blocks';

/** What the keeper asks of the rest of the node, once there is one. */
export interface KeeperPorts {
  /** The addresses of the node. */
  readonly pool: {
    setCidrs(cidrs: readonly PodCidr[]): void;
    stats(): PoolStats[];
  };
  readonly demand: NodeDemand;
  /** All claims of addresses in it that were made before it came here are known. */
  readonly claimsKnown: (cidr: Prefix) => boolean;
  /** A claim of an address in it waits for the store: nobody else could know of it. */
  readonly claimsPending: (cidr: Prefix) => boolean;
  /** Others send for it here. */
  readonly announced: (cidr: Prefix) => boolean;
  /** Nobody is told any more to send for it here. */
  readonly withdrawn: (cidr: Prefix) => boolean;
  /** The operator's records of blocks, as far as they are known. */
  readonly records: {
    of(cidr: Prefix): { recorded: boolean; takenBy: string | undefined } | undefined;
    follow(blocks: ReadonlyMap<Prefix, boolean>): void;
  };
  /** No pod speaks with an address of it. */
  readonly silent: (cidr: Prefix) => boolean;
  readonly want: (wish: PoolWish) => void;
  /** Called when something was taken by another, or has come back. */
  readonly onTaken: () => void;
}

/** A CIDR of this node that holds an address. */
export interface Covering {
  readonly cidr: Prefix;
  /** The others are told of it. */
  readonly announced: boolean;
  /** The operator gave it, and its record says whose it is. */
  readonly recorded: boolean;
}

export interface BlockKeeperOptions {
  readonly node: string;
  /** What the store says of this node, or said last. */
  readonly known: StoredNodeTable;
  /** What the other parts see of this node: written here. */
  readonly ownNode: OwnNodeTable;
  readonly state: StateDirectory<HeldBlocks>;
  readonly log: Log;
}

/**
 * The pod CIDRs of this node, each from the moment in which the store names it to the one in which it is let go. The
 * steps are `stepBlock`'s; here are the facts, the record that precedes what follows from a step, and what follows.
 */
export class BlockKeeper implements Disposable {
  readonly #options: BlockKeeperOptions;
  readonly #undo: () => void;
  #ports: KeeperPorts | undefined;
  #blocks: readonly HeldBlock[] = [];
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #problem: string | undefined;
  #given = '';
  #restored = false;
  #disposed = false;

  constructor(options: BlockKeeperOptions) {
    this.#options = options;
    const { known, state, log } = options;
    const { records, refused } = state.load();
    for (const { error } of refused)
      log.warn({ error: error.message }, 'the remembered pod CIDRs cannot be used');
    this.#blocks = records.get(RECORD)?.blocks ?? [];
    this.#undo = known.onCommit(() => this.look());
    this.#turn();
  }

  get blocks(): readonly HeldBlock[] {
    return this.#blocks;
  }

  /** CIDRs that pods have or will have addresses of, in the order in which they came. */
  serving(): Prefix[] {
    return this.#blocks.filter(({ phase }) => !LEAVING.has(phase)).map(({ cidr }) => cidr);
  }

  /** The CIDR of this node that holds the address. */
  covering(address: Address): Covering | undefined {
    for (const block of this.#blocks) {
      const { cidr, phase } = block;
      if (LEAVING.has(phase)) continue;
      if (!Prefix.contains(cidr, address)) continue;
      const announced = phase === 'ready' || phase === 'draining' || phase === 'lost';
      return { cidr, announced, recorded: !isStatic(block) };
    }
    return undefined;
  }

  /** What keeps pods from getting addresses, if anything does. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** From here on the node gives addresses of what it holds; nothing takes a step before use is known. */
  attach(ports: KeeperPorts): void {
    this.#ports = ports;
    this.#given = '';
    this.#turn();
  }

  /** What is in use is known: endpoints of an earlier run have their addresses. */
  restored(): void {
    this.#restored = true;
    this.#turn();
  }

  /** Something changed: looks at all of it soon. */
  look(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.#turn();
    });
  }

  #turn(): void {
    if (this.#disposed) return;
    clearTimeout(this.#timer);
    const own = this.#options.known.get(this.#options.node);
    if (own !== undefined) {
      try {
        this.#step(own);
        this.#problem = undefined;
      } catch (error) {
        const problem = `the pod CIDRs cannot be used: ${messageWithCauses(error)}`;
        if (problem !== this.#problem) this.#options.log.error({ error: problem }, 'pod CIDRs');
        this.#problem = problem;
      }
    }
    if (!this.#restored) return;
    const waits = this.#blocks.some(({ phase }) => phase !== 'ready');
    this.#timer = setTimeout(() => this.#turn(), waits ? STEP_MS : REST_MS);
    this.#timer.unref();
  }

  #step(own: StoredNode): void {
    const ports = this.#ports;
    const stats = new Map((ports?.pool.stats() ?? []).map((each) => [each.prefix, each]));
    const allocated = allocatedTo(own);
    const wanted = this.#restored
      ? ports?.demand.look(usableBlocks(this.#blocks, stats), own)
      : undefined;
    const blocks: HeldBlock[] = [];
    const orders = new Map<Prefix, BlockOrders>();
    const held = new Set(this.#blocks.map(({ cidr }) => cidr));
    const fresh = Array.from(allocated, ([cidr, pool]): HeldBlock[] =>
      held.has(cidr) ? [] : [{ cidr, pool, phase: FIRST_PHASE }],
    ).flat();
    for (const block of [...this.#blocks, ...fresh]) {
      const { cidr, pool } = block;
      const inUse = isUsed(stats.get(cidr)) || (ports?.claimsPending(cidr) ?? false);
      const facts =
        ports === undefined || !this.#restored
          ? undefined
          : this.#facts(ports, block, allocated, inUse, wanted?.draining.has(cidr) ?? false);
      const { phase, orders: its } =
        facts === undefined ? stay(block) : stepBlock(block.phase, facts);
      if (phase === 'gone') continue;
      const holder = phase === 'taken' ? (facts?.takenBy ?? block.holder) : undefined;
      blocks.push({ cidr, pool, phase, ...(holder === undefined ? {} : { holder }) });
      orders.set(cidr, its);
    }
    if (JSON.stringify(blocks) !== JSON.stringify(this.#blocks)) {
      using staged = this.#options.state.stage(RECORD, { blocks });
      staged.commit();
      const before = this.#blocks;
      this.#blocks = blocks;
      this.#tell(before);
    }
    this.#publish(own, orders);
    if (ports === undefined) return;
    this.#give(ports, orders);
    ports.records.follow(
      new Map(
        blocks.filter((b) => !isStatic(b)).map(({ cidr, phase }) => [cidr, UNSURE.has(phase)]),
      ),
    );
    if (wanted === undefined || (own.pools === undefined && wanted.requested.length === 0)) return;
    const named = blocks.filter((block) => !isStatic(block));
    const gone = named.filter(
      ({ cidr }) => !orders.get(cidr)?.keep && (!orders.get(cidr)?.stop || ports.silent(cidr)),
    );
    ports.want({
      requested: wanted.requested,
      returned: new Set(gone.map(({ cidr }) => cidr)),
      named: named
        .filter(({ cidr }) => orders.get(cidr)?.ask)
        .map(({ cidr, pool }) => ({ cidr, pool })),
    });
  }

  #facts(
    ports: KeeperPorts,
    block: HeldBlock,
    allocated: ReadonlyMap<Prefix, string>,
    inUse: boolean,
    drain: boolean,
  ): BlockFacts {
    const { cidr, phase, pool } = block;
    const record = ports.records.of(cidr);
    const takenBy = isStatic(block) ? undefined : (record?.takenBy ?? block.holder);
    const leaves = phase === 'withdrawing' || phase === 'returning' || takenBy !== undefined;
    return {
      allocated: allocated.get(cidr) === pool,
      // What was the node's is so until the store says otherwise.
      recorded: isStatic(block) || (record?.recorded ?? !UNSURE.has(phase)),
      takenBy: record?.takenBy ?? (record === undefined ? takenBy : undefined),
      // Claims in what was always the node's are the node's own.
      claimsKnown:
        isStatic(block) || (phase !== 'learning' && phase !== 'lost') || ports.claimsKnown(cidr),
      announced: leaves ? !ports.withdrawn(cidr) : ports.announced(cidr),
      drain,
      empty: !inUse,
    };
  }

  /** What the other parts see of this node. */
  #publish(own: StoredNode, orders: ReadonlyMap<Prefix, BlockOrders>): void {
    const { name, addresses, labels } = own;
    const published = this.#blocks.filter(({ cidr }) => orders.get(cidr)?.announce);
    this.#options.ownNode.put({
      name,
      addresses,
      labels,
      podCIDRs: published.map(({ cidr }) => cidr),
      pools: published
        .filter((block) => !isStatic(block))
        .map(({ cidr, pool }) => ({ cidr, pool })),
    });
  }

  #give({ pool }: KeeperPorts, orders: ReadonlyMap<Prefix, BlockOrders>): void {
    const cidrs = this.#blocks.flatMap(({ cidr, pool: name, phase }): PodCidr[] => {
      const give = orders.get(cidr)?.give ?? 'no';
      if (give === 'no' && phase !== 'draining') return [];
      return [
        {
          prefix: cidr,
          usable: give !== 'last-resort',
          draining: give === 'no',
          ...(name === STATIC ? {} : { pool: name }),
        },
      ];
    });
    const text = JSON.stringify(cidrs);
    if (text === this.#given) return;
    pool.setCidrs(cidrs);
    this.#given = text;
  }

  #tell(before: readonly HeldBlock[]): void {
    const { log } = this.#options;
    const old = new Map(before.map((each) => [each.cidr, each]));
    let taken = false;
    for (const { cidr, pool, phase, holder } of this.#blocks) {
      const was = old.get(cidr);
      old.delete(cidr);
      taken ||= was?.holder !== holder;
      if (was?.phase === phase && was.holder === holder) continue;
      const facts = { cidr, pool: pool === STATIC ? 'podCIDRs' : pool, phase, was: was?.phase };
      if (phase === 'lost') log.warn(facts, 'the store no longer says that a pod CIDR is ours');
      else if (phase === 'taken')
        log.error(
          { ...facts, holder },
          'another node has a pod CIDR of ours: its pods are stopped',
        );
      else log.info(facts, 'a pod CIDR goes on');
    }
    for (const { cidr, phase } of old.values())
      log.info({ cidr, was: phase }, 'a pod CIDR is gone');
    if (taken) setImmediate(() => this.#ports?.onTaken());
    this.look();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#undo();
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
  }
}

/**
 * Before the endpoints are restored nothing is known of use: every block stays where it was. Only what was always the
 * node's is told of at once.
 */
function stay(block: HeldBlock): BlockStep {
  const phase = block.phase === 'learning' && isStatic(block) ? 'announcing' : block.phase;
  return { phase, orders: ordersOf(phase) };
}

/** Phases in which a block is no longer of use to anybody here. */
const LEAVING: ReadonlySet<BlockPhase> = new Set(['withdrawing', 'returning', 'taken']);

/** Phases in which the operator's record is waited for, or missed. */
const UNSURE: ReadonlySet<BlockPhase> = new Set(['learning', 'lost', 'taken', 'returning']);

const isUsed = (stats: PoolStats | undefined): boolean =>
  stats !== undefined && stats.used + stats.quarantined > 0n;

/** Each CIDR that the store says is this node's, with its pool. */
function allocatedTo({ podCIDRs, pools }: StoredNode): Map<Prefix, string> {
  const all = new Map<Prefix, string>();
  for (const { pool, cidr } of pools?.allocated ?? []) {
    // Of two that overlap the first counts: an address is given once.
    if (![...all.keys()].some((other) => Prefix.overlaps(other, cidr))) all.set(cidr, pool);
  }
  for (const cidr of podCIDRs) {
    if (![...all.keys()].some((other) => Prefix.overlaps(other, cidr))) all.set(cidr, STATIC);
  }
  return all;
}
