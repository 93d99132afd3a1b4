import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Address } from '@causeway/ip';
import { type LabNames, netnsName, netnsPath } from '../host/names.ts';
import { must } from '../host/process.ts';
import { inParallel } from '../host/wait.ts';
import type { LabPlan, PlacePlan } from '../plan/types.ts';

/** Enough to keep two cores busy with short-lived `ip`s. */
const AT_ONCE = 4;
const SOLICIT_AGAIN_MS = 200;
const HASH_SEED = '/proc/sys/net/ipv4/fib_multipath_hash_seed';

/**
 * Set before any device is there, so that devices take them over. No duplicate address detection:
 * addresses come from a plan, and waiting for it costs a second a node.
 */
const SYSCTLS_EVERYWHERE: Readonly<Record<string, string>> = {
  'net/ipv6/conf/all/accept_dad': '0',
  'net/ipv6/conf/default/accept_dad': '0',
  'net/ipv6/conf/default/dad_transmits': '0',
  'net/ipv6/conf/default/accept_ra': '0',
  'net/ipv4/conf/all/rp_filter': '0',
  'net/ipv4/conf/default/rp_filter': '0',
  'net/ipv4/ping_group_range': '0 2147483647',
  // Equal paths are chosen by connection, never one that is known to be dead.
  'net/ipv4/fib_multipath_hash_policy': '1',
  'net/ipv6/fib_multipath_hash_policy': '1',
  'net/ipv4/fib_multipath_use_neigh': '1',
  'net/ipv4/conf/all/ignore_routes_with_linkdown': '1',
  'net/ipv4/conf/default/ignore_routes_with_linkdown': '1',
  'net/ipv6/conf/all/ignore_routes_with_linkdown': '1',
  'net/ipv6/conf/default/ignore_routes_with_linkdown': '1',
};
/** What an administrator sets on a router, and on a node that carries pods. */
const SYSCTLS_FORWARDING: Readonly<Record<string, string>> = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/default/forwarding': '1',
};

/**
 * Neighbours of all namespaces of a machine stand in one table a family; its kernel's limit of 1024 is one
 * rack's. Beyond it whoever sends is told "no buffer space".
 */
const NEIGHBOUR_LIMITS = { gc_thresh3: 16_384, gc_thresh2: 8192, gc_thresh1: 4096 };

function raiseNeighbourLimits(): void {
  for (const family of ['ipv4', 'ipv6'])
    for (const [name, least] of Object.entries(NEIGHBOUR_LIMITS)) {
      const path = `/proc/sys/net/${family}/neigh/default/${name}`;
      // Only the machine's first namespace has them.
      if (existsSync(path) && Number(readFileSync(path, 'utf8')) < least)
        writeFileSync(path, String(least));
    }
}

/** Makes the namespaces, cables, addresses and routes of a plan. */
export async function buildTopology(names: LabNames, plan: LabPlan): Promise<void> {
  raiseNeighbourLimits();
  await ipBatch(plan.places.map(({ place }) => `netns add ${netnsName(names, place)}`));
  await inParallel(plan.places, AT_ONCE, (place, i) => setSysctls(names, place, i + 1));
  await ipBatch(
    plan.cables.map(({ a, b }) => {
      const [left, right] = [netnsName(names, a.place), netnsName(names, b.place)];
      return `link add ${a.device} netns ${left} type veth peer name ${b.device} netns ${right}`;
    }),
  );
  await inParallel(plan.places, AT_ONCE, (place) =>
    ipBatch(placeCommands(place), netnsName(names, place.place)),
  );
  const outside = plan.places.filter(({ kind }) => kind === 'host');
  await inParallel(outside, AT_ONCE, (place) => finishChecksums(names, place));
}

/**
 * A cable between namespaces carries packets whose checksums nobody has worked out yet, which no wire does
 * and XDP cannot tell: who stands outside of clusters finishes them.
 */
async function finishChecksums(names: LabNames, { place, devices }: PlacePlan): Promise<void> {
  const inside = ['ip', 'netns', 'exec', netnsName(names, place)];
  for (const { name } of devices) await must([...inside, 'ethtool', '-K', name, 'tx', 'off']);
}

/** Removes every namespace whose name starts as given; the cables go with them. */
export async function removeNamespaces(
  existing: readonly string[],
  prefix: string,
): Promise<number> {
  const gone = existing.filter((name) => name.startsWith(prefix));
  await ipBatch(gone.map((name) => `netns delete ${name}`));
  return gone.length;
}

/** One `ip` for many lines; an error names the line. */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  if (lines.length === 0) return;
  const within = netns === undefined ? [] : ['-n', netns];
  await must(['ip', ...within, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

async function setSysctls(
  names: LabNames,
  { place, kind }: PlacePlan,
  seed: number,
): Promise<void> {
  const settings = {
    // Routers that hash alike would all take the same one of equal paths (Linux 6.11; older ones hash alike).
    ...(existsSync(HASH_SEED) ? { 'net/ipv4/fib_multipath_hash_seed': String(seed) } : {}),
    ...SYSCTLS_EVERYWHERE,
    ...(kind === 'router' || kind === 'node' ? SYSCTLS_FORWARDING : {}),
  };
  const script = Object.entries(settings)
    .map(([name, value]) => `echo '${value}' > /proc/sys/${name}`)
    .join('\n');
  await must(['nsenter', `--net=${netnsPath(names, place)}`, 'sh', '-e'], { input: script });
}

/** Lines for `ip -batch` inside the place. */
function placeCommands(place: PlacePlan): string[] {
  const lines = ['link set lo up'];
  if (place.kind === 'rack')
    lines.push('link add br0 type bridge stp_state 0 mcast_snooping 0 forward_delay 0');
  for (const { name, mtu, addresses } of place.devices) {
    lines.push(`link set ${name} mtu ${mtu}${place.kind === 'rack' ? ' master br0' : ''}`);
    for (const { address, length } of addresses)
      lines.push(
        `address add ${address}/${length} dev ${name}${Address.isIPv6(address) ? ' nodad' : ''}`,
      );
    // The first solicitation may be sent before the other side listens to it; a second later is late here.
    if (place.kind !== 'rack')
      lines.push(`ntable change name ndisc_cache dev ${name} retrans ${SOLICIT_AGAIN_MS}`);
    lines.push(`link set ${name} up`);
  }
  if (place.kind === 'rack') lines.push('link set br0 up');
  for (const { destination, via, metric } of place.routes) {
    const hops =
      via.length === 1 ? `via ${via[0]}` : via.map((hop) => `nexthop via ${hop}`).join(' ');
    lines.push(
      `route add ${destination} ${metric === undefined ? '' : `metric ${metric} `}${hops}`,
    );
  }
  return lines;
}
