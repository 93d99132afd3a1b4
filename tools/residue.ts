/**
 * What a test run may leave behind on a machine: namespaces, links, BPF pins, mounts, cgroups, processes, and files
 * under /run and where temporary ones go. Taken before and after a run; the difference is a failure of the run.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** What ours makes bears one of these names, mostly with a process's number behind it. */
const OURS = /^(causeway|cw)/;
/** Of a command: what ours are called, or a file of ours among its arguments. */
const OUR_COMMAND = /causeway|containerd|etcd\b|\/cw[\w.-]*\d/;

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
  for (const name of list('/run').filter((entry) => OURS.test(entry))) {
    for (const inner of list(`/run/${name}`)) things.add(`file /run/${name}/${inner}`);
  }
  for (const directory of new Set([tmpdir(), '/dev/shm'])) {
    for (const name of list(directory).filter((entry) => OURS.test(entry)))
      things.add(`file ${directory}/${name}`);
  }
  for (const row of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, point, type = ''] = row.split(' ');
    if (point === undefined) continue;
    // Setup itself mounts /sys/fs/bpf; /run/netns becomes a mount point with the first namespace.
    if (point !== '/run/netns' && point !== '/sys/fs/bpf') things.add(`mount ${point}`);
    if (type === 'cgroup' || type === 'cgroup2') {
      for (const name of list(point).filter((entry) => OURS.test(entry)))
        things.add(`cgroup ${point}/${name}`);
    }
  }
  for (const pid of list('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      if (OUR_COMMAND.test(command)) things.add(`process ${pid} ${command.slice(0, 120)}`);
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
