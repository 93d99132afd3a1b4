import path from 'node:path';
import { type Log, messageWithCauses, StateDirectory } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { type Address, Prefix } from '@causeway/ip';
import { reserveClaim } from '@causeway/ipam';
import { etcdStore, reservedAddresses } from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import { AddressAllocator } from '../addresses/allocator.ts';
import { BlockRecords } from '../addresses/block-records.ts';
import { claimRecord, claimTable } from '../addresses/claim-rows.ts';
import { type ClaimChange, ClaimStore } from '../addresses/claims.ts';
import { ClaimDuties } from '../addresses/duties.ts';
import { FixedAddresses } from '../addresses/fixed.ts';
import { NodeDemand } from '../addresses/node-demand.ts';
import { NodeWriter } from '../addresses/node-writer.ts';
import { type IpamView, ipamView } from '../addresses/view.ts';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { EndpointManager } from '../endpoints/manager.ts';
import { NodeAddressPool } from '../endpoints/pool.ts';
import { inForce } from '../endpoints/record.ts';
import { addressList, type EndpointTable } from '../endpoints/table.ts';
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
  /** The cluster knows a pod's address to be here. */
  readonly said: (address: Address) => boolean;
  readonly manager: () => Pick<EndpointManager, 'stop' | 'resume' | 'handOver'>;
  /** Addresses that have come or gone want routes and announcements. */
  readonly onRoutes: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** How the reason begins for which pods of a CIDR are stopped that another node has. */
const TAKEN = 'the pod CIDR';

/** The node's addresses: pod CIDRs as they come and go, and what pods are given of them. */
export class Addressing implements AsyncDisposable {
  readonly pool: NodeAddressPool;
  readonly allocator: AddressAllocator;
  readonly claims: ClaimStore;
  readonly duties: ClaimDuties;
  readonly #options: AddressingOptions;
  readonly #stop = new AbortController();
  /** CIDRs whose claims were read after the CIDR came here, and those that are being read for. */
  readonly #learnt = new Map<Prefix, 'reading' | 'done'>();
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
    this.claims = new ClaimStore({
      kv,
      table: claimTable(foundation.database),
      state: new StateDirectory(path.join(config.runDir, 'state/claims'), claimRecord),
      node,
      covering: (address) => blocks.covering(address),
      log,
    });
    this.pool = new NodeAddressPool(families, () => clock.now(), restMs);
    this.pool.onUse(() => blocks.look());
    const connected = () => kv.health().connected;
    const fixed = new FixedAddresses({
      node,
      cluster: config.cluster.name,
      pool: this.pool,
      claims: this.claims,
      pods,
      endpoints,
      nodes: foundation.cluster.nodes,
      covers: (address) => blocks.covering(address) !== undefined,
      connected,
    });
    this.duties = new ClaimDuties({
      node,
      claims: this.claims,
      fixed,
      pool: this.pool,
      endpoints,
      covering: (address) => blocks.covering(address),
      reservable: () => this.#reservable(),
      connected,
      log,
    });
    this.allocator = new AddressAllocator({
      fixed,
      node,
      families,
      pool: this.pool,
      tables,
      pods,
      namespaces,
      endpoints,
      known: () => foundation.knownNode.get(node),
      connected,
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

  /** From here on the node gives addresses. Call it before endpoints are restored. */
  start(): void {
    const { foundation } = this.#options;
    const { storedNode, addressing } = foundation.store;
    const { blocks } = foundation;
    this.duties.keep();
    blocks.attach({
      pool: this.pool,
      demand: this.#demand,
      claimsKnown: (cidr) => this.#claimsKnown(cidr),
      claimsPending: (cidr) => this.#claimsPending(cidr),
      announced: (cidr) => this.#announced(cidr),
      withdrawn: (cidr) => this.#withdrawn(cidr),
      records: this.#records,
      silent: (cidr) => this.#silent(cidr),
      want: (wish) => this.#writer.want(wish),
      onTaken: () => this.#stopTaken(),
    });
    for (const table of [addressing.pools, addressing.options]) table.onCommit(() => blocks.look());
    storedNode.onCommit(() => this.#records.again());
  }

  /** Endpoints of an earlier run have their addresses: the pod CIDRs go through their lives, claims are followed. */
  restored(): void {
    const { foundation, manager, said, reach, onRoutes } = this.#options;
    const { blocks, store } = foundation;
    this.duties.start({
      stop: (id, reason) => manager().stop(id, reason),
      resume: (id) => manager().resume(id),
      handOver: (id, standby) => manager().handOver(id, standby),
      said,
      announced: (prefix) => reach()?.announced(prefix) ?? true,
      withdrawn: (prefix) => reach()?.withdrawn(prefix) ?? true,
      onRoutes,
    });
    store.addressing.reservations.onCommit(() => this.duties.look());
    this.claims.table.onCommit(() => {
      if (blocks.blocks.some(({ phase }) => phase === 'taken')) this.#stopTaken();
    });
    foundation.ownNode.onCommit(() => this.duties.look());
    blocks.restored();
    this.#stopTaken();
  }

  #announced(cidr: Prefix): boolean {
    const { described, reach } = this.#options;
    return (described()?.includes(cidr) ?? false) && (reach()?.announced(cidr) ?? true);
  }

  #withdrawn(cidr: Prefix): boolean {
    const { described, reach } = this.#options;
    const said = described();
    return said !== undefined && !said.includes(cidr) && (reach()?.withdrawn(cidr) ?? true);
  }

  /** Claims in a CIDR that were made before it came here: one list, begun after it was seen. */
  #claimsKnown(cidr: Prefix): boolean {
    const { foundation, log } = this.#options;
    const held = new Set(foundation.blocks.blocks.map((block) => block.cidr));
    for (const known of this.#learnt.keys()) if (!held.has(known)) this.#learnt.delete(known);
    const state = this.#learnt.get(cidr);
    if (state !== undefined) return state === 'done';
    this.#learnt.set(cidr, 'reading');
    this.claims.read(this.#stop.signal).then(
      () => {
        this.#learnt.set(cidr, 'done');
        this.duties.keep();
        foundation.blocks.look();
      },
      (error) => {
        this.#learnt.delete(cidr);
        log.debug({ cidr, error: messageWithCauses(error) }, 'the claims cannot be read');
      },
    );
    return false;
  }

  #claimsPending(cidr: Prefix): boolean {
    for (const { claim, revision } of this.claims.table.rows()) {
      if (revision === 0 && Prefix.contains(cidr, claim.address)) return true;
    }
    return false;
  }

  /** What AddressReservations name of this node's CIDRs: it alone knows whether an address of them is free. */
  *#reservable(): Generator<ClaimChange> {
    const { foundation } = this.#options;
    const node = this.#options.config.node.name;
    for (const { namespace, name, spec } of foundation.store.addressing.reservations.rows()) {
      for (const reserved of reservedAddresses({ metadata: { namespace, name }, spec })) {
        const { address } = reserved;
        const known = this.claims.table.get(address)?.claim;
        if (known !== undefined || foundation.blocks.covering(address) === undefined) continue;
        if (this.pool.ownerOf(address) !== undefined || this.pool.isReserved(address)) continue;
        yield {
          address,
          step: (claim) => reserveClaim(claim, { ...reserved, home: node, ttlSeconds: null }),
        };
      }
    }
  }

  #silent(cidr: Prefix): boolean {
    return !Array.from(this.#options.endpoints.rows()).some(
      ({ record }) =>
        inForce(record) &&
        (addressList(record) as Address[]).some(
          (each) => Prefix.contains(cidr, each) && this.claims.table.get(each) === undefined,
        ),
    );
  }

  /** Pods of CIDRs that others have are stopped; those whose CIDR came back go on. */
  #stopTaken(): void {
    const { endpoints, manager, log, config, foundation } = this.#options;
    const failed = (error: unknown) =>
      log.warn({ error: messageWithCauses(error) }, 'an endpoint cannot follow its pod CIDR');
    const taken = foundation.blocks.blocks.filter(({ phase }) => phase === 'taken');
    for (const { record } of [...endpoints.rows()]) {
      const addresses = addressList(record) as Address[];
      const block = taken.find(({ cidr }) => addresses.some((each) => Prefix.contains(cidr, each)));
      // A claim that the store has not heard of says nothing: it is refused where another has the CIDR.
      const claimed = addresses.some((each) => {
        const row = this.claims.table.get(each);
        return row?.claim.at === config.node.name && row.revision > 0;
      });
      if (block !== undefined && !claimed) {
        const reason = `${TAKEN} ${block.cidr} is of the node ${block.holder} now`;
        if (record.stopped !== reason) manager().stop(record.id, reason).catch(failed);
      } else if (record.stopped?.startsWith(TAKEN)) manager().resume(record.id).catch(failed);
    }
  }

  view(): IpamView {
    const { config, foundation } = this.#options;
    const { blocks, knownNode } = foundation;
    const node = config.node.name;
    return ipamView({
      node,
      blocks: blocks.blocks,
      stats: this.pool.stats(),
      demand: this.#demand.rows(),
      operatorError: knownNode.get(node)?.operatorError,
      claims: Array.from(this.claims.table.rows(), ({ claim }) => claim),
      problems: this.duties.problems,
      moved: this.duties.moved,
      covers: (address) => blocks.covering(address) !== undefined,
    });
  }

  health(): HealthRow[] {
    return [...this.#writer.health(), ...this.#blockHealth()];
  }

  /** What a person should look at: CIDRs that are lost or whose range others have, what nobody gives. */
  #blockHealth(): HealthRow[] {
    const { foundation, config } = this.#options;
    const problems = foundation.blocks.blocks.flatMap(({ cidr, phase, holder }) => {
      if (phase === 'taken')
        return [`${cidr} is of the node ${holder} now, and its pods are stopped`];
      return phase === 'lost' ? [`the store no longer says that ${cidr} is this node's`] : [];
    });
    const error = foundation.knownNode.get(config.node.name)?.operatorError;
    if (error !== undefined) problems.push(`the operator gives no more: ${error}`);
    for (const [address, problem] of this.duties.problems) problems.push(`${address}: ${problem}`);
    if (problems.length === 0) return [];
    return [{ name: 'addresses', healthy: false, detail: problems.slice(0, 8).join('; ') }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.duties[Symbol.asyncDispose]();
    await this.claims[Symbol.asyncDispose]();
    await this.#records[Symbol.asyncDispose]();
    await this.#writer[Symbol.asyncDispose]();
  }
}
