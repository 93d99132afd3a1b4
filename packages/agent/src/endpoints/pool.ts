import type { Address, Family } from '@causeway/ip';
import { IpamError, type Lease, NodeIpam, type PodCidr, type PoolStats } from '@causeway/ipam';
import { AgentError } from '../errors.ts';
import type { AddressPool, Allocation, Owner } from './ports.ts';
import type { EndpointRecord } from './record.ts';

/** How long a released address rests: longer than connections and caches that still know it as the old pod's. */
const QUARANTINE_MS = 30_000;
/** What it rests at the least, where pods come and go faster than the node has addresses. */
const LEAST_REST_MS = 1_000;

/** The node's own IPAM with a clock, and its refusals in the agent's words. */
export class NodeAddressPool implements AddressPool {
  readonly #ipam: NodeIpam;
  readonly #families: readonly Family[];
  readonly #now: () => number;
  #cidrs: readonly PodCidr[] = [];

  constructor(families: readonly Family[], now: () => number) {
    this.#families = families;
    this.#now = now;
    this.#ipam = new NodeIpam({
      cidrs: [],
      quarantineMs: QUARANTINE_MS,
      leastRestMs: LEAST_REST_MS,
    });
  }

  get cidrs(): readonly PodCidr[] {
    return this.#cidrs;
  }

  /** @throws IpamError if the set cannot be; the old one then stays. */
  setCidrs(cidrs: readonly PodCidr[]): void {
    this.#ipam.setCidrs(cidrs, this.#now());
    this.#cidrs = cidrs;
  }

  stats(): PoolStats[] {
    return this.#ipam.stats(this.#now());
  }

  /** One address of each family for which the node has CIDRs. */
  allocate(owner: Owner): Allocation {
    const wanted: { ipv4?: 'any'; ipv6?: 'any' } = {};
    for (const family of this.#families) {
      if (this.#cidrs.some(({ prefix }) => prefix.includes(':') === (family === 'ipv6')))
        wanted[family] = 'any';
    }
    try {
      return allocationOf(this.#ipam.allocate(owner, wanted, this.#now()));
    } catch (cause) {
      if (!(cause instanceof IpamError)) throw cause;
      throw new AgentError('pool-empty', cause.message, {
        field: cause.field,
        value: cause.value,
        hint: cause.hint,
        cause,
      });
    }
  }

  release(owner: Owner): void {
    this.#ipam.release(owner, this.#now());
  }

  restore(records: readonly EndpointRecord[]): string[] {
    const leases = records
      .filter((record) => !record.chained)
      .map(({ containerId, ifname, addresses }) => ({
        owner: { containerId, ifname },
        ...(addresses.ipv4 === undefined ? {} : { ipv4: addresses.ipv4 }),
        ...(addresses.ipv6 === undefined ? {} : { ipv6: addresses.ipv6 }),
      }));
    return this.#ipam.restore(leases, this.#now()).map((conflict) => JSON.stringify(conflict));
  }
}

function allocationOf(lease: Lease): Allocation {
  const pick = (part: 'address' | 'gateway') => {
    const ipv4: Address | undefined = lease.ipv4?.[part];
    const ipv6: Address | undefined = lease.ipv6?.[part];
    return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
  };
  return { addresses: pick('address'), gateways: pick('gateway') };
}
