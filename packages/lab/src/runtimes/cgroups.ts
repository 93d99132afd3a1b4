import { readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupRoot, otherHierarchies } from '../host/cgroup.ts';

/**
 * Removes a cgroup and those below it in every hierarchy that is mounted. Runtimes make their own below the parent
 * that they are given and take them away again, but not the parent. One that still has a process stays.
 *
 * @param parent as a runtime is given it, such as `/lab/pods`: a path below the root of each hierarchy
 */
export function removeCgroups(parent: string): void {
  if (!/^\/[^/]/.test(parent) || parent.includes('..'))
    throw new RangeError(`${parent} is no cgroup`);
  for (const root of [cgroupRoot(), ...otherHierarchies()]) removeEmpty(join(root, parent));
}

function removeEmpty(directory: string): void {
  for (const inner of directories(directory)) removeEmpty(join(directory, inner));
  try {
    rmdirSync(directory);
  } catch {
    // Not there, or in use: what is in use is somebody's to end.
  }
}

function directories(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}
