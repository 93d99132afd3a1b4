import type { Say } from './check.ts';
import type { LabCluster, LabFile } from './schema.ts';

/** What clusters of a mesh must agree on with the rest of the file. */
export function checkMesh(file: LabFile, say: Say): void {
  const { mesh } = file;
  const known = file.clusters.map(({ name }) => name);
  for (const [i, cluster] of file.clusters.entries()) {
    const path = `clusters[${i}]`;
    if (mesh === undefined) {
      if (cluster.inventory !== undefined)
        say(`${path}.inventory`, cluster.name, 'takes a mesh: nobody would read it');
      if (cluster.etcd.proxy) say(`${path}.etcd.proxy`, true, 'takes a mesh: it is for peers');
    } else if (
      mesh.by === 'token' &&
      cluster.inventory === undefined &&
      cluster.operators === 0 &&
      known.length > 1
    )
      say(`${path}.operators`, 0, 'must be 1 to 3 with mesh.by: token; operators take what joins');
  }
  const seen = new Set<string>();
  for (const [i, pair] of (mesh?.pairs ?? []).entries()) {
    for (const [j, name] of pair.entries())
      if (!known.includes(name))
        say(`mesh.pairs[${i}][${j}]`, name, `is not a cluster; allowed: ${known.join(', ')}`);
    const key = [...pair].sort().join(' ');
    if (pair[0] === pair[1]) say(`mesh.pairs[${i}]`, pair, 'must join two different clusters');
    if (seen.has(key)) say(`mesh.pairs[${i}]`, pair, 'stands in an entry before this one');
    seen.add(key);
  }
}

/** A cluster has nodes, an inventory has none. */
export function checkShape(path: string, cluster: LabCluster, say: Say): void {
  if (cluster.inventory === undefined) {
    if (cluster.nodes.length === 0)
      say(`${path}.nodes`, [], 'must have 1 to 200 entries; only an inventory has no nodes');
    return;
  }
  for (const field of ['nodes', 'pods'] as const)
    if (cluster[field].length > 0)
      say(`${path}.${field}`, cluster[field].length, 'cannot stand beside inventory');
  if (cluster.operators > 0)
    say(`${path}.operators`, cluster.operators, 'cannot stand beside inventory');
  if (cluster.etcd.rack === undefined)
    say(`${path}.etcd.rack`, undefined, 'is missing; an inventory has no nodes to stand beside');
}
