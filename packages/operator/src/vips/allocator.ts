import type { Log } from '@causeway/daemon';
import { absent, type Compare, type Fence, type Kv, type TxnOperation } from '@causeway/etcd';
import { Address, Prefix } from '@causeway/ip';
import { planVips, type VipClaim, type VipPlan } from '@causeway/ipam';
import { ResourceError, type ResourceStore, type Service } from '@causeway/resources';
import { type Clock, deepEqual, Gate } from '@causeway/tables';
import type { OperatorConfig } from '../config.ts';
import { FENCED_OPS, fencedTxn } from '../fenced.ts';
import type { OperatorTables } from '../sources.ts';
import { decodeVip, encodeVip, VIPS, vipKey, vipOfKey } from './records.ts';
import { vipPoolConditions, vipServiceCondition } from './status.ts';
import { isOurs, vipWorld } from './world.ts';

/** Changes that come together are planned together. */
const GATHER_MS = 20;
const LOOK_MS = 2_000;

export interface VipAllocatorOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly fence: Fence;
  readonly tables: OperatorTables;
  readonly settings: OperatorConfig['loadBalancer'];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The leader's addresses for Services of type LoadBalancer (LB IPAM). What a service loses leaves its status before
 * the record goes, and what it is given has its record before it stands in the status: at no moment do two services
 * show an address that they do not share.
 */
export class VipAllocator implements Disposable {
  readonly #options: VipAllocatorOptions;
  readonly #wake = new Gate();
  readonly #undo: (() => void)[];
  /** Claims with the revision of their record. */
  readonly #claims = new Map<Address, { claim: VipClaim; revision: number }>();
  /** Addresses whose records say nothing that could be understood: somebody may have them. */
  readonly #unreadable = new Set<Address>();
  #plan: VipPlan | undefined;
  #dirty = true;
  #stale = false;

  constructor(options: VipAllocatorOptions) {
    this.#options = options;
    const { vipPools, services, nodes, serviceCidrs, pools } = options.tables;
    const wake = () => {
      this.#dirty = true;
      this.#wake.open();
    };
    this.#undo = [
      ...[vipPools, services, serviceCidrs, pools].map((table) => table.onCommit(wake)),
      // Nodes write often and seldom change an address: once in a while is enough for them.
      nodes.onCommit(() => {
        this.#stale = true;
      }),
    ];
  }

  /** Who has which address, and who has none and why, as last planned. */
  get plan(): VipPlan | undefined {
    return this.#plan;
  }

  /** Reads all records, then plans and writes until the signal aborts. Throws FenceLost, KvError. */
  async run(signal: AbortSignal, good: () => void): Promise<void> {
    const { clock } = this.#options;
    await this.#load(signal);
    while (!signal.aborted) {
      if (this.#dirty) {
        this.#dirty = false;
        if (!(await this.#round(signal))) {
          await this.#load(signal);
          this.#dirty = true;
        }
        good();
        await clock.sleep(GATHER_MS, signal);
        continue;
      }
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      await Promise.race([this.#wake.wait(either), clock.sleep(LOOK_MS, either)]);
      over.abort();
      if (this.#stale) this.#dirty = true;
      this.#stale = false;
    }
  }

  async #load(signal: AbortSignal): Promise<void> {
    const { kv, log } = this.#options;
    this.#claims.clear();
    this.#unreadable.clear();
    for await (const { entries } of kv.pages(VIPS, { signal })) {
      for (const entry of entries) {
        const claim = decodeVip(entry);
        if (claim === undefined) {
          log.error(
            { key: entry.key },
            'a record of a VIP cannot be read, and its address is given to nobody; delete the record',
          );
          const address = vipOfKey(entry.key);
          if (address !== undefined) this.#unreadable.add(address);
        } else this.#claims.set(claim.address, { claim, revision: entry.modRevision });
      }
    }
  }

  /** False when the records are not as they were known to be. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { tables, settings } = this.#options;
    const claims = Array.from(this.#claims.values(), ({ claim }) => claim);
    const world = vipWorld(tables, claims, settings);
    const unreadable = Array.from(this.#unreadable, (address) => ({
      cidr: Prefix.host(address),
      owner: 'a record that cannot be read',
    }));
    const plan = planVips({ ...world, reserved: [...world.reserved, ...unreadable] });
    this.#plan = plan;
    const refusals = Map.groupBy(plan.refusals, ({ service }) => service);
    const services = [...tables.services];
    // Addresses that a status goes on showing, for it cannot be written: their records stay as they are.
    const stuck = new Set<Address>();
    for (const service of services) {
      const has = plan.assignments.get(keyOf(service)) ?? [];
      const next = shownBy(service).filter((address) => has.includes(address));
      if (await this.#show(service, next, undefined, signal)) continue;
      for (const address of shownBy(service)) if (!has.includes(address)) stuck.add(address);
    }
    if (stuck.size > 0) this.#stale = true;
    if (!(await this.#write(plan, stuck, signal))) return false;
    for (const service of services) {
      const has = plan.assignments.get(keyOf(service)) ?? [];
      const shown = shownBy(service);
      const next = has.filter((address) => !stuck.has(address) || shown.includes(address));
      const condition =
        service.spec.type === 'LoadBalancer'
          ? vipServiceCondition(refusals.get(keyOf(service)) ?? [])
          : undefined;
      await this.#show(service, next, condition, signal);
    }
    await this.#showPools(plan, signal);
    return true;
  }

  async #write(
    { writes, deletes }: VipPlan,
    except: ReadonlySet<Address>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { kv, fence } = this.#options;
    const changes: {
      compare: Compare;
      operation: TxnOperation;
      address: Address;
      claim?: VipClaim;
    }[] = [];
    for (const address of deletes) {
      if (except.has(address)) continue;
      changes.push({
        address,
        compare: this.#unchanged(address),
        operation: { type: 'delete', key: vipKey(address) },
      });
    }
    for (const claim of writes) {
      const { address } = claim;
      if (except.has(address)) continue;
      changes.push({
        address,
        claim,
        compare: this.#unchanged(address),
        operation: { type: 'put', key: vipKey(address), value: encodeVip(claim) },
      });
    }
    for (let at = 0; at < changes.length; at += FENCED_OPS) {
      const part = changes.slice(at, at + FENCED_OPS);
      const done = await fencedTxn(
        kv,
        fence,
        part.map(({ compare }) => compare),
        part.map(({ operation }) => operation),
        signal,
      );
      if (!done) return false;
    }
    // The revisions that the records have now are read with them, and only when there were any writes.
    if (changes.length > 0) await this.#load(signal);
    return true;
  }

  #unchanged(address: Address): Compare {
    const known = this.#claims.get(address);
    const key = vipKey(address);
    if (known === undefined) return absent(key);
    return { type: 'mod', key, operator: '=', revision: known.revision };
  }

  /** Has the status show these addresses. False when it could not be written and may show others. */
  async #show(
    service: Service,
    next: readonly Address[],
    condition: ReturnType<typeof vipServiceCondition> | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { settings } = this.#options;
    // Of another controller's services nothing is ours to say.
    if (service.spec.type === 'LoadBalancer' && !isOurs(service, settings.classless)) return true;
    const { namespace, name } = service.metadata;
    const told = service.status?.conditions?.find(({ type }) => type === condition?.type);
    const isTold = condition === undefined || deepEqual(condition, told);
    if (isTold && deepEqual(next, shownBy(service))) return true;
    const others = service.status?.conditions?.filter(({ type }) => type !== condition?.type) ?? [];
    return this.#patch(
      'Service',
      { ...(namespace === undefined ? {} : { namespace }), name },
      {
        loadBalancer: { ingress: next.map((ip) => ({ ip, ipMode: 'VIP' })) },
        ...(condition === undefined ? {} : { conditions: [...others, condition] }),
      },
      signal,
    );
  }

  async #showPools({ pools }: VipPlan, signal: AbortSignal): Promise<void> {
    const { tables } = this.#options;
    for (const status of pools) {
      const pool = tables.vipPools.get(status.pool);
      if (pool === undefined) continue;
      const conditions = vipPoolConditions(status);
      const told = pool.status?.conditions?.map(({ lastTransitionTime: _, ...rest }) => rest);
      if (deepEqual(told, conditions)) continue;
      await this.#patch('CiliumLoadBalancerIPPool', { name: status.pool }, { conditions }, signal);
    }
  }

  async #patch(
    kind: 'Service' | 'CiliumLoadBalancerIPPool',
    ref: { namespace?: string; name: string },
    status: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.#options.store.patchStatus(kind, ref, status, { signal });
      return true;
    } catch (error) {
      // Gone meanwhile, or no longer valid: its next version is looked at again.
      if (!(error instanceof ResourceError)) throw error;
      if (error.code === 'not-found') return true;
      this.#options.log.warn({ kind, ...ref, error: error.message }, 'a status cannot be written');
      return false;
    }
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) undo();
  }
}

const keyOf = ({ metadata }: Service): string => `${metadata.namespace}/${metadata.name}`;

const shownBy = ({ status }: Service): Address[] =>
  (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) =>
    ip === undefined ? [] : (Address.tryParse(ip) ?? []),
  );
