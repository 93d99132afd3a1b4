import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { LabError } from '../errors.ts';
import { until } from './wait.ts';

/** The root of the version 2 hierarchy: /sys/fs/cgroup, or where it stands beside version 1. */
export function cgroupRoot(mounts: string = readFileSync('/proc/mounts', 'utf8')): string {
  for (const line of mounts.split('\n')) {
    const [, target, type] = line.split(' ');
    if (type === 'cgroup2' && target !== undefined) return target;
  }
  throw new LabError('platform-missing', 'no cgroup version 2 hierarchy is mounted', {
    hint: 'mount -t cgroup2 none /sys/fs/cgroup (or another directory)',
  });
}

/** Where version 1 controllers stand beside it: container runtimes make directories there too. */
export function otherHierarchies(mounts: string = readFileSync('/proc/mounts', 'utf8')): string[] {
  return mounts
    .split('\n')
    .map((line) => line.split(' '))
    .flatMap(([, target, type]) => (type === 'cgroup' && target !== undefined ? [target] : []));
}

export function makeCgroup(path: string): void {
  mkdirSync(path, { recursive: true });
}

/** Ends every process below a cgroup and removes it. Nothing happens when it is not there. */
export async function removeCgroup(path: string): Promise<void> {
  if (!existsSync(path)) return;
  await until(
    `ending the processes of ${path}`,
    () => {
      if (!isPopulated(path) && removed(path)) return undefined;
      // Each time anew: a process on its way in may join after those that were there have ended.
      killCgroup(path);
      return 'some run';
    },
    { timeoutMs: 10_000 },
  );
}

/** False while somebody has just joined, or has not quite left. */
function removed(path: string): boolean {
  try {
    removeTree(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false;
    throw error;
  }
}

/** cgroup.kill is Linux 5.14; before it, processes are signalled one by one. */
function killCgroup(path: string): void {
  const kill = join(path, 'cgroup.kill');
  if (existsSync(kill)) {
    writeFileSync(kill, '1');
    return;
  }
  for (const directory of subtree(path))
    for (const pid of readFileSync(join(directory, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter(Boolean))
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It ended by itself.
      }
}

function isPopulated(path: string): boolean {
  return /^populated 1$/m.test(readFileSync(join(path, 'cgroup.events'), 'utf8'));
}

/** Of a cgroup without processes. */
export function removeTree(path: string): void {
  for (const directory of subtree(path)) rmdirSync(directory);
}

/** Deepest first, the path itself last. */
function subtree(path: string): string[] {
  const children = readdirSync(path, { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  return [...children.flatMap((child) => subtree(join(path, child.name))), path];
}
