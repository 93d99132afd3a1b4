import type { Log } from '@causeway/daemon';
import type { Family } from '@causeway/ip';
import { IpamError } from '@causeway/ipam';
import type { Clock } from '@causeway/tables';
import type { NodeAddressPool } from '../endpoints/pool.ts';
import type { AddressPool, Allocation, Owner, PodReference } from '../endpoints/ports.ts';
import type { EndpointRecord } from '../endpoints/record.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import type { StoredNode } from '../node/own-node.ts';
import { type NamespaceTable, type PodRow, type PodTable, podKey } from '../sources/pods.ts';
import { choosePools, type PodView, type PoolChoice, STATIC } from './choice.ts';
import type { FixedAddresses, GiveAny } from './fixed.ts';
import { type DemandRow, demandKey, nodeView } from './node-demand.ts';
import { type AddressTables, poolViews } from './sources.ts';
import { wishOf } from './wish.ts';

/** An ADD that finds a pool empty waits this long for the operator, which has been asked by then. */
const OPERATOR_MS = 3_000;

/** A request in the store's terms, and what each family shall come from. */
export type Choices = Partial<Record<Family, PoolChoice>>;

export interface AllocatorOptions {
  readonly node: string;
  readonly families: readonly Family[];
  readonly pool: NodeAddressPool;
  readonly tables: AddressTables;
  readonly pods: PodTable;
  readonly namespaces: NamespaceTable;
  readonly endpoints: EndpointTable;
  readonly known: () => StoredNode | undefined;
  readonly connected: () => boolean;
  /** Somebody waits: what is asked of the operator must be looked at. */
  readonly onWaiting: () => void;
  readonly demand: () => readonly DemandRow[];
  readonly fixed: FixedAddresses;
  readonly clock: Clock;
  readonly log: Log;
}

/** Addresses for pods: from the pool that serves each of them. */
export class AddressAllocator implements AddressPool {
  readonly #options: AllocatorOptions;
  readonly #waiting = new Map<string, Choices>();

  constructor(options: AllocatorOptions) {
    this.#options = options;
  }

  async allocate(owner: Owner, pod: PodReference): Promise<Allocation> {
    const { clock, connected, onWaiting, pool } = this.#options;
    const deadline = clock.now() + OPERATOR_MS;
    const key = nameOf(owner, pod);
    try {
      for (;;) {
        const choices = this.choose(pod);
        try {
          return await this.#allocate(owner, pod, choices);
        } catch (error) {
          const rest = deadline - clock.now();
          const named = Object.values(choices).some(({ pools }) => pools.some((p) => p !== STATIC));
          const canWait = error instanceof AgentError && error.code === 'pool-empty' && named;
          if (!canWait || rest <= 0 || !connected()) throw error;
          this.#waiting.set(key, choices);
          onWaiting();
          const done = new AbortController();
          await Promise.race([pool.changed.wait(done.signal), clock.sleep(rest, done.signal)]);
          done.abort();
        }
      }
    } finally {
      this.#waiting.delete(key);
    }
  }

  async #allocate(owner: Owner, pod: PodReference, choices: Choices): Promise<Allocation> {
    const { pods, tables, fixed } = this.#options;
    const { podNamespace = 'default', podName } = pod;
    const row = podName === undefined ? undefined : pods.get(podKey(podNamespace, podName));
    if (row === undefined) return this.#give(owner, choices);
    const workload =
      row.owner === undefined
        ? undefined
        : tables.workloads.get(podKey(podNamespace, row.owner.name));
    const wish = wishOf(
      row,
      workload?.kind === row.owner?.kind ? workload : undefined,
      tables.reservations.by('namespace', podNamespace),
    );
    switch (wish.type) {
      case 'none':
        return this.#give(owner, choices);
      case 'hand-over':
        return fixed.standBy(owner, wish);
      case 'fixed': {
        const from = wish.pool === undefined ? choices : fromPool(choices, wish.pool, wish.why);
        const any: GiveAny = (families) =>
          this.#give(owner, Object.fromEntries(families.map((family) => [family, from[family]])));
        return fixed.take(owner, wish, Object.keys(from) as Family[], any);
      }
      case 'invalid':
        throw new AgentError('bad-request', `${wish.field} of the pod ${wish.message}`, {
          field: wish.field,
          value: wish.value,
        });
      default:
        return wish satisfies never;
    }
  }

  release(owner: Owner): void {
    this.#options.pool.release(owner);
  }

  restore(records: readonly EndpointRecord[]): string[] {
    return this.#options.pool.restore(records);
  }

  /** Where the pod's addresses shall come from, by family; families that its pools have not are left out. */
  choose(pod: Pick<PodReference, 'podNamespace' | 'podName'>): Choices {
    const { known, families, pods, tables } = this.#options;
    const own = known();
    if (own === undefined) return {};
    const row =
      pod.podName === undefined ? undefined : pods.get(podKey(pod.podNamespace, pod.podName));
    const view = this.#view(pod.podNamespace, pod.podName, row);
    const pools = poolViews(tables);
    const choices: Choices = {};
    for (const family of families) {
      const choice = choosePools(family, view, nodeView(own, family), pools);
      const usable = choice.pools.filter((name) => this.#has(own, name, family));
      if (usable.length > 0) choices[family] = { ...choice, pools: usable };
    }
    return choices;
  }

  /** Pods of this node that have no address yet, by pool and family. */
  waiting(): Map<string, number> {
    const { node, pods, endpoints } = this.#options;
    const counts = new Map<string, number>();
    const count = (choices: Choices) => {
      for (const [family, { pools }] of Object.entries(choices)) {
        const [first] = pools;
        if (first === undefined || first === STATIC) continue;
        const key = demandKey(first, family as Family);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    };
    for (const choices of this.#waiting.values()) count(choices);
    if (this.#options.known()?.pools === undefined && this.#options.tables.pools.size === 0) {
      return counts;
    }
    for (const row of pods.by('node', node)) {
      if (!isComing(row)) continue;
      const key = podKey(row.namespace, row.name);
      if (this.#waiting.has(key) || endpoints.count('pod', key) > 0) continue;
      count(this.choose({ podNamespace: row.namespace, podName: row.name }));
    }
    return counts;
  }

  #give(owner: Owner, choices: Choices): Allocation {
    const { pool } = this.#options;
    const left = new Map<Family, string[]>();
    for (const [family, { pools }] of Object.entries(choices))
      left.set(family as Family, [...pools]);
    if (left.size === 0) throw this.#nothing();
    for (;;) {
      const request: Partial<Record<Family, { pool: string | null }>> = {};
      for (const [family, [first]] of left)
        request[family] = { pool: first === STATIC ? null : first! };
      try {
        return pool.give(owner, request);
      } catch (cause) {
        if (!(cause instanceof IpamError)) throw cause;
        const family = cause.field as Family;
        const pools = left.get(family);
        const isEmpty = cause.code === 'exhausted' || cause.code === 'no-cidr';
        if (!isEmpty || pools === undefined) throw refusal(cause);
        pools.shift();
        if (pools.length === 0) throw this.#empty(family, choices[family]!, cause);
      }
    }
  }

  /** Whether a pool has addresses of the family, as far as is known; a named one that is not known may have. */
  #has(own: StoredNode, name: string, family: Family): boolean {
    if (name === STATIC)
      return own.podCIDRs.some((cidr) => cidr.includes(':') === (family === 'ipv6'));
    const { tables, pool } = this.#options;
    const known = tables.pools.get(name);
    if (known !== undefined) return known.families.includes(family);
    if (tables.pools.initialized) return true;
    return pool.stats().some((each) => each.pool === name && each.family === family);
  }

  #view(namespace: string | undefined, name: string | undefined, row: PodRow | undefined): PodView {
    const space = this.#options.namespaces.get(namespace ?? 'default');
    return {
      namespace: name === undefined ? undefined : (namespace ?? 'default'),
      name,
      labels: row?.labels ?? {},
      annotations: row?.annotations ?? {},
      namespaceLabels: space?.labels ?? {},
      namespaceAnnotations: space?.annotations ?? {},
    };
  }

  #nothing(): AgentError {
    return new AgentError('pool-empty', 'this node has no pod CIDR and no pool to get one from', {
      field: 'spec.ipam',
      value: this.#options.node,
      hint: 'create a CiliumPodIPPool named default, or give the CiliumNode spec.ipam.podCIDRs',
    });
  }

  /** Which pool has nothing left, and what would help. */
  #empty(family: Family, { pools, why }: PoolChoice, cause: IpamError): AgentError {
    const { tables, known, pool, demand } = this.#options;
    const parts = pools.map((name) => {
      const what = name === STATIC ? "the node's podCIDRs" : `the pool ${name}`;
      if (name !== STATIC && tables.pools.initialized && !tables.pools.has(name)) {
        return `${what} does not exist`;
      }
      const own = pool
        .stats()
        .filter((each) => (each.pool ?? STATIC) === name && each.family === family);
      if (own.length === 0) return `${what} has given this node no ${family} CIDR yet`;
      const sum = (of: 'used' | 'quarantined' | 'claimed') =>
        own.reduce((total, each) => total + each[of], 0n);
      return `${what} has none left on this node (${own.map(({ prefix }) => prefix).join(', ')}: ${sum('used')} in use, ${sum('quarantined')} resting, ${sum('claimed')} kept for claims)`;
    });
    const asked = demand().find((row) => pools.includes(row.pool) && row.family === family);
    const operator = known()?.operatorError;
    const help = [
      ...(asked === undefined ? [] : [`${asked.needed} addresses are asked for`]),
      ...(operator === undefined ? [] : [`the operator says: ${operator}`]),
    ];
    return new AgentError(
      'pool-empty',
      [`no ${family} address for the pod (${why}): ${parts.join('; ')}`, ...help].join('; '),
      {
        field: family,
        value: pools.map((name) => (name === STATIC ? 'podCIDRs' : name)),
        hint:
          operator === undefined
            ? 'it heals by itself once the operator gives the node another CIDR or an address comes back'
            : 'give the pool another range, or stop pods that need no address',
        cause,
      },
    );
  }
}

const fromPool = (choices: Choices, pool: string, why: string): Choices =>
  Object.fromEntries(Object.keys(choices).map((family) => [family, { pools: [pool], why }]));

const isComing = ({ hostNetwork, terminating, phase }: PodRow): boolean =>
  !hostNetwork && !terminating && phase !== 'Succeeded' && phase !== 'Failed';

const nameOf = (owner: Owner, { podNamespace, podName }: PodReference): string =>
  podName === undefined ? `${owner.containerId}/${owner.ifname}` : podKey(podNamespace, podName);

export function refusal(cause: IpamError): AgentError {
  const { message, field, value, hint } = cause;
  return new AgentError('pool-empty', message, { field, value, hint, cause });
}
