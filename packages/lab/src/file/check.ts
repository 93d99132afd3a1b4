import { Address, Prefix } from '@causeway/ip';
import type { LabFileIssue } from '../errors.ts';
import { checkMesh, checkShape } from './check-mesh.ts';
import { checkRouting } from './check-routing.ts';
import { countedNames, podNames } from './counted.ts';
import type { LabCluster, LabFile } from './schema.ts';
import { segmentOf } from './segments.ts';

/** Longer racks would leave no room for routers, machines and the store. */
const LONGEST_RACK = { ipv4: 29, ipv6: 120 } as const;

/**
 * What a lab file's fields must agree on. Pure; gives every issue at once, in the order of the file.
 */
export function checkLabFile(file: LabFile): LabFileIssue[] {
  const issues: LabFileIssue[] = [];
  const say = (path: string, value: unknown, message: string): void => {
    issues.push({ path, value, message });
  };
  const racks = new Map(file.racks.map((rack) => [rack.name, rack]));
  const routers = new Set(file.routers.map((router) => router.name));
  const needRack = (path: string, name: string): void => {
    if (!racks.has(name)) say(path, name, `is not a rack; allowed: ${list(racks.keys())}`);
  };

  checkPlaceNames(file, say);
  const taken: { prefix: Prefix; path: string }[] = [];
  const takePrefix = (
    path: string,
    text: string | undefined,
    family: 'ipv4' | 'ipv6' | undefined,
  ): Prefix | undefined => {
    if (text === undefined) return undefined;
    let prefix: Prefix;
    try {
      prefix = Prefix.parse(text);
    } catch (error) {
      say(path, text, (error as Error).message);
      return undefined;
    }
    if (family !== undefined && Prefix.family(prefix) !== family) {
      say(path, text, `must be an ${family} prefix`);
      return undefined;
    }
    const clash = taken.find((other) => Prefix.overlaps(other.prefix, prefix));
    if (clash !== undefined)
      say(
        path,
        text,
        `overlaps ${clash.prefix} at ${clash.path}; every prefix of a lab stands alone`,
      );
    taken.push({ prefix, path });
    return prefix;
  };

  for (const [i, rack] of file.racks.entries()) {
    const path = `racks[${i}]`;
    if (rack.ipv4 === undefined && rack.ipv6 === undefined && rack.uplink === undefined)
      say(path, rack.name, 'needs ipv4, ipv6 or both, or an uplink');
    for (const family of ['ipv4', 'ipv6'] as const) {
      const prefix = takePrefix(`${path}.${family}`, rack[family], family);
      if (prefix !== undefined && Prefix.length(prefix) > LONGEST_RACK[family])
        say(
          `${path}.${family}`,
          rack[family],
          `must be /${LONGEST_RACK[family]} or shorter, to have room for its machines`,
        );
    }
  }
  for (const [i, router] of file.routers.entries())
    for (const [j, name] of router.racks.entries()) needRack(`routers[${i}].racks[${j}]`, name);
  for (const [i, link] of file.links.entries()) {
    const path = `links[${i}]`;
    for (const [j, end] of link.between.entries())
      if (!routers.has(end))
        say(`${path}.between[${j}]`, end, `is not a router; allowed: ${list(routers)}`);
    if (link.between[0] === link.between[1])
      say(`${path}.between`, link.between, 'must join two different routers');
    for (const family of ['ipv4', 'ipv6'] as const) {
      const prefix = takePrefix(`${path}.${family}`, link[family], family);
      if (prefix !== undefined && Prefix.size(prefix) < 4n)
        say(
          `${path}.${family}`,
          link[family],
          'must have room for two machines: /30 (IPv4), /126 (IPv6) or shorter',
        );
    }
  }
  const checkAddresses = (
    path: string,
    entry: {
      readonly rack: string;
      readonly addresses: { ipv4?: string | undefined; ipv6?: string | undefined };
    },
  ): void => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const text = entry.addresses[family];
      if (text === undefined) continue;
      const address = Address.tryParse(text);
      const prefix = Prefix.tryParse(segmentOf(file.racks, entry.rack)?.[family] ?? '');
      if (address === undefined || Address.family(address) !== family)
        say(`${path}.addresses.${family}`, text, `must be an ${family} address`);
      else if (prefix !== undefined && !Prefix.contains(prefix, address))
        say(`${path}.addresses.${family}`, text, `must lie in its rack's prefix ${prefix}`);
      else if (prefix === undefined && racks.has(entry.rack))
        say(`${path}.addresses.${family}`, text, `rack ${entry.rack} has no ${family} prefix`);
    }
  };
  for (const [i, host] of file.hosts.entries()) {
    needRack(`hosts[${i}].rack`, host.rack);
    checkAddresses(`hosts[${i}]`, host);
  }
  checkRouting(file, say);
  checkMesh(file, say);
  const ids = new Map<number, string>();
  for (const [i, cluster] of file.clusters.entries()) {
    const path = `clusters[${i}]`;
    const other = ids.get(cluster.id);
    if (other !== undefined)
      say(`${path}.id`, cluster.id, `is cluster ${other}'s id too; ids are unique in a lab`);
    ids.set(cluster.id, cluster.name);
    checkCluster(path, cluster, say, needRack, takePrefix);
    for (const [j, node] of cluster.nodes.entries()) {
      checkAddresses(`${path}.nodes[${j}]`, node);
      if (node.count !== undefined && (node.addresses.ipv4 ?? node.addresses.ipv6) !== undefined)
        say(`${path}.nodes[${j}].addresses`, node.addresses, 'cannot stand beside count');
      const rack = segmentOf(file.racks, node.rack);
      for (const family of new Set([...cluster.families, cluster.routing.underlayFamily]))
        if (rack !== undefined && rack[family] === undefined)
          say(
            `${path}.nodes[${j}].rack`,
            node.rack,
            `has no ${family} prefix, which cluster ${cluster.name} uses`,
          );
    }
  }
  return issues;
}

export type Say = (path: string, value: unknown, message: string) => void;

function checkCluster(
  path: string,
  cluster: LabCluster,
  say: Say,
  needRack: (path: string, name: string) => void,
  takePrefix: (
    path: string,
    text: string | undefined,
    family: 'ipv4' | 'ipv6' | undefined,
  ) => Prefix | undefined,
): void {
  const nodes = countedNames(cluster.nodes);
  if (new Set(cluster.families).size !== cluster.families.length)
    say(`${path}.families`, cluster.families, 'names a family twice');
  if (cluster.routing.bgp && cluster.routing.mode !== 'native')
    say(
      `${path}.routing.bgp`,
      true,
      `takes mode: native; in mode ${cluster.routing.mode} the fabric does not see pod addresses`,
    );
  if (cluster.ipam === 'pools') checkPools(path, cluster, say);
  checkShape(path, cluster, say);
  for (const family of ['ipv4', 'ipv6'] as const) {
    const text = cluster.podCIDRs[family];
    const at = `${path}.podCIDRs.${family}`;
    if (text === undefined) {
      if (cluster.families.includes(family) && cluster.inventory === undefined)
        say(at, text, `is missing; the cluster's families are ${list(cluster.families)}`);
      continue;
    }
    if (!cluster.families.includes(family))
      say(at, text, `${family} is not among the cluster's families: ${list(cluster.families)}`);
    const prefix = takePrefix(at, text, family);
    if (prefix === undefined) continue;
    const length = cluster.podCIDRs.nodeLength[family];
    if (length < Prefix.length(prefix))
      say(
        `${path}.podCIDRs.nodeLength.${family}`,
        length,
        `must be ${Prefix.length(prefix)} or longer: a node's part lies inside ${prefix}`,
      );
    else if (cluster.ipam === 'static' && Prefix.subnetCount(prefix, length) < BigInt(nodes.length))
      say(
        at,
        text,
        `has ${Prefix.subnetCount(prefix, length)} parts of /${length}, too few for ${nodes.length} nodes`,
      );
  }
  for (const [j, text] of cluster.serviceCIDRs.entries()) {
    const prefix = takePrefix(`${path}.serviceCIDRs[${j}]`, text, undefined);
    if (prefix !== undefined && !cluster.families.includes(Prefix.family(prefix)))
      say(
        `${path}.serviceCIDRs[${j}]`,
        text,
        `is not of the cluster's families: ${list(cluster.families)}`,
      );
  }
  for (const [j, text] of cluster.masquerade.exceptions.entries())
    if (Prefix.tryParse(text) === undefined)
      say(
        `${path}.masquerade.exceptions[${j}]`,
        text,
        'must be a prefix with no bits set beyond its length',
      );
  if (cluster.etcd.rack !== undefined) needRack(`${path}.etcd.rack`, cluster.etcd.rack);
  for (const [j, node] of cluster.nodes.entries()) needRack(`${path}.nodes[${j}].rack`, node.rack);
  for (const [j, pod] of cluster.pods.entries())
    if (pod.node !== undefined && !nodes.includes(pod.node))
      say(
        `${path}.pods[${j}].node`,
        pod.node,
        `is not a node of cluster ${cluster.name}; allowed: ${list(nodes)}`,
      );
  reportDoubles(
    cluster.pods.flatMap((pod, j) =>
      podNames(pod).map((name) => ({
        key: `${pod.namespace}/${name}`,
        path: `${path}.pods[${j}].name`,
      })),
    ),
    say,
    'a pod of this namespace',
  );
  reportDoubles(
    cluster.namespaces.map((namespace, j) => ({
      key: namespace.name,
      path: `${path}.namespaces[${j}].name`,
    })),
    say,
    'a namespace',
  );
}

/** What nodes without pod CIDRs of the plan need. */
function checkPools(path: string, cluster: LabCluster, say: Say): void {
  if (cluster.operators === 0)
    say(
      `${path}.operators`,
      0,
      'must be 1 to 3 with ipam: pools; operators give nodes their CIDRs',
    );
  if (cluster.routing.mode === 'native' && !cluster.routing.bgp)
    say(
      `${path}.ipam`,
      cluster.ipam,
      'takes mode: tunnel, or native with bgp: true; static routers cannot know what nodes will be given',
    );
}

/** Places are named without saying what they are, so racks, routers, hosts and nodes share one space. */
function checkPlaceNames(file: LabFile, say: Say): void {
  reportDoubles(
    [
      ...file.racks.map((rack, i) => ({ key: rack.name, path: `racks[${i}].name` })),
      ...file.routers.map((router, i) => ({ key: router.name, path: `routers[${i}].name` })),
      ...file.hosts.map((host, i) => ({ key: host.name, path: `hosts[${i}].name` })),
      ...file.clusters.flatMap((cluster, i) =>
        cluster.nodes.flatMap((node, j) =>
          countedNames([node]).map((key) => ({ key, path: `clusters[${i}].nodes[${j}].name` })),
        ),
      ),
    ],
    say,
    'a rack, router, host or node',
  );
  reportDoubles(
    file.clusters.map((cluster, i) => ({ key: cluster.name, path: `clusters[${i}].name` })),
    say,
    'a cluster',
  );
}

function reportDoubles(
  entries: readonly { key: string; path: string }[],
  say: Say,
  what: string,
): void {
  const first = new Map<string, string>();
  for (const { key, path } of entries) {
    const before = first.get(key);
    if (before === undefined) first.set(key, path);
    else say(path, key, `is the name of ${what} already (at ${before})`);
  }
}

function list(names: Iterable<string>): string {
  const all = [...names];
  return all.length === 0 ? '(none)' : all.join(', ');
}
