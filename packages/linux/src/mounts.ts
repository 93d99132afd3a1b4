import { mkdirSync } from 'node:fs';
import { callError } from './errors.ts';
import { lastErrno, libc } from './ffi/libc.ts';

export type Propagation = 'private' | 'slave' | 'shared';

export interface MountOptions {
  readonly source?: string;
  readonly target: string;
  /** "bpf", "tmpfs", "cgroup2" ... */
  readonly type?: string;
  readonly bind?: boolean;
  /** With bind or propagation: all mounts below, too. */
  readonly recursive?: boolean;
  readonly readOnly?: boolean;
  /** The file system's own options: "mode=0755". */
  readonly data?: string;
  /** Changes how an existing mount at `target` propagates; nothing is mounted then. */
  readonly propagation?: Propagation;
}

// MS_* of linux/mount.h
const flags = { readOnly: 1, bind: 4096, recursive: 16384, remount: 32 } as const;
const propagationFlags: Readonly<Record<Propagation, number>> = {
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
};
const newMounts = 0x0002_0000; // CLONE_NEWNS
const detach = 2; // MNT_DETACH

function callMount(
  source: string | null,
  target: string,
  type: string | null,
  flag: number,
  data: string | null,
): void {
  if (libc.mount(source, target, type, flag, data) < 0) {
    throw callError('mount', lastErrno(), target);
  }
}

/** mount(2) in the calling thread's mount namespace. */
export function mount(options: MountOptions): void {
  const recursive = options.recursive ? flags.recursive : 0;
  if (options.propagation !== undefined) {
    callMount(null, options.target, null, propagationFlags[options.propagation] | recursive, null);
    return;
  }
  const readOnly = options.readOnly ? flags.readOnly : 0;
  if (options.bind) {
    callMount(options.source ?? null, options.target, null, flags.bind | recursive, null);
    // The kernel ignores read-only on the bind itself.
    if (readOnly) {
      callMount(null, options.target, null, flags.bind | flags.remount | readOnly, null);
    }
    return;
  }
  const { source, target, type, data } = options;
  callMount(source ?? type ?? 'none', target, type ?? null, readOnly, data ?? null);
}

export function unmount(target: string, options: { readonly lazy?: boolean } = {}): void {
  if (libc.umount2(target, options.lazy ? detach : 0) < 0) {
    throw callError('unmount', lastErrno(), target);
  }
}

/** A mount point that hands on what is mounted below it to other mount namespaces, made if need be. */
export function makeShared(directory: string): void {
  const share = () =>
    libc.mount(null, directory, null, propagationFlags.shared | flags.recursive, null);
  if (share() === 0) return;
  mount({ source: directory, target: directory, bind: true, recursive: true });
  if (share() < 0) throw callError('share mount', lastErrno(), directory);
}

const bpffsMagic = 0xcafe4a11;

export function isBpffs(path: string): boolean {
  const buffer = new Uint8Array(120); // struct statfs: f_type comes first
  if (libc.statfs(path, buffer) < 0) return false;
  return new DataView(buffer.buffer).getUint32(0, true) === bpffsMagic;
}

/** Mounts a BPF file system at `path` unless `path` lies on one; true when it did. */
export function ensureBpffs(path: string): boolean {
  if (isBpffs(path)) return false;
  // A path below a BPF file system that does not exist yet is as good.
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw callError('create directory', (error as NodeJS.ErrnoException).errno ?? 5, path);
  }
  if (isBpffs(path)) return false;
  mount({ source: 'bpf', target: path, type: 'bpf', data: 'mode=0700' });
  return true;
}

/**
 * Gives the calling thread a mount namespace of its own, a slave of the old one. Only that thread:
 * asynchronous file calls of Node run on others and see the old mounts, so this is for programs that
 * do it first and then exec or work synchronously.
 */
export function unshareMounts(): void {
  if (libc.unshare(newMounts) < 0) throw callError('make mount namespace', lastErrno());
  mount({ target: '/', propagation: 'slave', recursive: true });
}
