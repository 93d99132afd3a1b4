import type { CallOptions, Kv } from '@causeway/etcd';
import type { Address, Family } from '@causeway/ip';
import { ResourceError } from './errors.ts';
import type { PlanContext } from './plan.ts';
import { PortClaims } from './port-claims.ts';
import type { Service } from './schema/service.ts';
import {
  pickAddress,
  planService,
  type ServiceCidrs,
  storedAddresses,
} from './service-addresses.ts';
import { storedNodePorts } from './service-ports.ts';
import type { ObjectRef } from './store.ts';
import { nameOf, objectName } from './validate.ts';
import {
  claimKey,
  claimOwner,
  NODE_PORT_CLAIMS,
  portClaimKey,
  SERVICE_IP_CLAIMS,
} from './writes.ts';

/** Single questions per plan before all claims are read. */
const MAX_GUESSES = 8;

export interface SettledService {
  readonly service: Service;
  /** Keys to be created, in the transaction that writes the service. */
  readonly taken: readonly string[];
  readonly released: readonly string[];
}

/** Chooses the addresses and node ports of the services of one plan, so that they do not meet each other either. */
export class ServiceClaims {
  readonly #context: PlanContext;
  readonly #options: CallOptions;
  readonly #chosen = new Set<string>();
  #cidrs: ServiceCidrs | undefined;
  #used: Set<string> | undefined;
  #guesses = 0;
  readonly #ports: PortClaims;

  constructor(context: PlanContext, options: CallOptions) {
    this.#context = context;
    this.#options = options;
    this.#ports = new PortClaims(context, options);
  }

  async settle(next: Service, stored: Service | undefined): Promise<SettledService> {
    this.#cidrs ??= await this.#context.serviceCidrs(this.#options);
    const what = nameOf(next);
    const plan = planService(next, stored, this.#cidrs);
    const addresses: Address[] = [];
    const taken: Address[] = [];
    for (const wish of plan.wishes) {
      const address =
        wish.type === 'any' ? await this.#free(wish.family, this.#cidrs, what) : wish.address;
      const mine =
        wish.type === 'kept' || (wish.type === 'explicit' && (await this.#owns(address, what)));
      if (!mine) taken.push(address);
      this.#chosen.add(address);
      this.#used?.add(address);
      addresses.push(address);
    }
    const ports = await this.#ports.settle(plan.finish(addresses), stored);
    return {
      service: ports.service,
      taken: [...taken.map(claimKey), ...ports.taken],
      released: [...plan.released.map(claimKey), ...ports.released],
    };
  }

  /**
   * A free address. Ranges are mostly empty, so that the first guesses are asked for one by one; only a
   * plan with many services, or bad luck, is worth reading all claims.
   */
  async #free(family: Family, cidrs: ServiceCidrs, what: string): Promise<Address> {
    const { kv, random } = this.#context;
    while (this.#used === undefined && this.#guesses++ < MAX_GUESSES) {
      const guess = pickAddress(family, cidrs, this.#chosen, random, what);
      if ((await kv.get(claimKey(guess), this.#options)) === undefined) return guess;
    }
    return pickAddress(family, cidrs, await this.#inUse(), random, what);
  }

  /** Whether the service's own claim stands already. Throws `address-taken` for another's. */
  async #owns(address: Address, what: string): Promise<boolean> {
    const entry = await this.#context.kv.get(claimKey(address), this.#options);
    if (entry === undefined && !this.#chosen.has(address)) return false;
    const owner = entry === undefined ? 'another Service of this manifest' : claimOwner(entry);
    if (owner === what) return true;
    throw new ResourceError(
      'address-taken',
      `${what}: spec.clusterIP ${address} is held by ${owner}`,
      { object: what, value: address, hint: 'leave spec.clusterIP out to be given a free one' },
    );
  }

  async #inUse(): Promise<Set<string>> {
    if (this.#used !== undefined) return this.#used;
    const used = new Set(this.#chosen);
    const pages = this.#context.kv.pages(SERVICE_IP_CLAIMS, { ...this.#options, keysOnly: true });
    for await (const { entries } of pages) {
      for (const { key } of entries) used.add(key.slice(SERVICE_IP_CLAIMS.length));
    }
    this.#used = used;
    return used;
  }
}

/** The claims' keys of a service; of one that cannot be read, those that name it as their owner. */
export async function claimsOf(
  kv: Kv,
  ref: ObjectRef,
  service: Service | undefined,
  options: CallOptions,
): Promise<string[]> {
  if (service !== undefined) {
    return [
      ...storedAddresses(service).map(claimKey),
      ...storedNodePorts(service).map(portClaimKey),
    ];
  }
  const what = objectName('Service', ref.namespace ?? 'default', ref.name);
  const keys: string[] = [];
  for (const prefix of [SERVICE_IP_CLAIMS, NODE_PORT_CLAIMS]) {
    for await (const { entries } of kv.pages(prefix, options)) {
      for (const entry of entries) if (claimOwner(entry) === what) keys.push(entry.key);
    }
  }
  return keys;
}
