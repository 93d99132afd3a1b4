import { Address, type Family } from '@causeway/ip';
import { whyNotShared } from './sharing.ts';
import { selects, VipSpace } from './space.ts';
import type { VipClaim, VipPlan, VipRefusal, VipService, VipWorld } from './types.ts';

/** Services of one address: their names are one record, and etcd takes no value of more than 1.5 MiB. */
export const MAX_SHARERS = 1_000;

const keyOf = ({ namespace, name }: VipService): string => `${namespace}/${name}`;

/**
 * Which service has which addresses. What a service has it keeps, whatever happens to pools and to other services,
 * as long as some pool that selects it holds the address, it does not ask for other addresses, and the address is
 * not somebody else's. Then those that ask for addresses by name are served, then the rest, each in order of name.
 * The same world gives the same plan.
 */
export function planVips(world: VipWorld): VipPlan {
  return new Planning(world).run();
}

class Planning {
  readonly #world: VipWorld;
  readonly #space: VipSpace;
  readonly #services: ReadonlyMap<string, VipService>;
  /** Services by address, the one that had it first before those that came to share it. */
  readonly #users = new Map<Address, string[]>();
  readonly #given = new Map<string, Address[]>();
  readonly #bySharingKey = new Map<string, Set<Address>>();
  readonly #refusals: VipRefusal[] = [];

  constructor(world: VipWorld) {
    this.#world = world;
    this.#space = new VipSpace(world.pools, world.reserved);
    const sorted = world.services.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    this.#services = new Map(sorted.map((service) => [keyOf(service), service]));
  }

  run(): VipPlan {
    const { claims } = this.#world;
    for (const claim of claims.toSorted((a, b) => Address.compare(a.address, b.address))) {
      for (const key of claim.services) this.#keep(key, claim.address);
    }
    for (const service of this.#services.values()) {
      if (service.requested.length > 0) this.#giveRequested(service);
    }
    for (const service of this.#services.values()) {
      if (service.requested.length === 0) this.#giveAny(service);
    }
    const wanted = new Map(Array.from(this.#users, ([at, keys]) => [at, this.#claim(at, keys)]));
    const before = new Map(claims.map((claim) => [claim.address, claim]));
    return {
      assignments: new Map(
        Array.from(this.#services, ([key, service]) => [key, this.#ordered(key, service)]),
      ),
      writes: [...wanted.values()].filter((claim) => !sameClaim(before.get(claim.address), claim)),
      deletes: [...before.keys()].filter((address) => !wanted.has(address)),
      refusals: this.#refusals,
      pools: this.#space.status(this.#users.keys()),
    };
  }

  #keep(key: string, address: Address): void {
    const service = this.#services.get(key);
    if (service === undefined) return;
    const family = Address.family(address);
    const asked = service.requested.length === 0 || service.requested.includes(address);
    if (!asked || (service.requested.length === 0 && !this.#lacks(service, family))) return;
    if (this.#whyNot(service, address, true) === undefined) this.#use(key, address);
  }

  #giveRequested(service: VipService): void {
    const key = keyOf(service);
    for (const address of service.requested) {
      if (this.#given.get(key)?.includes(address)) continue;
      const refusal = this.#whyNot(service, address, false);
      if (refusal === undefined) this.#use(key, address);
      else this.#refusals.push(refusal);
    }
  }

  #giveAny(service: VipService): void {
    const key = keyOf(service);
    const failed: VipRefusal[] = [];
    for (const family of service.families) {
      if (!this.#lacks(service, family)) continue;
      const pools = this.#space.serving(service, family);
      const address = this.#shared(service, family) ?? this.#free(pools, family);
      if (address !== undefined) {
        this.#use(key, address);
        continue;
      }
      const none = pools.length === 0;
      const names = pools.map((pool) => pool.name).join(', ');
      failed.push({
        service: key,
        family,
        address: undefined,
        code: none ? 'no-pool' : 'pools-full',
        message: none
          ? `no enabled pool with ${family} addresses selects ${key}`
          : `no ${family} address is left in ${names}: add a block to one of them`,
      });
    }
    const rest = service.preferDual && (this.#given.get(key)?.length ?? 0) > 0;
    if (!rest) this.#refusals.push(...failed);
  }

  #lacks(service: VipService, family: Family): boolean {
    const given = this.#given.get(keyOf(service)) ?? [];
    return (
      service.families.includes(family) && !given.some((one) => Address.family(one) === family)
    );
  }

  /** An address of services with the same sharing key that this one fits beside. */
  #shared(service: VipService, family: Family): Address | undefined {
    if (service.sharingKey === undefined) return undefined;
    for (const address of this.#bySharingKey.get(service.sharingKey) ?? []) {
      if (Address.family(address) !== family) continue;
      if (this.#whyNot(service, address, false) === undefined) return address;
    }
    return undefined;
  }

  #free(pools: VipWorld['pools'], family: Family): Address | undefined {
    for (const pool of pools) {
      const address = this.#space.free(pool, family, this.#users);
      if (address !== undefined) return address;
    }
    return undefined;
  }

  /** Why the service cannot have the address. `has`: it has it now, and pools that give nothing new let it keep it. */
  #whyNot(service: VipService, address: Address, has: boolean): VipRefusal | undefined {
    const key = keyOf(service);
    const refuse = (code: VipRefusal['code'], message: string): VipRefusal => ({
      service: key,
      family: Address.family(address),
      address,
      code,
      message,
    });
    const owner = this.#space.reservedBy(address);
    if (owner !== undefined) return refuse('reserved', `${address} belongs to ${owner}`);
    const pools = this.#space.around(address);
    if (pools.length === 0) return refuse('outside-pools', `${address} is in no pool`);
    const names = pools.map((pool) => pool.name).join(', ');
    const fitting = pools.filter((pool) => selects(pool, service));
    if (fitting.length === 0) {
      return refuse(
        'pool-not-selecting',
        `${address} is of ${names}, which does not select ${key}`,
      );
    }
    const users = this.#users.get(address) ?? [];
    if (users.length >= MAX_SHARERS && !users.includes(key)) {
      return refuse('not-shareable', `${address} has ${users.length} services, and takes no more`);
    }
    if (!has && users.length === 0 && !fitting.some((pool) => this.#space.gives(pool))) {
      return refuse('pools-full', `${address} is of ${names}, which gives nothing new`);
    }
    for (const user of users) {
      const other = this.#services.get(user);
      const why = other === undefined || user === key ? undefined : whyNotShared(service, other);
      if (why === undefined) continue;
      const isShared = service.sharingKey !== undefined && other?.sharingKey !== undefined;
      const message = `${address} is ${user}'s${isShared ? `, and ${why}` : ''}`;
      return refuse(isShared ? 'not-shareable' : 'taken', message);
    }
    return undefined;
  }

  #use(key: string, address: Address): void {
    const users = this.#users.get(address);
    if (users === undefined) this.#users.set(address, [key]);
    else if (!users.includes(key)) users.push(key);
    const given = this.#given.get(key);
    if (given === undefined) this.#given.set(key, [address]);
    else if (!given.includes(address)) given.push(address);
    const sharingKey = this.#services.get(key)?.sharingKey;
    if (sharingKey === undefined) return;
    const shared = this.#bySharingKey.get(sharingKey);
    if (shared === undefined) this.#bySharingKey.set(sharingKey, new Set([address]));
    else shared.add(address);
  }

  #claim(address: Address, services: readonly string[]): VipClaim {
    const [first] = services;
    const service = first === undefined ? undefined : this.#services.get(first);
    const pools = this.#space.around(address);
    const pool = pools.find((one) => service !== undefined && selects(one, service)) ?? pools[0];
    return {
      address,
      pool: pool?.name ?? null,
      services,
      sharingKey: service?.sharingKey ?? null,
    };
  }

  #ordered(key: string, service: VipService): Address[] {
    const rank = (address: Address) => {
      const at = service.families.indexOf(Address.family(address));
      return at === -1 ? service.families.length : at;
    };
    return (this.#given.get(key) ?? []).toSorted((a, b) => rank(a) - rank(b));
  }
}

function sameClaim(a: VipClaim | undefined, b: VipClaim): boolean {
  return (
    a !== undefined &&
    a.pool === b.pool &&
    a.sharingKey === b.sharingKey &&
    a.services.length === b.services.length &&
    a.services.every((service, index) => service === b.services[index])
  );
}
