import { Address, type Family, Prefix } from '@causeway/ip';
import {
  type Claim,
  type ClaimOwner,
  type ClaimPlace,
  type ClaimRefusal,
  type ClaimStep,
  IpamError,
  ownerText,
  standbyClaim,
  takeClaim,
} from '@causeway/ipam';
import { hash32 } from '@causeway/wire';
import { type NodeTable, nodeKey } from '../cluster/tables.ts';
import type { NodeAddressPool } from '../endpoints/pool.ts';
import type { Allocation, Owner } from '../endpoints/ports.ts';
import { type EndpointTable, podText } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import { type PodTable, podKey } from '../sources/pods.ts';
import type { ClaimChange, ClaimStore } from './claims.ts';
import type { FixedWish, HandOverWish } from './wish.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;
/** Pods that share a workload's addresses try to take the same one at the same time. */
const TRIES = 64;

/** How an endpoint is named in a claim. */
export const holderOf = ({ containerId, ifname }: Owner): string => `${containerId}/${ifname}`;

export interface FixedOptions {
  readonly node: string;
  readonly cluster: string;
  readonly pool: NodeAddressPool;
  readonly claims: ClaimStore;
  readonly pods: PodTable;
  readonly endpoints: EndpointTable;
  readonly nodes: NodeTable;
  /** The node's pod CIDRs that hold the address. */
  readonly covers: (address: Address) => boolean;
  readonly connected: () => boolean;
}

/** Any address of each family from where the pod's addresses come. */
export type GiveAny = (families: readonly Family[]) => Allocation;

/**
 * Addresses that stay, at the moment in which their pod comes to this node: made when there is none yet, taken along
 * when the pod was elsewhere, made ready in silence for the hand-over of a running machine. The record in the store
 * decides; an address is given here only once it says so.
 */
export class FixedAddresses {
  readonly #options: FixedOptions;
  /** Endpoints whose claims are written before there is a row for them. */
  readonly #taking = new Set<string>();

  constructor(options: FixedOptions) {
    this.#options = options;
  }

  isTaking(holder: string): boolean {
    return this.#taking.has(holder);
  }

  /** @throws AgentError saying who has the address, or what is to be done. */
  async take(
    owner: Owner,
    wish: FixedWish,
    families: readonly Family[],
    any: GiveAny,
  ): Promise<Allocation> {
    const to: ClaimPlace = { node: this.#options.node, holder: holderOf(owner) };
    this.#taking.add(to.holder);
    try {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        const who = this.#ownerOf(wish, to);
        const given = await this.#takeAs(owner, who, wish, families, any, to);
        if (given !== undefined) return given;
      }
      throw new AgentError('busy', `the addresses of ${wish.why} are taken all the time`, {
        field: 'AddressReservation',
        value: wish.reservation,
        hint: 'try again',
      });
    } finally {
      this.#taking.delete(to.holder);
    }
  }

  /** A second endpoint with the addresses of a pod elsewhere, silent until the switch. */
  async standBy(owner: Owner, wish: HandOverWish): Promise<Allocation> {
    const { claims, pods, pool, node } = this.#options;
    const key = podKey(wish.namespace, wish.from);
    const addresses = new Set<string>(pods.get(key)?.addresses ?? []);
    const found = Array.from(claims.table.rows(), ({ claim }) => claim).filter(
      // Addresses in a pod's status are what somebody wrote there: they lead to nothing of another namespace.
      (claim) =>
        claim.owner.namespace === wish.namespace &&
        (addresses.has(claim.address) ||
          (claim.owner.type === 'pod' && claim.owner.pod === wish.from)),
    );
    if (found.length === 0) {
      throw new AgentError('address-unknown', `nothing is kept for the pod ${key}`, {
        field: 'causeway.io/migrating-from',
        value: wish.from,
        hint: 'start the machine with causeway.io/fixed-address before it is moved',
      });
    }
    const at = { node, holder: holderOf(owner) };
    this.#taking.add(at.holder);
    try {
      const outcome = await claims.change(
        found.map(({ address, owner: whose }) => ({
          address,
          step: (claim) => standbyClaim(claim, whose, at),
        })),
      );
      if (outcome.type === 'refused') throw refusedClaim(outcome);
      return { ...this.#give(pool, owner, found), standby: true };
    } finally {
      this.#taking.delete(at.holder);
    }
  }

  /** Undefined: another was faster; look again. */
  async #takeAs(
    owner: Owner,
    who: ClaimOwner,
    wish: FixedWish,
    families: readonly Family[],
    any: GiveAny,
    to: ClaimPlace,
  ): Promise<Allocation | undefined> {
    const { claims, pool } = this.#options;
    const had = new Map<Family, Address>();
    for (const { claim } of claims.table.by('owner', ownerText(who)))
      had.set(Address.family(claim.address), claim.address);
    const meant = new Map<Family, Address>();
    const fresh: Family[] = [];
    for (const family of FAMILIES) {
      const own = had.get(family);
      const named = wish.addresses[family];
      if (own !== undefined && named !== undefined && own !== named) {
        throw new AgentError('address-held', `${ownerText(who)} has ${own} already, not ${named}`, {
          field: 'causeway.io/addresses',
          value: named,
          hint: `stop the pod and end the claim of ${own}, or ask for that one`,
        });
      }
      const address = own ?? named;
      if (address !== undefined) {
        if (own === undefined) this.#assertOurs(address, wish);
        meant.set(family, address);
      } else if (families.includes(family)) fresh.push(family);
    }
    for (const address of meant.values()) this.#assertFree(address, owner);
    this.#assertKnown(who);

    // What is not meant by name is given first: the claim that is then made is of an address that nobody has.
    const given = fresh.length === 0 ? undefined : any(fresh);
    for (const family of fresh) {
      const address = given?.addresses[family];
      if (address !== undefined) meant.set(family, address);
    }
    const all = [...meant.values()];
    const shared = wish.owner.type === 'any-of';
    const changes = all.map((address): ClaimChange => {
      const partner = all.find((other) => other !== address) ?? null;
      const home = this.#options.covers(address) ? to.node : null;
      const { reservation = null } = wish;
      // What a reservation names stays as long as that does; what a pod names, for its time.
      const named = reservation !== null && wish.addresses[Address.family(address)] === address;
      const ttlSeconds = named ? null : wish.ttlSeconds;
      const claim = { address, owner: who, partner, home, ttlSeconds, reservation };
      return { address, step: (before) => takeOne(before, claim, to, shared) };
    });
    try {
      const refused = await this.#claim(changes);
      if (refused === 'taken') {
        if (given !== undefined) pool.release(owner);
        return undefined;
      }
      return this.#give(
        pool,
        owner,
        all.map((address) => ({ address })),
      );
    } catch (error) {
      if (given !== undefined) pool.release(owner);
      throw error;
    }
  }

  /** Writes the claims, or remembers them for when the store is back: the node alone gives of its own CIDRs. */
  async #claim(changes: readonly ClaimChange[]): Promise<'done' | 'taken'> {
    const { claims, connected } = this.#options;
    if (connected()) {
      const outcome = await claims.change(changes);
      if (outcome.type !== 'refused') return 'done';
      if (outcome.code === 'claim-in-use') return 'taken';
      throw refusedClaim(outcome);
    }
    const rows = changes.map(({ address, step }) => {
      const row = claims.table.get(address);
      return { row, step: step(row?.claim) };
    });
    for (const { row, step } of rows) {
      if (step.type === 'refused') throw refusedClaim(step);
      const moves = row !== undefined && row.claim.at !== this.#options.node;
      const foreign = step.type === 'write' && row === undefined && step.claim.home === null;
      if (!moves && !foreign) continue;
      const where = moves ? ` is with ${row.claim.at ?? 'nobody'}` : ' is in no CIDR of this node';
      throw new AgentError('store-unavailable', `the store is away, and the address${where}`, {
        field: 'etcd.endpoints',
        hint: 'it goes on by itself once the store answers',
      });
    }
    for (const { step } of rows) if (step.type === 'write') claims.pend(step.claim);
    return 'done';
  }

  #give(
    pool: NodeAddressPool,
    owner: Owner,
    claims: readonly Pick<Claim, 'address'>[],
  ): Allocation {
    const request: Partial<Record<Family, { address: Address; claimed: true }>> = {};
    for (const { address } of claims) {
      request[Address.family(address)] = { address, claimed: true };
    }
    try {
      return pool.give(owner, request);
    } catch (cause) {
      if (!(cause instanceof IpamError)) throw cause;
      const { message, field, value, hint } = cause;
      throw new AgentError('address-in-use', message, { field, value, hint, cause });
    }
  }

  /**
   * For a workload whose pods bear no numbers: the number that this pod has, the first that nobody holds, or one of its
   * own, which two nodes do not draw at the same time.
   */
  #ownerOf({ owner }: FixedWish, to: ClaimPlace): ClaimOwner {
    if (owner.type !== 'any-of') return owner;
    const { namespace, kind, name } = owner.workload;
    const used = new Map<number, Claim>();
    for (const { claim } of this.#options.claims.table.rows()) {
      const its = claim.owner;
      if (its.type !== 'workload' || its.namespace !== namespace) continue;
      if (its.kind === kind && its.name === name) used.set(its.ordinal, claim);
    }
    const mine = [...used].find(([, { at, holder }]) => at === to.node && holder === to.holder);
    const free = [...used].filter(([, { holder }]) => holder === null).map(([ordinal]) => ordinal);
    let ordinal = mine?.[0] ?? (free.length > 0 ? Math.min(...free) : hash32(to.node + to.holder));
    while (mine === undefined && used.get(ordinal)?.holder != null) ordinal++;
    return { type: 'workload', namespace, kind, name, ordinal };
  }

  /** An address without a claim is this node's to give only if its CIDRs hold it. */
  #assertOurs(address: Address, wish: FixedWish): void {
    const { nodes, covers, claims, cluster, node } = this.#options;
    if (covers(address) || claims.table.has(address)) return;
    const refuse = (message: string, hint: string) =>
      new AgentError('address-outside', `${address} ${message}`, {
        field: wish.reservation === undefined ? 'causeway.io/addresses' : 'AddressReservation',
        value: address,
        hint,
      });
    for (const row of nodes.rows()) {
      if (nodeKey(row.cluster, row.name) === nodeKey(cluster, node)) continue;
      const cidr = row.podCIDRs.find((each) => Prefix.contains(each, address));
      if (cidr === undefined) continue;
      throw refuse(
        `is of ${cidr}, a pod CIDR of the node ${row.name}`,
        'name it in an AddressReservation: that node then keeps it for this pod, wherever it is',
      );
    }
    throw refuse(
      'is in no pod CIDR of any node',
      wish.reservation === undefined
        ? 'name it in an AddressReservation, so that the operator keeps it'
        : 'the operator has not kept it yet; it says in the status of the AddressReservation why',
    );
  }

  #assertFree(address: Address, owner: Owner): void {
    const { pool, endpoints } = this.#options;
    if (pool.isReserved(address)) {
      throw new AgentError('address-outside', `${address} is its CIDR's own, such as its gateway`, {
        field: 'causeway.io/addresses',
        value: address,
        hint: 'ask for another address',
      });
    }
    const holder = pool.ownerOf(address);
    if (holder === undefined || holderOf(holder) === holderOf(owner)) return;
    const row = endpoints.first('attachment', holderOf(holder));
    const who = row === undefined ? `container ${holder.containerId}` : podText(row.record);
    throw new AgentError('address-in-use', `${address} is in use by ${who} on this node`, {
      field: 'causeway.io/addresses',
      value: address,
      hint: 'ask for another address, or stop that pod first',
    });
  }

  /** While the store is away, what is not known of an owner cannot be made up. */
  #assertKnown(who: ClaimOwner): void {
    const { claims, connected } = this.#options;
    if (connected() || claims.synced) return;
    const known = [...claims.table.by('owner', ownerText(who))];
    if (known.length > 0) return;
    throw new AgentError(
      'store-unavailable',
      `the store is away, and it is not known which address is kept for ${ownerText(who)}`,
      { field: 'etcd.endpoints', hint: 'it goes on by itself once the store answers' },
    );
  }
}

/** A number that another pod of the workload holds is not taken from it. */
function takeOne(
  before: Claim | undefined,
  wish: Parameters<typeof takeClaim>[1],
  to: ClaimPlace,
  shared: boolean,
): ClaimStep {
  const another = before?.holder != null && (before.at !== to.node || before.holder !== to.holder);
  if (shared && another) {
    return {
      type: 'refused',
      code: 'claim-in-use',
      message: `${wish.address} is another pod's of the same workload`,
      by: ownerText(wish.owner),
      hint: 'take the next one',
    };
  }
  return takeClaim(before, wish, to);
}

export function refusedClaim({ message, by, hint, code }: ClaimRefusal): AgentError {
  return new AgentError('address-held', message, { field: code, value: by, hint });
}
