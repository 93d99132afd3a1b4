import { type Log, messageWithCauses, type StateDirectory } from '@causeway/daemon';
import { type Address, Prefix } from '@causeway/ip';
import { type BlockOrders, FIRST_PHASE, type PodCidr, stepBlock } from '@causeway/ipam';
import type { OwnNodeTable, StoredNode, StoredNodeTable } from '../node/own-node.ts';
import { allocatedTo, factsOf, isUsed, LEAVING, stay, UNSURE } from './block-facts.ts';
import { STATIC } from './choice.ts';
import { type HeldBlock, type HeldBlocks, isStatic } from './held.ts';
import type { KeeperPorts } from './keeper-ports.ts';
import { usableBlocks } from './node-demand.ts';

/** How soon a step that waits for others is looked at again, and how often all is looked at. */
const STEP_MS = 200;
const REST_MS = 2_000;
const RECORD = 'blocks';

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
          : factsOf(ports, block, allocated, inUse, wanted?.draining.has(cidr) ?? false);
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
