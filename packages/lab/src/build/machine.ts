import { mkdirSync, readFileSync } from 'node:fs';
import { nodePaths } from '../host/names.ts';
import { must } from '../host/process.ts';

/** Makes what an operator's machine has: a run directory of its own. */
export function buildOperatorMachine(lab: string, place: string): void {
  for (const directory of [nodePaths(lab, place).run, '/run/causeway'])
    mkdirSync(directory, { recursive: true });
}

/**
 * Makes what a node's machine has before an agent comes: directories, a run directory in memory as every
 * machine's /run is, and a BPF file system of its own.
 */
export async function buildMachine(lab: string, node: string): Promise<void> {
  const { run, bpffs, sys } = nodePaths(lab, node);
  // The last one is only a place to mount on, in each node's own mount namespace.
  for (const directory of [run, bpffs, sys, '/run/causeway'])
    mkdirSync(directory, { recursive: true });
  const mounts = readFileSync('/proc/mounts', 'utf8');
  if (!mounts.includes(` ${run} tmpfs `))
    await must(['mount', '-t', 'tmpfs', '-o', 'mode=0755', 'none', run]);
  if (!mounts.includes(` ${bpffs} bpf `)) await must(['mount', '-t', 'bpf', 'none', bpffs]);
}
