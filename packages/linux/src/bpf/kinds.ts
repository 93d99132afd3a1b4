import { readlinkSync } from 'node:fs';
import { callError, LinuxError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { libbpf } from '../ffi/libbpf.ts';

const kinds = {
  map: 'anon_inode:bpf-map',
  program: 'anon_inode:bpf-prog',
  link: 'anon_inode:bpf-link',
} as const;

/**
 * BPF_OBJ_GET of a pin that must be of one kind. The kernel hands out whatever is there, and info
 * calls fill in any kind's struct: to take a program for a map would go unnoticed.
 */
export function openPin(path: string, kind: keyof typeof kinds): Fd {
  const number = libbpf().objectGet(path);
  if (number < 0) throw callError(`open pinned ${kind}`, number, path);
  const fd = Fd.adopt(number, `BPF ${kind} ${path}`);
  const found = readlinkSync(`/proc/self/fd/${fd.number}`);
  // Some kernels write bpf_link.
  if (found.replace('_link', '-link') === kinds[kind]) return fd;
  fd.close();
  throw new LinuxError('invalid-argument', `${path} is no pinned ${kind} but ${found}`, {
    operation: `open pinned ${kind}`,
    value: path,
  });
}
