/**
 * What a test run may leave behind on a machine: namespaces, links, BPF pins, mounts, cgroups and files
 * under /run. Taken before and after a run; the difference is a failure of the run.
 */
import { readdirSync, readFileSync } from 'node:fs';

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** One line a thing, `kind name`, of all that stands on the machine now. */
export function inventory(): Set<string> {
  const things = new Set<string>();
  for (const name of list('/run/netns')) things.add(`namespace ${name}`);
  for (const name of list('/sys/class/net')) things.add(`link ${name}`);
  for (const name of list('/sys/fs/bpf')) things.add(`pin /sys/fs/bpf/${name}`);
  for (const name of list('/sys/fs/cgroup/unified').filter((entry) => entry.startsWith('causeway')))
    things.add(`cgroup ${name}`);
  for (const name of list('/run').filter((entry) => entry.startsWith('causeway'))) {
    for (const inner of list(`/run/${name}`)) things.add(`file /run/${name}/${inner}`);
  }
  for (const row of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const point = row.split(' ')[1];
    // Setup itself mounts /sys/fs/bpf; /run/netns becomes a mount point with the first namespace.
    if (point !== undefined && point !== '/run/netns' && point !== '/sys/fs/bpf')
      things.add(`mount ${point}`);
  }
  for (const pid of list('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      if (/causeway|containerd|etcd\b/.test(command))
        things.add(`process ${pid} ${command.slice(0, 120)}`);
    } catch {
      // The process ended while it was being looked at.
    }
  }
  return things;
}

/** Things of `after` that were not there `before`. */
export function leftBehind(before: ReadonlySet<string>, after: ReadonlySet<string>): string[] {
  return [...after].filter((thing) => !before.has(thing)).sort();
}
