import { readlinkSync } from 'node:fs';
import { callError, LinuxError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { struct } from '../ffi/memory.ts';

const anonymousInodes = {
  map: 'anon_inode:bpf-map',
  program: 'anon_inode:bpf-prog',
  link: 'anon_inode:bpf-link',
} as const;

export type BpfObjectKind = keyof typeof anonymousInodes;

/** What maps, programs and links have in common: a descriptor that keeps them, and a place to be pinned at. */
export abstract class BpfObject implements Disposable {
  readonly fd: Fd;
  readonly #kind: BpfObjectKind;

  protected constructor(kind: BpfObjectKind, fd: Fd) {
    this.#kind = kind;
    this.fd = fd;
  }

  pin(path: string): void {
    const result = libbpf().objectPin(this.fd.number, path);
    if (result < 0) throw callError(`pin ${this.#kind}`, result, path);
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * BPF_OBJ_GET of a pin that must be of one kind. The kernel hands out whatever is there, and info
 * calls fill in any kind's struct: to take a program for a map would go unnoticed.
 */
export function openPin(path: string, kind: BpfObjectKind): Fd {
  const number = libbpf().objectGet(path);
  if (number < 0) throw callError(`open pinned ${kind}`, number, path);
  const fd = Fd.adopt(number, `BPF ${kind} ${path}`);
  const found = readlinkSync(`/proc/self/fd/${fd.number}`);
  // Some kernels write bpf_link.
  if (found.replace('_link', '-link') === anonymousInodes[kind]) return fd;
  fd.close();
  throw new LinuxError('invalid-argument', `${path} is no pinned ${kind} but ${found}`, {
    operation: `open pinned ${kind}`,
    value: path,
  });
}

/** BPF_OBJ_GET_BY_ID: the number is the kernel's, as bpftool shows it. */
export function openById(id: number, kind: BpfObjectKind): Fd {
  const library = libbpf();
  const open = { map: library.mapFdById, program: library.programFdById, link: library.linkFdById };
  const number = open[kind](id);
  if (number < 0) throw callError(`open ${kind} by id`, number, id);
  return Fd.adopt(number, `BPF ${kind} ${id}`);
}

/** BPF_OBJ_GET_INFO_BY_FD into `size` bytes: struct bpf_map_info, bpf_prog_info or bpf_link_info of linux/bpf.h. */
export function objectInfo(fd: Fd, kind: BpfObjectKind, size: number): ReturnType<typeof struct> {
  const info = struct(size);
  const result = libbpf().objectInfo(fd.number, info.bytes, new Uint32Array([size]));
  if (result < 0) throw callError(`read ${kind} info`, result);
  return info;
}

/** Reads what a new owner wants to know of its object; where that fails the descriptor goes. */
export function readOrClose<T>(fd: Fd, read: (fd: Fd) => T): T {
  try {
    return read(fd);
  } catch (error) {
    fd.close();
    throw error;
  }
}
