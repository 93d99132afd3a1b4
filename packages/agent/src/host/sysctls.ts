import { readSysctl, writeSysctl } from '@causeway/linux';
import type { Operations } from '@causeway/tables';
import type { DesiredSysctl } from './tables.ts';

/** Reading and writing /proc/sys, as the reconciler needs it. */
export interface SysctlFiles {
  read(name: string): string;
  write(name: string, value: string): void;
}

export const kernelSysctls: SysctlFiles = {
  read: (name) => readSysctl(name),
  write: (name, value) => writeSysctl(name, value),
};

/** What is right already is not written: a sysctl may be read-only for us and still say what we need. */
export function sysctlOperations(files: SysctlFiles): Operations<DesiredSysctl, string> {
  return {
    async update(batch) {
      return batch.map(({ row }) => {
        try {
          const present = files.read(row.name).trim();
          const wanted = wantedValue(row, present, files);
          if (present !== wanted) files.write(row.name, wanted);
          return undefined;
        } catch (error) {
          return error as Error;
        }
      });
    },
    // Other programs may rely on what we switched on; it is left as it is.
    async delete() {},
  };
}

function wantedValue(row: DesiredSysctl, present: string, files: SysctlFiles): string {
  switch (row.type) {
    case 'value':
      return row.value;
    case 'ports':
      return mergePorts(present, row.first, row.last);
    case 'reverse-path':
      // The greater of `all` and the device's own counts: loose (2) beats a strict (1) for all.
      return files.read('net/ipv4/conf/all/rp_filter').trim() === '0' ? '0' : '2';
    default:
      return row satisfies never;
  }
}

/**
 * A list of ports and ranges (`8080,9148-9150`, ip-sysctl.rst) with one range more, in the form in
 * which the kernel prints it: sorted, overlapping and touching ranges joined.
 */
export function mergePorts(list: string, first: number, last: number): string {
  const ranges: [number, number][] = [[first, last]];
  for (const part of list.split(',')) {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    if (match === null) continue;
    ranges.push([Number(match[1]), Number(match[2] ?? match[1])]);
  }
  ranges.sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const range of ranges) {
    const before = merged.at(-1);
    if (before !== undefined && range[0] <= before[1] + 1)
      before[1] = Math.max(before[1], range[1]);
    else merged.push(range);
  }
  return merged.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
