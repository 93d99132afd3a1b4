import { Address, type Family } from '@causeway/ip';
import {
  type AddressRequest,
  type CidrChange,
  type IpamError,
  type Lease,
  layout,
  NodeIpam,
  type PodCidr,
  type PoolStats,
} from '@causeway/ipam';
import { Gate } from '@causeway/tables';
import { AgentError } from '../errors.ts';
import type { AddressPool, Allocation, Owner } from './ports.ts';
import type { EndpointRecord } from './record.ts';

/** How long a released address rests where nothing else is said. */
const QUARANTINE_MS = 30_000;
/** What it rests at the least, where pods come and go faster than the node has addresses. */
const LEAST_REST_MS = 1_000;
/** Growth is judged by what was given in this time. */
const RECENT_MS = 5_000;

/** What pods take for their gateway where the node has none of the family: the programs answer for any. */
const ANY_GATEWAY = {
  ipv4: Address.parse('169.254.1.1'),
  ipv6: Address.parse('fe80::1'),
} as const;

/** The node's own IPAM with a clock. */
export class NodeAddressPool implements AddressPool {
  readonly #ipam: NodeIpam;
  readonly #families: readonly Family[];
  readonly #now: () => number;
  readonly #recent = new Map<string, number[]>();
  readonly #changed = new Gate();
  readonly #listeners = new Set<() => void>();
  #cidrs: readonly PodCidr[] = [];

  constructor(families: readonly Family[], now: () => number, quarantineMs = QUARANTINE_MS) {
    this.#families = families;
    this.#now = now;
    this.#ipam = new NodeIpam({
      cidrs: [],
      quarantineMs,
      leastRestMs: LEAST_REST_MS,
    });
  }

  get cidrs(): readonly PodCidr[] {
    return this.#cidrs;
  }

  /** @throws IpamError if the set cannot be; the old one then stays. */
  setCidrs(cidrs: readonly PodCidr[]): CidrChange {
    const change = this.#ipam.setCidrs(cidrs, this.#now());
    this.#cidrs = cidrs;
    this.#changed.open();
    return change;
  }

  stats(): PoolStats[] {
    return this.#ipam.stats(this.#now());
  }

  /** Opened when there may be an address where there was none. */
  get changed(): Gate {
    return this.#changed;
  }

  /** Called after each address that is given or comes back. */
  onUse(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** How many addresses of a pool were given a moment ago. */
  recent(pool: string, family: Family): number {
    const times = this.#recent.get(`${pool} ${family}`);
    if (times === undefined) return 0;
    this.#forgetOld(times);
    return times.length;
  }

  /** Moments of giving that are still remembered, of all pools; for tests. */
  get remembered(): number {
    return [...this.#recent.values()].reduce((sum, { length }) => sum + length, 0);
  }

  #forgetOld(times: number[]): void {
    const since = this.#now() - RECENT_MS;
    const kept = times.findIndex((time) => time >= since);
    times.splice(0, kept < 0 ? times.length : kept);
  }

  /** One address of each family for which the node has CIDRs. @throws AgentError `pool-empty`. */
  allocate(owner: Owner): Allocation {
    const wanted: { ipv4?: 'any'; ipv6?: 'any' } = {};
    for (const family of this.#families) {
      if (this.#cidrs.some(({ prefix }) => prefix.includes(':') === (family === 'ipv6')))
        wanted[family] = 'any';
    }
    try {
      return this.give(owner, wanted);
    } catch (cause) {
      const { message, field, value, hint } = cause as IpamError;
      throw new AgentError('pool-empty', message, { field, value, hint, cause });
    }
  }

  /** What is asked for, or nothing. @throws IpamError. */
  give(owner: Owner, request: AddressRequest): Allocation {
    const had = this.#ipam.lookup(owner);
    const lease = this.#ipam.allocate(owner, request, this.#now());
    for (const family of ['ipv4', 'ipv6'] as const) {
      const part = lease[family];
      if (part === undefined || had?.[family] !== undefined) continue;
      const key = `${part.pool ?? ''} ${family}`;
      const times = this.#recent.get(key) ?? [];
      // Nobody asks about the node's own podCIDRs: what is old goes here.
      this.#forgetOld(times);
      times.push(this.#now());
      this.#recent.set(key, times);
    }
    this.#used();
    return this.#allocationOf(lease);
  }

  release(owner: Owner): void {
    if (this.#ipam.release(owner, this.#now()) === undefined) return;
    this.#changed.open();
    this.#used();
  }

  /** The address is no pod's to have: its CIDR's gateway, network or broadcast address. */
  isReserved(address: Address): boolean {
    return this.#cidrs.some(({ prefix }) => {
      const { offsetOf, reserved } = layout(prefix);
      const offset = offsetOf(address);
      return offset !== undefined && reserved.includes(offset);
    });
  }

  ownerOf(address: Address): Owner | undefined {
    return this.#ipam.ownerOf(address);
  }

  /** Keeps exactly these addresses for those who have a claim on them. */
  keep(addresses: ReadonlySet<Address>): void {
    const before = [...this.#ipam.claimed];
    for (const address of before) if (!addresses.has(address)) this.#ipam.unclaim(address);
    for (const address of addresses)
      if (!this.#ipam.claimed.has(address)) this.#ipam.claim(address);
  }

  restore(records: readonly EndpointRecord[]): string[] {
    const leases = records
      .filter((record) => !record.chained)
      .map(({ containerId, ifname, addresses }) => ({
        owner: { containerId, ifname },
        ...(addresses.ipv4 === undefined ? {} : { ipv4: addresses.ipv4 }),
        ...(addresses.ipv6 === undefined ? {} : { ipv6: addresses.ipv6 }),
      }));
    const conflicts = this.#ipam.restore(leases, this.#now());
    this.#used();
    return conflicts.map((conflict) => JSON.stringify(conflict));
  }

  #used(): void {
    for (const listener of this.#listeners) listener();
  }

  #allocationOf(lease: Lease): Allocation {
    const addresses: { ipv4?: Address; ipv6?: Address } = {};
    const gateways: { ipv4?: Address; ipv6?: Address } = {};
    for (const family of ['ipv4', 'ipv6'] as const) {
      const part = lease[family];
      if (part === undefined) continue;
      addresses[family] = part.address;
      // An address that came with its pod lies in no CIDR of this node.
      gateways[family] = part.gateway ?? this.#gateway(family);
    }
    return { addresses, gateways };
  }

  #gateway(family: Family): Address {
    const first = this.stats().find((each) => each.family === family && each.state !== 'leaving');
    return first?.gateway ?? ANY_GATEWAY[family];
  }
}
