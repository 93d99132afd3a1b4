/** Operators and nodes over any store, for tests. */

import { type RecordStore, silentLog } from '@causeway/daemon';
import { type Kv, KvError, systemClock } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import {
  type CiliumNode,
  decodePodCidr,
  etcdStore,
  POD_CIDRS,
  type PodCidrRecord,
  ResourceError,
} from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import { operatorConfig } from '../src/config.ts';
import { KnownStore, type StoreMemory } from '../src/memory.ts';
import { Operator } from '../src/operator.ts';

/** Waits until the condition holds; throws with `what` after `limit` milliseconds. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limit = 120_000,
): Promise<void> {
  const end = Date.now() + limit;
  const holds = async (): Promise<boolean> => {
    try {
      return await condition();
    } catch (error) {
      // A store that is away, or slow on a busy machine, is asked again.
      if (error instanceof KvError && error.retryable) return false;
      throw error;
    }
  };
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${limit} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What an operator remembers over its restarts, without a disk. */
export function memoryRecords(): RecordStore<StoreMemory> {
  const records = new Map<string, StoreMemory>();
  return {
    write: async (name, value) => void records.set(name, value),
    remove: async (name) => void records.delete(name),
    load: () => ({ records: new Map(records), refused: [] }),
  };
}

export interface OperatorSettings {
  readonly name?: string;
  readonly ttlSeconds?: number;
  readonly nodeGoneSeconds?: number;
  readonly emptiedGraceSeconds?: number;
  readonly checkSeconds?: number;
  readonly records?: RecordStore<StoreMemory>;
  readonly clock?: Clock;
}

export function startOperator(kv: Kv, settings: OperatorSettings = {}): Operator {
  const config = operatorConfig.parse({
    name: settings.name ?? 'operator-1',
    election: { ttlSeconds: settings.ttlSeconds ?? 60 },
    podCidrs: {
      nodeGoneSeconds: settings.nodeGoneSeconds ?? 0,
      emptiedGraceSeconds: settings.emptiedGraceSeconds ?? 1,
    },
    claims: { checkSeconds: settings.checkSeconds ?? 1 },
  });
  return new Operator({
    config,
    kv,
    known: new KnownStore(settings.records ?? memoryRecords()),
    clock: settings.clock ?? systemClock,
    wall: Date.now,
    random: Math.random,
    log: silentLog,
  });
}

export const pool = (name: string, spec: object): object => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name },
  spec,
});

/** What an agent does to its CiliumNode, and nothing else. */
export class TestNode {
  readonly name: string;
  readonly #kv: Kv;

  constructor(kv: Kv, name: string) {
    this.#kv = kv;
    this.name = name;
  }

  /** Creates the CiliumNode if there is none, and changes its pools as an agent does: read, change, write. */
  async change(
    change: (pools: {
      requested: { pool: string; needed: { 'ipv4-addrs'?: number; 'ipv6-addrs'?: number } }[];
      allocated: { pool: string; cidrs: string[] }[];
    }) => void,
    labels: Record<string, string> = {},
  ): Promise<void> {
    const store = etcdStore(this.#kv);
    for (let attempt = 0; ; attempt++) {
      try {
        const found = await store.get('CiliumNode', { name: this.name }).catch((error) => {
          if (error instanceof ResourceError && error.code === 'not-found') return undefined;
          throw error;
        });
        const pools = structuredClone(found?.spec.ipam?.pools ?? {}) as never as {
          requested?: [];
          allocated?: [];
        };
        const next = { requested: pools.requested ?? [], allocated: pools.allocated ?? [] };
        change(next);
        const object = {
          ...(found ?? { apiVersion: 'cilium.io/v2', kind: 'CiliumNode' }),
          metadata: found?.metadata ?? { name: this.name, labels },
          spec: { ...found?.spec, ipam: { ...found?.spec.ipam, pools: next } },
        } as CiliumNode;
        if (found === undefined) await store.create(object);
        else await store.update(object);
        return;
      } catch (error) {
        const lost = error instanceof ResourceError && /conflict|already-exists/.test(error.code);
        const away = error instanceof KvError && error.retryable;
        if (!(lost || away) || attempt > 100) throw error;
      }
    }
  }

  ask(name: string, ipv4: number, ipv6 = 0, labels: Record<string, string> = {}): Promise<void> {
    return this.change((pools) => {
      pools.requested = pools.requested.filter((each) => each.pool !== name);
      pools.requested.push({ pool: name, needed: { 'ipv4-addrs': ipv4, 'ipv6-addrs': ipv6 } });
    }, labels);
  }

  giveBack(cidr: string): Promise<void> {
    return this.change((pools) => {
      for (const each of pools.allocated) {
        each.cidrs = each.cidrs.filter((one) => one !== cidr);
      }
    });
  }

  async allocated(): Promise<string[]> {
    const node = await etcdStore(this.#kv).get('CiliumNode', { name: this.name });
    return (node.spec.ipam?.pools?.allocated ?? []).flatMap(({ cidrs = [] }) => cidrs);
  }

  async error(): Promise<string> {
    const node = await etcdStore(this.#kv).get('CiliumNode', { name: this.name });
    return node.status?.ipam?.['operator-status']?.error ?? '';
  }
}

export async function records(kv: Kv): Promise<PodCidrRecord[]> {
  const { entries } = await kv.list(POD_CIDRS);
  return entries.map((entry) => {
    const record = decodePodCidr(entry);
    if (record === undefined) throw new Error(`unreadable record ${entry.key}`);
    return record;
  });
}

/**
 * What must hold at every moment: no two records overlap, and no two nodes have overlapping CIDRs that both have a
 * record for. Returns what is wrong.
 */
export async function breaches(kv: Kv): Promise<string[]> {
  const all = await records(kv);
  const found: string[] = [];
  const sorted = all.toSorted((a, b) => Prefix.compare(a.cidr, b.cidr));
  sorted.forEach((record, index) => {
    const next = sorted[index + 1];
    if (next !== undefined && Prefix.overlaps(record.cidr, next.cidr)) {
      found.push(`${record.cidr} of ${record.node} overlaps ${next.cidr} of ${next.node}`);
    }
  });
  return found;
}

/** What must hold once all is quiet: records and what nodes were told say the same. */
export async function disagreements(kv: Kv, nodes: readonly TestNode[]): Promise<string[]> {
  const found = await breaches(kv);
  const byCidr = new Map((await records(kv)).map(({ cidr, node }) => [cidr as string, node]));
  for (const node of nodes) {
    for (const cidr of await node.allocated()) {
      if (byCidr.get(cidr) !== node.name) found.push(`${node.name} has ${cidr} without a record`);
      byCidr.delete(cidr);
    }
  }
  for (const [cidr, node] of byCidr)
    found.push(`${cidr} stands for ${node}, which does not have it`);
  return found;
}
