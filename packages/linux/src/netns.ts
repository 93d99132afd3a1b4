import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  unlinkSync,
} from 'node:fs';
import { callError, invalidArgument, LinuxError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { onFile } from './files.ts';
import { makeShared, mount, unmount } from './mounts.ts';
import { SocketOption } from './socket-options.ts';

const newNet = 0x4000_0000; // CLONE_NEWNET
const getNamespaceType = 0xb703; // NS_GET_NSTYPE of linux/nsfs.h
const directory = '/run/netns';

/** A network namespace, held by a descriptor: it lives as long as this is open. */
export class Netns implements Disposable {
  readonly fd: Fd;
  /** Device and inode of the namespace: differs from every other that lives at the same time. */
  readonly identity: { readonly device: bigint; readonly inode: bigint };

  private constructor(fd: Fd) {
    this.fd = fd;
    const { dev, ino } = fstatSync(fd.number, { bigint: true });
    this.identity = { device: dev, inode: ino };
  }

  /** A bind mount, /proc/PID/ns/net or /proc/PID/fd/N. Refuses what is no network namespace. */
  static open(path: string): Netns {
    // Without O_NONBLOCK a pipe in its place would hold this thread until somebody writes into it.
    const number = onFile('open network namespace', path, () =>
      openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    );
    const fd = Fd.adopt(number, `network namespace ${path}`);
    if (libc.ioctl(fd.number, getNamespaceType, null) !== newNet) {
      fd.close();
      throw invalidArgument('open network namespace', `${path} is no network namespace`, path);
    }
    return new Netns(fd);
  }

  static ofPid(pid: number): Netns {
    if (!Number.isInteger(pid) || pid < 1) {
      throw invalidArgument('open network namespace', `${pid} is no process id`, pid);
    }
    return Netns.open(`/proc/${pid}/ns/net`);
  }

  /** One that `ip netns` shows. */
  static named(name: string): Netns {
    return Netns.open(pathOf(name));
  }

  /** The calling thread's. */
  static current(): Netns {
    return Netns.open('/proc/thread-self/ns/net');
  }

  /** Makes one under a name, as `ip netns add` does. Throws exists. Its loopback is down. */
  static create(name: string): Netns {
    const path = pathOf(name);
    mkdirSync(directory, { recursive: true });
    makeShared(directory);
    closeSync(onFile('create network namespace', path, () => openSync(path, 'wx', 0o444)));
    try {
      stayingHome(() => {
        if (libc.unshare(newNet) < 0) throw callError('make network namespace', lastErrno(), name);
        mount({ source: '/proc/thread-self/ns/net', target: path, bind: true });
      });
      return Netns.open(path);
    } catch (error) {
      Netns.remove(name);
      throw error;
    }
  }

  /** Takes the name away; processes inside keep the namespace alive. False when there was none. */
  static remove(name: string): boolean {
    const path = pathOf(name);
    try {
      unmount(path, { lazy: true });
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      if (error.code === 'not-found') return false;
      // EINVAL: a name left over without a mount, by a crash in the middle of create.
      if (error.code !== 'invalid-argument') throw error;
    }
    onFile('remove network namespace', path, () => unlinkSync(path));
    return true;
  }

  static list(): string[] {
    try {
      return readdirSync(directory).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  sameAs(other: Netns): boolean {
    return (
      this.identity.inode === other.identity.inode && this.identity.device === other.identity.device
    );
  }

  /** The number that bpf_get_netns_cookie gives: never used again, unlike an inode. Linux 5.14. */
  cookie(): bigint {
    return this.run(() => {
      using socket = Fd.adopt(libc.socket(2, 2, 0), 'socket');
      const value = new BigUint64Array(1);
      const { level, name } = SocketOption.netnsCookie;
      const bytes = new Uint8Array(value.buffer);
      if (libc.getsockopt(socket.number, level, name, bytes, Uint32Array.of(8)) < 0) {
        throw callError('read namespace cookie', lastErrno());
      }
      return value[0]!;
    });
  }

  /**
   * Runs `fn` with the calling thread inside. Synchronous only: what a promise does later would run
   * outside again, so a returned one is refused. node:fs calls with Sync in their name see this
   * namespace's /proc/sys/net; their asynchronous kin run on other threads and do not.
   */
  run<T>(fn: () => T): T {
    return stayingHome(() => {
      if (libc.setns(this.fd.number, newNet) < 0) {
        throw callError('enter network namespace', lastErrno());
      }
      const result = fn();
      if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
        throw invalidArgument('run in namespace', 'the function must not be asynchronous');
      }
      return result;
    });
  }

  dup(): Netns {
    return new Netns(this.fd.dup());
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function pathOf(name: string): string {
  // A name is one file name: nothing that leads elsewhere.
  if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..') {
    throw invalidArgument(
      'network namespace',
      `${JSON.stringify(name)} is no namespace name`,
      name,
    );
  }
  return `${directory}/${name}`;
}

/** Runs `fn`, which changes the thread's network namespace, and comes back whatever happens. */
function stayingHome<T>(fn: () => T): T {
  const path = '/proc/thread-self/ns/net';
  using home = Fd.adopt(
    onFile('open network namespace', path, () => openSync(path, 'r')),
    'home network namespace',
  );
  try {
    return fn();
  } finally {
    if (libc.setns(home.number, newNet) < 0) {
      // To go on in the wrong namespace would wreck somebody else's network, silently.
      process.abort();
    }
  }
}
