import { readFileSync, writeFileSync } from 'node:fs';
import { invalidArgument } from './errors.ts';
import { onFile } from './files.ts';
import type { Netns } from './netns.ts';

/** By its path below /proc/sys ("net/ipv4/ip_forward"); a dot would be ambiguous in device names. */
function pathOf(name: string): string {
  if (!/^[\w.:@+-]+(\/[\w.:@+-]+)+$/.test(name) || name.split('/').includes('..')) {
    throw invalidArgument(
      'sysctl',
      `${JSON.stringify(name)} is no sysctl name like net/ipv4/ip_forward`,
      name,
    );
  }
  return `/proc/sys/${name}`;
}

/** The value without its final newline. Names below net/ are those of `ns`, by default our own. */
export function readSysctl(name: string, ns?: Netns): string {
  const path = pathOf(name);
  const read = () => onFile('read sysctl', path, () => readFileSync(path, 'utf8').trimEnd());
  return ns === undefined ? read() : ns.run(read);
}

export function writeSysctl(name: string, value: string | number, ns?: Netns): void {
  const path = pathOf(name);
  const write = () => onFile('write sysctl', path, () => writeFileSync(path, `${value}\n`));
  if (ns === undefined) write();
  else ns.run(write);
}
