import { invalidArgument } from './errors.ts';
import { addressOf, struct } from './ffi/memory.ts';
import { setSocketOption } from './socket-options.ts';

/**
 * Classic BPF on a socket: the kernel drops what the filter refuses before it takes room in the
 * receive buffer, so that a flood of it costs the receiver nothing. linux/filter.h; a filter is a
 * list of {code, jt, jf, k} and returns how many bytes to keep, 0 for none.
 */
export interface FilterInstruction {
  readonly code: number;
  readonly ifTrue: number;
  readonly ifFalse: number;
  readonly k: number;
}

const attach = { level: 1, name: 26 } as const; // SO_ATTACH_FILTER
/** Added to an offset, it counts from the network header instead of the payload. SKF_NET_OFF */
const networkHeader = -0x100000;

const instruction = (code: number, k: number, ifTrue = 0, ifFalse = 0): FilterInstruction => ({
  code,
  ifTrue,
  ifFalse,
  k,
});
const loadByte = (offset: number) => instruction(0x30, offset); // BPF_LD | BPF_B | BPF_ABS
const atLeast = (k: number, ifTrue: number, ifFalse: number) =>
  instruction(0x35, k, ifTrue, ifFalse); // BPF_JMP | BPF_JGE | BPF_K
const keep = (bytes: number) => instruction(0x06, bytes); // BPF_RET | BPF_K

const all = 0xffff_ffff;

/** Takes nothing: for sockets that only send. */
export const refuseAll: readonly FilterInstruction[] = [keep(0)];

/**
 * Takes datagrams that come with at least this TTL or hop limit (RFC 5082). On a socket of one family:
 * byte 8 of an IPv4 header, byte 7 of an IPv6 one.
 */
export function minimumTtl(family: 'ipv4' | 'ipv6', ttl: number): readonly FilterInstruction[] {
  const offset = family === 'ipv4' ? 8 : 7;
  return [loadByte(networkHeader + offset), atLeast(ttl, 0, 1), keep(all), keep(0)];
}

/** Sets or replaces the socket's filter. What is queued already stays. */
export function attachSocketFilter(fd: number, filter: readonly FilterInstruction[]): void {
  if (filter.length === 0 || filter.length > 4096)
    throw invalidArgument('socket filter', `1 to 4096 instructions, not ${filter.length}`);
  // struct sock_fprog and, behind it in the same memory, what it points to.
  const { bytes, view } = struct(16 + 8 * filter.length);
  view.setUint16(0, filter.length, true);
  view.setBigUint64(8, addressOf(bytes) + 16n, true);
  filter.forEach(({ code, ifTrue, ifFalse, k }, index) => {
    const at = 16 + 8 * index;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, ifTrue);
    view.setUint8(at + 3, ifFalse);
    view.setUint32(at + 4, k >>> 0, true);
  });
  setSocketOption(fd, attach, bytes.subarray(0, 16));
}
