import assert from 'node:assert/strict';
import { connectKv } from '@causeway/etcd';
import { Address, Prefix } from '@causeway/ip';
import { decodePodCidr, POD_CIDRS, type PodCidrRecord } from '@causeway/resources';
import { inParallel, type Lab, type PodPlan, podPlace, until } from '../index.ts';

/** What allocation keys hold, against what nodes, pods and real routers have. */

const CLAIMS = 'causeway/allocations/addresses/';
/** Far more than a grant, an announcement or a drain takes on a busy machine. */
const SETTLE_MS = 90_000;

/** Pods that only have an address each: `count` of them on a node. */
export function plainPods(
  node: string,
  name: string,
  count: number,
  more: Partial<PodPlan> = {},
): PodPlan[] {
  return Array.from({ length: count }, (_, i) => ({
    cluster: 'main',
    namespace: 'default',
    name: `${name}-${i + 1}`,
    node,
    labels: { app: name },
    runtime: 'netns',
    serve: [],
    ...more,
  }));
}

/**
 * Starts pods; every one must get an address of each family. By `patienceMs` an ADD that finds no address is tried
 * again, as the kubelet does: for those whose operators are being killed.
 */
export async function startAll(
  lab: Lab,
  pods: readonly PodPlan[],
  patienceMs = 0,
): Promise<string[][]> {
  const addresses = await lab.addPods(pods, { patienceMs });
  for (const [i, own] of addresses.entries())
    assert.deepEqual(
      own.map((address) => address.includes(':')).sort(),
      [false, true],
      `${pods[i]!.name} has ${own.join(' ')}`,
    );
  return addresses;
}

export async function stopAll(lab: Lab, pods: readonly PodPlan[]): Promise<void> {
  for (const pod of pods) await lab.removePod(podPlace(pod));
}

/** CIDRs that a node's CiliumNode says it holds, of one pool or of all. */
export async function held(lab: Lab, node: string, pool?: string): Promise<Prefix[]> {
  const { spec } = await (await lab.cluster().store()).get('CiliumNode', { name: node });
  return (spec.ipam?.pools?.allocated ?? [])
    .filter((entry) => pool === undefined || entry.pool === pool)
    .flatMap(({ cidrs }) => (cidrs ?? []).map((cidr) => Prefix.parse(cidr)));
}

/** Whose each pod CIDR is, by the allocation records. */
export async function records(lab: Lab): Promise<PodCidrRecord[]> {
  await using kv = await connectKv({ endpoints: [`unix:${lab.cluster().etcd.socket}`] });
  const { entries } = await kv.list(POD_CIDRS);
  return entries.flatMap((entry) => decodePodCidr(entry) ?? []);
}

/** Addresses with a claim, which may stand outside their node's CIDRs. */
export async function claimed(lab: Lab): Promise<Set<string>> {
  await using kv = await connectKv({ endpoints: [`unix:${lab.cluster().etcd.socket}`] });
  const { entries } = await kv.list(CLAIMS);
  return new Set(entries.map(({ key }) => key.slice(CLAIMS.length)));
}

/** Waits until nodes, records and pods agree: nothing stands twice, nothing lies outside. */
export async function agreed(lab: Lab): Promise<void> {
  await until('records, nodes and pods agree', () => disagreement(lab), { timeoutMs: SETTLE_MS });
}

async function disagreement(lab: Lab): Promise<string | undefined> {
  const own = await records(lab);
  const nodes = new Map<string, Prefix[]>();
  for (const { node } of lab.cluster().agents) nodes.set(node.name, await held(lab, node.name));
  for (const [i, one] of own.entries()) {
    const other = own.slice(0, i).find(({ cidr }) => Prefix.overlaps(cidr, one.cidr));
    // Never, at no moment: this does not heal.
    assert.ok(
      other === undefined,
      `${one.cidr} of ${one.node} overlaps ${other?.cidr} of ${other?.node}`,
    );
    if (nodes.get(one.node)?.includes(one.cidr) !== true)
      return `${one.cidr} is recorded for ${one.node}, which does not name it`;
  }
  for (const [node, cidrs] of nodes)
    for (const cidr of cidrs)
      if (!own.some((record) => record.cidr === cidr && record.node === node))
        return `${node} names ${cidr}, for which there is no record`;
  const stay = await claimed(lab);
  const store = await lab.cluster().store();
  const { items } = await store.list('Pod');
  const holders = new Map<string, string>();
  for (const { metadata, spec, status } of items)
    for (const { ip } of status?.podIPs ?? []) {
      const before = holders.get(ip);
      assert.ok(before === undefined, `${ip} is ${before}'s and ${metadata.name}'s`);
      holders.set(ip, metadata.name);
      const within = nodes.get(spec.nodeName ?? '') ?? [];
      const address = Address.parse(ip);
      if (!stay.has(ip) && !within.some((cidr) => Prefix.contains(cidr, address)))
        return `${metadata.name} on ${spec.nodeName} has ${ip}, outside ${within.join(', ')}`;
    }
  return undefined;
}

/** Waits until a router's kernel sends prefixes towards just these places; none: until it has no route to them. */
export async function routed(
  lab: Lab,
  router: string,
  prefixes: readonly string[],
  via: readonly string[],
): Promise<void> {
  const wanted = via.join(', ') || 'nobody';
  await until(
    `${router}: routes to ${prefixes.join(', ')}`,
    async () => {
      const routes = (
        await inParallel(['ipv4', 'ipv6'] as const, 2, (family) =>
          lab.router(router).routes(family),
        )
      ).flat();
      for (const prefix of prefixes) {
        const hops = routes.find((route) => route.prefix === prefix)?.via.map(ownerIn(lab));
        const found = hops?.toSorted().join(', ') ?? 'nobody';
        if (found !== wanted) return `${prefix} via ${found}, wanted ${wanted}`;
      }
      return undefined;
    },
    { timeoutMs: SETTLE_MS },
  );
}

function ownerIn(lab: Lab): (address: string) => string {
  const owners = new Map(
    lab.context.state.plan.places.flatMap(({ place, devices }) =>
      devices.flatMap((device) =>
        device.addresses.map(({ address }) => [address as string, place]),
      ),
    ),
  );
  return (address) => owners.get(address) ?? address;
}

/** `10.1.2.3` as the prefix of one host. */
export function hostRoute(address: string): string {
  return `${address}/${address.includes(':') ? 128 : 32}`;
}

/** How a server of the lab (`tcp`) tells an address: all eight groups, IPv4 as mapped. */
export function asServersSay(text: string): string {
  const address = Address.parse(text);
  const bits = Address.toBigInt(address) | (Address.isIPv6(address) ? 0n : 0xffff_0000_0000n);
  return bits.toString(16).padStart(32, '0').match(/.{4}/g)!.join(':');
}
