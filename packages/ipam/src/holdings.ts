import type { Address, Family } from '@causeway/ip';
import type { Owner } from './owner.ts';
import type { Pool } from './pool.ts';
import type { Lease, LeasedAddress } from './types.ts';

/** An address that somebody has. */
export interface Held {
  readonly address: Address;
  /** Missing for an address that no CIDR of the node holds. */
  readonly at: { readonly pool: Pool; readonly offset: bigint } | undefined;
}

export interface Holding {
  readonly owner: Owner;
  readonly held: Map<Family, Held>;
}

/** Who has which address, found from both sides. */
export class Holdings {
  readonly #byOwner = new Map<string, Holding>();
  readonly #byAddress = new Map<Address, Holding>();

  get size(): number {
    return this.#byOwner.size;
  }

  [Symbol.iterator](): Iterator<Holding> {
    return this.#byOwner.values();
  }

  of(key: string): Holding | undefined {
    return this.#byOwner.get(key);
  }

  at(address: Address): Holding | undefined {
    return this.#byAddress.get(address);
  }

  add(key: string, owner: Owner, family: Family, held: Held): void {
    let holding = this.#byOwner.get(key);
    if (holding === undefined) {
      holding = {
        owner: { containerId: owner.containerId, ifname: owner.ifname },
        held: new Map(),
      };
      this.#byOwner.set(key, holding);
    }
    holding.held.set(family, held);
    this.#byAddress.set(held.address, holding);
  }

  delete(key: string): void {
    const holding = this.#byOwner.get(key);
    if (holding === undefined) return;
    for (const { address } of holding.held.values()) this.#byAddress.delete(address);
    this.#byOwner.delete(key);
  }

  /** The used addresses of a pool. */
  *in(pool: Pool): Generator<Address> {
    for (const holding of this) {
      for (const { address, at } of holding.held.values()) {
        if (at?.pool === pool) yield address;
      }
    }
  }
}

export function leaseOf({ owner, held }: Holding): Lease {
  const of = (family: Family): LeasedAddress | undefined => {
    const one = held.get(family);
    if (one === undefined) return undefined;
    if (one.at === undefined) return { address: one.address };
    const { pool } = one.at;
    const { prefix, gateway } = pool.layout;
    return {
      address: one.address,
      prefix,
      gateway,
      ...(pool.name === undefined ? {} : { pool: pool.name }),
      ...(pool.usable ? {} : { early: true as const }),
    };
  };
  const ipv4 = of('ipv4');
  const ipv6 = of('ipv6');
  return {
    owner,
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
  };
}
