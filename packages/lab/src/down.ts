import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { removeNamespaces } from './build/topology.ts';
import { LabError } from './errors.ts';
import { cgroupRoot, otherHierarchies, removeCgroup, removeTree } from './host/cgroup.ts';
import { LAB_ROOT, labDirectory, NETNS_ROOT } from './host/names.ts';
import { must } from './host/process.ts';
import { checkLabName, isBeingBuilt, type LabState, readState } from './state.ts';

export interface DownReport {
  readonly name: string;
  /** False when nothing of the name was there: that is no error. */
  readonly existed: boolean;
  readonly namespaces: number;
}

/**
 * Removes all that a lab of the name left on the machine: processes, namespaces, mounts, cgroups,
 * files. It goes by names and not by what the state says, so half-built labs, labs whose `up` was
 * killed and labs with a damaged state go too. Throws `lab-busy` while an `up` is at work, unless forced.
 */
export async function destroyLab(
  name: string,
  options: { readonly force?: boolean } = {},
): Promise<DownReport> {
  checkLabName(name);
  if (options.force !== true) refuseBusy(name);
  const directory = labDirectory(name);
  const existed = existsSync(directory);
  const root = cgroupRoot();
  // Processes first: what they hold open can be taken apart only after them.
  for (const group of entries(root, `causeway-lab.${name}.`)) await removeCgroup(join(root, group));
  for (const hierarchy of otherHierarchies())
    for (const group of entries(hierarchy, `causeway-lab.${name}.`))
      removeTree(join(hierarchy, group));
  for (const target of mountsBelow(directory)) await must(['umount', '--lazy', target]);
  const namespaces = await removeNamespaces(entries(NETNS_ROOT, ''), `cwlab.${name}.`);
  rmSync(directory, { recursive: true, force: true });
  return { name, existed: existed || namespaces > 0, namespaces };
}

function refuseBusy(name: string): void {
  let state: LabState | undefined;
  try {
    state = readState(name);
  } catch {
    // A damaged state is a reason to clean up, not to refuse.
    return;
  }
  if (state !== undefined && isBeingBuilt(state))
    throw new LabError('lab-busy', `lab ${name} is being built by process ${state.builder.pid}`, {
      value: name,
      hint: 'end that process first, or give --force',
    });
}

function entries(directory: string, prefix: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((entry) => entry.startsWith(prefix));
}

/** Mount points at or below a directory, the innermost first. */
function mountsBelow(directory: string): string[] {
  if (!directory.startsWith(`${LAB_ROOT}/`)) return [];
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((target) => target.startsWith(`${directory}/`))
    .reverse();
}
