import type { Log } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import type { Prefix } from '@causeway/ip';
import { etcdStore } from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import { AddressAllocator } from '../addresses/allocator.ts';
import { BlockRecords } from '../addresses/block-records.ts';
import { NodeDemand } from '../addresses/node-demand.ts';
import { NodeWriter } from '../addresses/node-writer.ts';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import { NodeAddressPool } from '../endpoints/pool.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import type { Foundation } from './foundation.ts';

export interface AddressingOptions {
  readonly config: AgentConfig;
  readonly kv: Kv;
  readonly foundation: Foundation;
  readonly endpoints: EndpointTable;
  /** The pod CIDRs that the cluster's store says are here; undefined while it has not what was said last. */
  readonly described: () => readonly Prefix[] | undefined;
  /** What the BGP speaker has done with a prefix; undefined: there is none to tell. */
  readonly reach: () =>
    | { announced(prefix: Prefix): boolean; withdrawn(prefix: Prefix): boolean }
    | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** The node's addresses: pod CIDRs as they come and go, and what pods are given of them. */
export class Addressing implements AsyncDisposable {
  readonly pool: NodeAddressPool;
  readonly allocator: AddressAllocator;
  readonly #options: AddressingOptions;
  readonly #demand: NodeDemand;
  readonly #writer: NodeWriter;
  readonly #records: BlockRecords;

  constructor(options: AddressingOptions) {
    this.#options = options;
    const { config, kv, foundation, endpoints, clock, log } = options;
    const { families } = config;
    const node = config.node.name;
    const { addressing: tables, pods, namespaces } = foundation.store;
    const { blocks } = foundation;
    const restMs = config.ipam.quarantineSeconds * 1000;
    this.pool = new NodeAddressPool(families, () => clock.now(), restMs);
    this.pool.onUse(() => blocks.look());
    this.allocator = new AddressAllocator({
      node,
      families,
      pool: this.pool,
      tables,
      pods,
      namespaces,
      endpoints,
      known: () => foundation.knownNode.get(node),
      connected: () => kv.health().connected,
      onWaiting: () => blocks.look(),
      demand: () => this.#demand.rows(),
      clock,
      log,
    });
    this.#demand = new NodeDemand({
      families,
      tables,
      waiting: () => this.allocator.waiting(),
      recent: (pool, family) => this.pool.recent(pool, family),
      now: () => performance.now(),
    });
    this.#writer = new NodeWriter({ store: etcdStore(kv), node, clock, log });
    this.#records = new BlockRecords({
      kv,
      cluster: config.cluster.name,
      node,
      nodes: foundation.cluster.nodes,
      clock,
      onChange: () => blocks.look(),
      log,
    });
  }

  /** From here on the pod CIDRs go through their lives. Call it before endpoints are restored. */
  start(): void {
    const { foundation, described, reach } = this.#options;
    const { storedNode, addressing } = foundation.store;
    foundation.blocks.attach({
      pool: this.pool,
      demand: this.#demand,
      claimsKnown: () => true,
      announced: (cidr) =>
        (described()?.includes(cidr) ?? false) && (reach()?.announced(cidr) ?? true),
      withdrawn: (cidr) => {
        const said = described();
        return said !== undefined && !said.includes(cidr) && (reach()?.withdrawn(cidr) ?? true);
      },
      records: this.#records,
      want: (wish) => this.#writer.want(wish),
      onTaken: () => {},
    });
    for (const table of [addressing.pools, addressing.options]) {
      table.onCommit(() => foundation.blocks.look());
    }
    storedNode.onCommit(() => this.#records.again());
  }

  health(): HealthRow[] {
    return this.#writer.health();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#records[Symbol.asyncDispose]();
    await this.#writer[Symbol.asyncDispose]();
  }
}
