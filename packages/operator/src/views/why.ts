import { Address, Prefix } from '@causeway/ip';
import { ownerText, rangeText } from '@causeway/ipam';
import { blocksOf, rangesOf } from '@causeway/resources';
import { stateOf } from '../claims/show.ts';
import { podName, podsIn, type World } from './world.ts';

/** Everything that is known about one address. */
export interface AddressReport {
  readonly address: string;
  /** In a sentence: whose it is. */
  readonly summary: string;
  /** Each thing that has to do with it, the closest first. */
  readonly facts: readonly string[];
}

export function whyAddress(world: World, address: Address): AddressReport {
  const facts: string[] = [];
  const contains = (cidr: Prefix): boolean => Prefix.contains(cidr, address);
  for (const pod of podsIn(world, (each) => each === address)) {
    facts.push(`pod ${podName(pod)}${pod.node === undefined ? '' : ` on ${pod.node}`} has it`);
  }
  for (const claim of world.claims) {
    if (claim.address !== address) continue;
    const { at, home, holder, releasedAt, ttlSeconds, reservation, standby, epoch } = claim;
    facts.push(
      `it is kept for ${ownerText(claim.owner)} (${stateOf(claim)}, epoch ${epoch})${at === null ? '' : `; its endpoint ${holder === null ? 'was' : 'is'} on ${at}`}`,
    );
    if (home !== null && home !== at)
      facts.push(`its home is ${home}, whose CIDR holds it and keeps it from others`);
    if (standby !== null) facts.push(`a second endpoint waits on ${standby.node}`);
    if (reservation !== null) facts.push(`AddressReservation ${reservation} asks for it`);
    if (releasedAt !== null) {
      const after = ttlSeconds === null ? 'for ever' : `${ttlSeconds} s`;
      facts.push(`released at ${new Date(releasedAt).toISOString()}; kept ${after} after that`);
    }
  }
  for (const { address: vip, services, pool } of world.vips) {
    if (vip === address)
      facts.push(`it is the VIP of ${services.join(', ')}, from pool ${pool ?? '(none)'}`);
  }
  for (const { address: ip, owner } of world.serviceIps) {
    if (ip === address) facts.push(`it is a cluster IP of ${owner}`);
  }
  for (const node of world.nodes) {
    if (node.addresses.includes(address)) facts.push(`it is an address of node ${node.name}`);
    for (const cidr of node.podCidrs.filter(contains)) {
      facts.push(`${cidr} is a pod CIDR of node ${node.name} by its spec.ipam.podCIDRs`);
    }
  }
  for (const { cidr, node, pool, since, state } of world.records) {
    if (contains(cidr))
      facts.push(`${cidr} of pool ${pool} was ${state} to node ${node} at ${since}`);
  }
  for (const pool of world.pools) {
    const { name } = pool.metadata;
    for (const { cidr } of rangesOf(pool).filter((range) => contains(range.cidr))) {
      const closed = world.options
        .get(name)
        ?.spec.closed?.some((text) => contains(Prefix.parse(text, { hostBits: 'clear' })));
      facts.push(`${cidr} is a range of CiliumPodIPPool ${name}${closed ? ', closed there' : ''}`);
    }
  }
  const number = Address.toBigInt(address);
  for (const pool of world.vipPools) {
    for (const { first, last } of blocksOf(pool)) {
      if (Address.family(first) !== Address.family(address)) continue;
      if (number < Address.toBigInt(first) || number > Address.toBigInt(last)) continue;
      facts.push(
        `${first} to ${last} is a block of CiliumLoadBalancerIPPool ${pool.metadata.name}`,
      );
    }
  }
  for (const plan of world.plans) {
    for (const range of rangesOf(plan).filter(({ cidr }) => contains(cidr))) {
      facts.push(`the plan says ${rangeText(range)}`);
    }
  }
  for (const cidrs of world.serviceCidrs) {
    for (const { cidr } of rangesOf(cidrs).filter((range) => contains(range.cidr))) {
      facts.push(`${cidr} is ServiceCIDR ${cidrs.metadata.name}`);
    }
  }
  const [first] = facts;
  return {
    address,
    summary: first === undefined ? `nothing in this cluster has to do with ${address}` : first,
    facts,
  };
}
