import { codeOf, type Log, messageWithCauses } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { type ClusterId, type IdentityLayout, LabelSet } from '@causeway/identity';
import { Address, type Prefix } from '@causeway/ip';
import {
  type Announcement,
  type Announcer,
  announceIp,
  announceNode,
  ClusterKeeper,
  checkStore,
  IdentityAllocator,
  ipKey,
  ipMetadata,
  openAnnouncer,
} from '@causeway/mesh';
import { PROTOCOL } from '@causeway/policy';
import type { Clock, Database, InitialSource } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { type EndpointRecord, inForce } from '../endpoints/record.ts';
import { addressList, type EndpointTable } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import { reconcilerHealth } from '../health.ts';
import type { IdentityNumbers } from '../identity/resolver.ts';
import type { StoreTrust } from '../sources/trust.ts';
import type { ClusterTables } from './tables.ts';

export interface MemberOptions {
  readonly kv: Kv;
  readonly database: Database;
  readonly cluster: {
    readonly name: string;
    readonly id: ClusterId;
    readonly maxConnectedClusters: 255 | 511;
  };
  readonly layout: IdentityLayout;
  readonly node: string;
  /** The address by which other nodes reach this one; it marks what this node says in the store. */
  readonly address: Address;
  /** Whether what the store lacks may be taken for gone; what it says of itself hangs on it. */
  readonly trust: Pick<StoreTrust, 'broke' | 'settled'>;
  readonly tables: Pick<ClusterTables, 'identities'>;
  readonly endpoints: EndpointTable;
  /** A held identity has another number now: endpoints with these labels must take it. */
  readonly onRenumbered: (labels: LabelSet) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** What the node says of itself. */
export interface SelfDescription {
  readonly addresses: readonly Address[];
  readonly gateways: readonly Address[];
  readonly podCIDRs: readonly Prefix[];
  readonly labels: Readonly<Record<string, string>>;
  /** How it is set up: clusters are held against each other by it before they join. */
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * This node among the others: what it writes into the cluster's store, on its lease, and the numbers
 * that it takes from there. It keeps its keys at the end, so that a restart does not show.
 */
export class ClusterMember implements IdentityNumbers, AsyncDisposable {
  readonly #options: MemberOptions;
  readonly #announcer: Announcer;
  readonly #allocator: IdentityAllocator;
  #keeper: ClusterKeeper | undefined;
  readonly #complete: InitialSource;
  readonly #stop = new AbortController();
  readonly #background: Promise<void>[] = [];
  /** Label sets that the allocator counts a use of for us: one, for however many endpoints. */
  readonly #acquired = new Set<string>();
  readonly #acquiring = new Map<string, Promise<number>>();
  /** Given back while they were still being acquired. */
  readonly #unwanted = new Set<string>();
  /** Keys of an endpoint's addresses in the store. */
  readonly #said = new Map<number, readonly string[]>();
  readonly #undo: (() => void)[] = [];
  #self: { readonly announcement: Announcement; readonly podCIDRs: readonly Prefix[] } | undefined;
  #storeProblem: string | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
    const {
      kv,
      database,
      cluster,
      layout,
      node,
      address,
      tables,
      endpoints,
      clock,
      random,
      trust,
    } = options;
    this.#announcer = openAnnouncer({
      kv,
      clock,
      random,
      database,
      cluster: cluster.name,
      node,
      address,
    });
    this.#complete = this.#announcer.table.source('agent');
    this.#allocator = new IdentityAllocator({
      kv,
      cluster,
      layout,
      clock,
      random,
      identities: tables.identities,
      announcements: this.#announcer.table,
      suffix: address,
    });
    const config = {
      id: cluster.id,
      syncedCanaries: true,
      cached: false,
      maxConnectedClusters: cluster.maxConnectedClusters,
      serviceExportsEnabled: undefined,
    };
    if (cluster.id !== 0) {
      const keep = () => {
        this.#keeper = new ClusterKeeper({
          kv,
          clock,
          random,
          cluster: cluster.name,
          config,
          node,
          // Of a store that nobody here has ever lost nothing is missing.
          settled: () => !trust.broke || trust.settled,
        });
      };
      this.#background.push(
        this.#watchStore(() => checkStore(kv, cluster.name, config, this.#stop.signal), keep),
      );
    }
    const tracker = endpoints.changes('cluster-member', 'start');
    const follow = () => {
      while (tracker.pending) {
        for (const change of tracker.take()) {
          // A silent endpoint's addresses are another's to tell of.
          const gone =
            change.type !== 'put' || change.row.state !== 'ready' || !inForce(change.row.record);
          this.#sayEndpoint(change.key, gone ? undefined : change.row.record);
        }
      }
    };
    this.#undo.push(
      endpoints.onCommit(() => queueMicrotask(follow)),
      () => tracker[Symbol.dispose](),
    );
    queueMicrotask(follow);
  }

  get connected(): boolean {
    return this.#options.kv.health().connected;
  }

  /** Endpoints of an earlier run and the own description are in: stale keys of ours may go. */
  complete(): void {
    setImmediate(() => this.#complete.done());
    this.#background.push(
      this.#allocator.follow(this.#stop.signal, ({ labels, before, after }) => {
        this.#options.log.warn(
          { labels: labels.text, before, after },
          'an identity in use was given away while the store was lost',
        );
        this.#options.onRenumbered(labels);
      }),
    );
  }

  /** Takes hold of the identity that a restored endpoint had. */
  restore(record: EndpointRecord): void {
    if (record.identity < 256 || this.#acquired.has(record.labels)) return;
    this.#acquired.add(record.labels);
    this.#allocator.restore(LabelSet.parse(record.labels), record.identity as never);
  }

  known(labels: LabelSet): number | undefined {
    return this.#allocator.known(labels);
  }

  /** One acquisition for a label set, however many ask; a caller that gives up leaves it to the others. */
  async acquire(labels: LabelSet, signal: AbortSignal): Promise<number> {
    const { text } = labels;
    if (this.#storeProblem !== undefined) {
      // A number taken there would be another cluster's pod's.
      throw new AgentError('store-unavailable', this.#storeProblem, {
        field: 'etcd.endpoints',
        hint: "give the endpoints of this cluster's own store, or this cluster's own name and id",
      });
    }
    this.#unwanted.delete(text);
    const held = this.#acquired.has(text) ? this.known(labels) : undefined;
    if (held !== undefined) return held;
    let pending = this.#acquiring.get(text);
    if (pending === undefined) {
      pending = this.#acquire(labels).finally(() => this.#acquiring.delete(text));
      this.#acquiring.set(text, pending);
    }
    const given = new AbortController();
    const givenUp = new Promise<never>((_, reject) => {
      const end = () => reject(signal.reason);
      signal.addEventListener('abort', end, { signal: given.signal });
      if (signal.aborted) end();
    });
    try {
      return await Promise.race([pending, givenUp]);
    } finally {
      given.abort();
    }
  }

  async #acquire(labels: LabelSet): Promise<number> {
    const id = await this.#allocator.acquire(labels, { signal: this.#stop.signal });
    if (this.#unwanted.delete(labels.text)) this.#allocator.release(labels);
    else this.#acquired.add(labels.text);
    // The reader brings the same row in a moment; policy should not wait for it.
    this.#options.tables.identities.put({ id, cluster: this.#options.cluster.name, labels });
    return id;
  }

  release(labels: LabelSet): void {
    if (this.#acquired.delete(labels.text)) this.#allocator.release(labels);
    else if (this.#acquiring.has(labels.text)) this.#unwanted.add(labels.text);
  }

  describe(self: SelfDescription): void {
    const { cluster, node } = this.#options;
    const announcement = announceNode({
      name: node,
      cluster: cluster.name,
      clusterId: cluster.id,
      addresses: [
        ...self.addresses.map((ip) => ({ type: 'InternalIP', ip })),
        ...self.gateways.map((ip) => ({ type: 'CiliumInternalIP', ip })),
      ],
      podCIDRs: {
        ipv4: self.podCIDRs.filter((cidr) => !cidr.includes(':')),
        ipv6: self.podCIDRs.filter((cidr) => cidr.includes(':')),
      },
      healthIPs: {},
      ingressIPs: {},
      source: 'local',
      encryptionKey: 0,
      labels: self.labels,
      annotations: self.annotations,
      nodeIdentity: 0,
      wireguardPublicKey: '',
      bootId: '',
    });
    if (announcement.value === this.#self?.announcement.value) return;
    this.#self = { announcement, podCIDRs: self.podCIDRs };
    this.#announcer.table.put(announcement);
  }

  /** Says which identity the node's own addresses have, in place of "a node". */
  sayHost(
    addresses: readonly Address[],
    identity: number,
    who: { namespace: string; id: number },
  ): void {
    const { node, address } = this.#options;
    const announcements = addresses.map((each) =>
      announceIp({
        address: each,
        hostIP: address,
        identity,
        encryptionKey: 0,
        metadata: ipMetadata(node, who.id),
        namespace: who.namespace,
        pod: node,
        serviceAccount: '',
        namedPorts: [],
      }),
    );
    this.#sayAll(who.id, announcements);
  }

  /** The store has what this node says of the address. */
  said(address: Address): boolean {
    const key = ipKey(address);
    const status = this.#announcer.store.reconciler.status(key);
    return (
      status?.type === 'done' && status.revision === this.#announcer.table.entry(key)?.revision
    );
  }

  /** The pod CIDRs that the store says are here; undefined while it has not what was said last. */
  get described(): readonly Prefix[] | undefined {
    if (this.#self === undefined) return undefined;
    const { key } = this.#self.announcement;
    const status = this.#announcer.store.reconciler.status(key);
    const current = this.#announcer.table.entry(key)?.revision;
    return status?.type === 'done' && status.revision === current ? this.#self.podCIDRs : undefined;
  }

  health(): HealthRow[] {
    const { lastError } = this.#keeper?.status() ?? {};
    const rows = [{ ...reconcilerHealth(this.#announcer.store.reconciler), name: 'announcements' }];
    if (this.#storeProblem !== undefined) {
      rows.push({ name: 'store', healthy: false, detail: this.#storeProblem });
    } else if (lastError !== undefined) {
      rows.push({ name: 'heartbeat', healthy: false, detail: lastError });
    }
    return rows;
  }

  #sayEndpoint(id: number, record: EndpointRecord | undefined): void {
    this.#sayAll(id, record === undefined ? [] : this.#announcementsOf(record));
  }

  #sayAll(id: number, announcements: readonly Announcement[]): void {
    const { table } = this.#announcer;
    const keys = announcements.map(({ key }) => key);
    for (const key of this.#said.get(id) ?? []) if (!keys.includes(key)) this.#withdraw(id, key);
    for (const announcement of announcements) table.put(announcement);
    if (keys.length > 0) this.#said.set(id, keys);
    else this.#said.delete(id);
  }

  /** Another endpoint may have taken the address over already. */
  #withdraw(id: number, key: string): void {
    for (const [other, keys] of this.#said) if (other !== id && keys.includes(key)) return;
    this.#announcer.table.delete(key);
  }

  #announcementsOf(record: EndpointRecord) {
    const { node, address } = this.#options;
    return addressList(record).map((text) =>
      announceIp({
        address: Address.parse(text),
        hostIP: address,
        identity: record.identity,
        encryptionKey: 0,
        metadata: ipMetadata(node, record.id),
        namespace: record.podNamespace ?? '',
        pod: record.podName ?? '',
        serviceAccount: '',
        namedPorts: record.namedPorts.map(({ name, port, protocol }) => ({
          name,
          port,
          protocol: protocol === PROTOCOL.udp ? 'UDP' : protocol === PROTOCOL.sctp ? 'SCTP' : 'TCP',
        })),
      }),
    );
  }

  /** Looks as soon as the store answers whether it is another cluster's; what all nodes say is for our own only. */
  async #watchStore(check: () => Promise<void>, keep: () => void): Promise<void> {
    const { clock, log } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        await check();
        this.#storeProblem = undefined;
        if (!this.#stop.signal.aborted) keep();
        return;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (codeOf(error) === 'foreign-store') {
          this.#storeProblem = messageWithCauses(error);
          log.error({ error: this.#storeProblem }, 'this store is of another cluster');
        }
        await clock.sleep(5_000, this.#stop.signal);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const undo of this.#undo) undo();
    await Promise.allSettled(this.#background);
    await this.#keeper?.[Symbol.asyncDispose]();
    await this.#announcer[Symbol.asyncDispose]();
  }
}
