import { closeSync, openSync, unlinkSync } from 'node:fs';
import { callError, invalidArgument, LinuxError, UnsupportedError } from '../errors.ts';
import { Fd } from '../fd.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { struct } from '../ffi/memory.ts';
import { BpfObject, objectInfo, openById, openPin } from './object.ts';
import type { BpfProgram } from './program.ts';
import { queryPrograms } from './query.ts';

export type Direction = 'ingress' | 'egress';

// enum bpf_attach_type of linux/bpf.h
const tcxAttachType: Readonly<Record<Direction, number>> = { ingress: 46, egress: 47 };
export const cgroupAttachTypes = {
  sock_create: 2,
  bind4: 8,
  bind6: 9,
  connect4: 10,
  connect6: 11,
  post_bind4: 12,
  post_bind6: 13,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
  getsockname4: 31,
  getsockname6: 32,
  sock_release: 34,
} as const;
export type CgroupHook = keyof typeof cgroupAttachTypes;

export interface LinkInfo {
  readonly id: number;
  readonly type: 'tcx' | 'cgroup' | 'xdp' | 'other';
  readonly programId: number;
  /** Of tcx and xdp links; 0 once the device is gone. */
  readonly ifindex?: number;
  /** Of cgroup links: the cgroup's inode number. */
  readonly cgroupId?: bigint;
  readonly attachType?: number;
}

const linkType = { cgroup: 3, xdp: 6, tcx: 11 } as const;
const schedCls = 3; // BPF_PROG_TYPE_SCHED_CLS
const replaceFlag = 4; // BPF_F_REPLACE

/** An attachment of a program. Unpinned it ends with its last descriptor. */
export class BpfLink extends BpfObject {
  private constructor(fd: Fd) {
    super('link', fd);
  }

  /** Takes the descriptor over. */
  static adopt(fd: Fd): BpfLink {
    return new BpfLink(fd);
  }

  static openPinned(path: string): BpfLink {
    return new BpfLink(openPin(path, 'link'));
  }

  static openId(id: number): BpfLink {
    return new BpfLink(openById(id, 'link'));
  }

  /** struct bpf_link_info of linux/bpf.h. */
  info(): LinkInfo {
    const { view } = objectInfo(this.fd, 'link', 64);
    const type = view.getUint32(0, true);
    const common = { id: view.getUint32(4, true), programId: view.getUint32(8, true) };
    switch (type) {
      case linkType.tcx:
        return {
          ...common,
          type: 'tcx',
          ifindex: view.getUint32(16, true),
          attachType: view.getUint32(20, true),
        };
      case linkType.cgroup:
        return {
          ...common,
          type: 'cgroup',
          cgroupId: view.getBigUint64(16, true),
          attachType: view.getUint32(24, true),
        };
      case linkType.xdp:
        return { ...common, type: 'xdp', ifindex: view.getUint32(16, true) };
      default:
        return { ...common, type: 'other' };
    }
  }

  /**
   * Puts another program in place, with no packet in between that sees none. With `expected` only
   * if that is the present one: code 'busy' when somebody else was faster.
   */
  update(program: BpfProgram, expected?: BpfProgram): void {
    const { bytes, view } = struct(16);
    view.setBigUint64(0, 16n, true);
    if (expected !== undefined) {
      view.setUint32(8, replaceFlag, true);
      view.setUint32(12, expected.fd.number, true);
    }
    const result = libbpf().linkUpdate(this.fd.number, program.fd.number, bytes);
    if (result === -1 && expected !== undefined) {
      throw new LinuxError('busy', 'the link has another program than expected', {
        operation: 'update link',
        errno: 1,
        value: expected.info.name,
      });
    }
    if (result < 0) throw callError('update link to program', result, program.info.name);
  }

  /** Ends the attachment now, whoever else holds the link. */
  detach(): void {
    const result = libbpf().linkDetach(this.fd.number);
    if (result < 0) throw callError('detach link', result);
  }
}

/**
 * Attaches behind the programs that the device has. The index is one of the calling thread's
 * namespace. Throws UnsupportedError below Linux 6.6: take attachTcFilter there.
 */
export function attachTcx(program: BpfProgram, ifindex: number, direction: Direction): BpfLink {
  if (program.info.type !== schedCls) {
    throw invalidArgument('attach', `${program.info.name} is no tc program`, program.info.name);
  }
  const fd = libbpf().linkCreate(program.fd.number, ifindex, tcxAttachType[direction], null);
  // EINVAL for the attach type is all that an older kernel says; the device itself gives ENODEV.
  if (fd === -22) throw new UnsupportedError('tcx link', 'Linux 6.6', callError('attach', fd));
  if (fd < 0) throw callError(`attach ${program.info.name} to ${direction} of device`, fd, ifindex);
  return BpfLink.adopt(Fd.adopt(fd, `tcx link on ${ifindex}`));
}

/** Where an XDP program runs: in the device's driver, or behind it, where the kernel has made an skb of the packet. */
export type XdpMode = 'native' | 'generic';

const xdpAttachType = 37; // BPF_XDP
// XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE of linux/if_link.h
const xdpFlags: Readonly<Record<XdpMode, number>> = { generic: 2, native: 4 };

/**
 * One program a device. The index is one of the calling thread's namespace. Throws UnsupportedError where the driver
 * has no XDP of its own and `native` is asked for.
 */
export function attachXdp(program: BpfProgram, ifindex: number, mode: XdpMode): BpfLink {
  const { bytes, view } = struct(16);
  view.setBigUint64(0, 16n, true);
  view.setUint32(8, xdpFlags[mode], true);
  const fd = libbpf().linkCreate(program.fd.number, ifindex, xdpAttachType, bytes);
  if (fd === -95 && mode === 'native') {
    throw new UnsupportedError('XDP in the driver', 'a driver with XDP', callError('attach', fd));
  }
  if (fd < 0) throw callError(`attach ${program.info.name} to XDP of device`, fd, ifindex);
  return BpfLink.adopt(Fd.adopt(fd, `XDP link on ${ifindex}`));
}

/** tcx programs of a device in their order; linkId 0 for those attached without a link. */
export function queryTcx(
  ifindex: number,
  direction: Direction,
): { readonly programId: number; readonly linkId: number }[] {
  return queryPrograms(ifindex, tcxAttachType[direction]);
}

/** Attaches to a cgroup (v2) and, after the programs of its ancestors, to all below it. */
export function attachCgroup(program: BpfProgram, cgroupPath: string, hook: CgroupHook): BpfLink {
  return withDirectory(cgroupPath, (cgroup) => {
    const fd = libbpf().linkCreate(program.fd.number, cgroup, cgroupAttachTypes[hook], null);
    if (fd < 0) throw callError(`attach ${program.info.name} to ${hook} of cgroup`, fd, cgroupPath);
    return BpfLink.adopt(Fd.adopt(fd, `cgroup link on ${cgroupPath}`));
  });
}

/** Programs at one hook of one cgroup, those of its ancestors left out. */
export function queryCgroup(
  cgroupPath: string,
  hook: CgroupHook,
): { readonly programId: number; readonly linkId: number }[] {
  return withDirectory(cgroupPath, (cgroup) => queryPrograms(cgroup, cgroupAttachTypes[hook]));
}

/**
 * Removes a pin of a map, program or link; false when there is none. A link that had nothing else to
 * hold it ends a moment later, once the kernel has freed the inode: detach() ends it at once.
 */
export function unpin(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function withDirectory<T>(path: string, use: (fd: number) => T): T {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new LinuxError('not-found', `cannot open cgroup ${path}`, {
      operation: 'open cgroup',
      value: path,
      cause,
    });
  }
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
