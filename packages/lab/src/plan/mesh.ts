import type { LabFile } from '../file/schema.ts';
import type { MeshPlan } from './types.ts';

/** Who reads a cluster and whom it reads: pairs go both ways, but inventories read nobody. */
export function planMesh({ mesh, clusters }: LabFile, name: string): MeshPlan | undefined {
  if (mesh === undefined) return undefined;
  const joined = (other: string): boolean =>
    mesh.pairs?.some((pair) => pair.includes(name) && pair.includes(other)) ?? true;
  const others = clusters.filter((other) => other.name !== name && joined(other.name));
  const reading = clusters.find((each) => each.name === name)?.inventory === undefined;
  return {
    by: mesh.by,
    reads: reading ? others.map((other) => other.name) : [],
    readBy: others.filter(({ inventory }) => inventory === undefined).map((other) => other.name),
  };
}
