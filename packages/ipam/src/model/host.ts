import { Address, Prefix } from '@causeway/ip';
import { IpamError } from '../errors.ts';
import { NodeIpam } from '../ipam.ts';
import { FIRST_PHASE, ordersOf, stepBlock } from '../node/block-life.ts';
import type { BlockFacts } from '../node/types.ts';
import { type Host, overlaps, putNode, type State, same, sorted, type World } from './state.ts';

/** What an agent does, with the package's block life and IPAM. */

/** A broken promise of the world, found while it moved. */
export class Violation extends Error {}

/** How long addresses rest; the world's time stands still but for `rest`, which ends all of it. */
const QUARANTINE_MS = 1_000;

export function syncObject(state: State, index: number): boolean {
  const { store } = state;
  const host = state.hosts[index] as Host;
  const before = { ...host };
  host.object = { ...(store.nodes[index] as Host['object']), fresh: true };
  host.recorded = store.records.filter(([, node]) => node === index).map(([cidr]) => cidr);
  host.closed = store.closed;
  const known = [...host.blocks.map(({ cidr }) => cidr), ...host.object.allocated];
  host.taken = sorted(known).filter((cidr) =>
    store.records.some(([other, node]) => node !== index && overlaps(cidr, other)),
  );
  // The claims' watch is behind unless it shows what there is.
  host.claimsKnown = same(host.claims, store.claims);
  return !same(before, host);
}

export function syncClaims(state: State, index: number): boolean {
  const host = state.hosts[index] as Host;
  if (host.claimsKnown && same(host.claims, state.store.claims)) return false;
  host.claims = state.store.claims;
  host.claimsKnown = true;
  return true;
}

function factsOf(world: World, host: Host, block: Host['blocks'][number]): BlockFacts {
  const { cidr } = block;
  const inside = (address: string) => Prefix.contains(cidr, address as Address);
  const allocated = host.object.allocated.includes(cidr);
  return {
    allocated,
    recorded: host.recorded.includes(cidr) || (world.fault === 'use-unrecorded' && allocated),
    takenBy: host.taken.includes(cidr) && world.fault !== 'ignore-taken' ? 'another' : undefined,
    claimsKnown: host.claimsKnown || world.fault === 'use-claims-unknown',
    announced: host.announced.includes(cidr),
    drain: block.drain || host.closed.some((closed) => overlaps(closed, cidr)),
    empty:
      world.fault === 'give-back-in-use' ||
      !(host.pods.some(inside) || (host.resting.some(inside) && world.fault !== 'no-quarantine')),
  };
}

/** The agent brings its blocks to where they belong, as far as it knows. */
export function live(world: World, state: State, index: number): boolean {
  const host = state.hosts[index] as Host;
  const before = { ...host };
  const { ghost, store } = state;
  const ghosts = [ghost.unaware[index], ghost.forced[index]];
  const known = [...host.blocks];
  for (const cidr of host.object.allocated) {
    if (!known.some((block) => block.cidr === cidr)) {
      known.push({ cidr, phase: FIRST_PHASE, drain: false });
    }
  }
  const blocks: Host['blocks'] = [];
  for (const block of known) {
    let { phase } = block;
    for (let steps = 0; ; steps += 1) {
      if (steps > 8) throw new Violation(`${block.cidr} does not come to rest in ${phase}`);
      const step = stepBlock(phase, factsOf(world, host, block));
      if (step.orders.stop) stop(state, index, block.cidr);
      if (step.phase === 'gone') break;
      if (step.phase === phase) {
        blocks.push({ ...block, phase });
        break;
      }
      phase = step.phase;
    }
  }
  host.blocks = blocks.sort((a, b) => (a.cidr < b.cidr ? -1 : 1));
  if (host.object.fresh) ghost.unaware[index] = [];
  const held = (cidr: Prefix) => host.blocks.some((block) => block.cidr === cidr);
  ghost.forced[index] = (ghost.forced[index] ?? []).filter(
    (cidr) => held(cidr) && !store.records.some(([own, node]) => own === cidr && node === index),
  );
  return !same([before, ghosts], [host, [ghost.unaware[index], ghost.forced[index]]]);
}

/** Another node has the block: the endpoints on it end at once. */
function stop(state: State, index: number, cidr: Prefix): void {
  const host = state.hosts[index] as Host;
  const outside = (address: string) => !Prefix.contains(cidr, address as Address);
  host.pods = host.pods.filter(outside);
  host.resting = host.resting.filter(outside);
}

/** The agent starts anew. What stands in the run directory stays: blocks with their phases, claims in them, pods, rests. */
export function restart(world: World, host: Host): void {
  const remembered = (address: string) =>
    world.fault !== 'forget-claims' &&
    host.blocks.some(({ cidr }) => Prefix.contains(cidr, address as Address));
  host.blocks = host.blocks.map((block) => ({ ...block, drain: false }));
  host.claims = host.claims.filter(remembered);
  host.claimsKnown = false;
}

/** The speaker does what it was last told. */
export function speak(host: Host): boolean {
  const before = host.announced;
  const wanted = host.blocks.filter((block) => ordersOf(block.phase).announce);
  host.announced = sorted(wanted.map(({ cidr }) => cidr));
  return !same(before, host.announced);
}

/** The agent writes `allocated`: what it has let go is out, what it wants back is in. */
export function write(state: State, index: number): boolean {
  const host = state.hosts[index] as Host;
  if (!host.object.fresh) return false;
  const known = new Map(host.blocks.map((block) => [block.cidr, ordersOf(block.phase)]));
  const allocated = sorted([
    ...host.object.allocated.filter((cidr) => known.get(cidr)?.keep !== false),
    ...[...known].filter(([, { ask }]) => ask).map(([cidr]) => cidr),
  ]);
  const gone = host.object.allocated.filter((cidr) => !allocated.includes(cidr));
  for (const cidr of gone) {
    if (!host.taken.includes(cidr) && host.announced.includes(cidr)) {
      throw new Violation(`n${index} gives ${cidr} back and announces it`);
    }
    if (host.pods.some((pod) => Prefix.contains(cidr, pod as Address))) {
      throw new Violation(`n${index} gives ${cidr} back under a pod`);
    }
  }
  if (same(allocated, host.object.allocated)) return false;
  const object = { requested: host.object.requested, allocated };
  putNode(state, index, object);
  host.object = { ...object, fresh: true };
  return true;
}

/** The node's IPAM as a restart would find it. */
function ipamOf(world: World, host: Host): NodeIpam {
  const cidrs = host.blocks.map((block) => {
    const { give } = ordersOf(block.phase);
    return { prefix: block.cidr, draining: give === 'no', usable: give === 'yes' };
  });
  const ipam = new NodeIpam({ cidrs, quarantineMs: QUARANTINE_MS });
  for (const address of host.claims) ipam.claim(address as Address);
  const owner = (address: string) => ({ containerId: address, ifname: 'eth0' });
  const records = [...host.resting, ...host.pods].map((address) => ({
    owner: owner(address),
    [Address.family(address as Address)]: address as Address,
  }));
  ipam.restore(records, 0);
  if (world.fault !== 'no-quarantine') {
    for (const address of host.resting) ipam.release(owner(address), 0);
  }
  for (const address of host.pods) {
    const lease = ipam.lookup(owner(address));
    if ((lease?.ipv4 ?? lease?.ipv6)?.address !== address) {
      throw new Violation(`the address of pod ${address} has changed under it`);
    }
  }
  return ipam;
}

/** A pod comes; undefined if the node has no address for it. */
export function add(world: World, state: State, index: number): string | undefined {
  const host = state.hosts[index] as Host;
  const owner = { containerId: 'new', ifname: 'eth0' };
  try {
    const wanted = { [Prefix.family(world.range)]: 'any' };
    const lease = ipamOf(world, host).allocate(owner, wanted, 0);
    const address = (lease.ipv4 ?? lease.ipv6)?.address;
    if (address === undefined) return undefined;
    // A node that has not heard that its block was taken does what it did before.
    const unaware = state.ghost.unaware[index]?.some((cidr) => Prefix.contains(cidr, address));
    if (!unaware && state.ghost.resting.includes(address)) {
      throw new Violation(`${address} is given in its rest`);
    }
    if (!unaware && state.store.claims.includes(address)) {
      throw new Violation(`${address} is kept for its claim`);
    }
    host.pods = sorted([...host.pods, address]);
    return address;
  } catch (error) {
    if (error instanceof IpamError) return undefined;
    throw error;
  }
}

export function remove(state: State, index: number, address: string): void {
  const host = state.hosts[index] as Host;
  host.pods = host.pods.filter((one) => one !== address);
  host.resting = sorted([...host.resting, address]);
  // A block that was taken by force is another's at once, and so are its addresses.
  const forced = state.ghost.forced[index]?.some((cidr) =>
    Prefix.contains(cidr, address as Address),
  );
  if (!forced) state.ghost.resting = sorted([...state.ghost.resting, address]);
}

/** Time passes: what the node has released has rested. */
export function rest(state: State, index: number): boolean {
  const host = state.hosts[index] as Host;
  if (host.resting.length === 0) return false;
  state.ghost.resting = state.ghost.resting.filter((one) => !host.resting.includes(one));
  host.resting = [];
  return true;
}
