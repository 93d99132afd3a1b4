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
/** Added to an offset, it counts from the network header instead of the socket's data. SKF_NET_OFF */
const networkHeader = -0x100000;

const instruction = (code: number, k: number, ifTrue = 0, ifFalse = 0): FilterInstruction => ({
  code,
  ifTrue,
  ifFalse,
  k,
});

/**
 * The instructions, by what they do to the accumulator. Offsets count from the UDP header on a UDP
 * socket, or from the IP header with `ofNetwork`; a load from beyond the end refuses the packet. A
 * jump skips as many instructions as it says, up to 255.
 */
export const filterStep = Object.freeze({
  loadByte: (offset: number) => instruction(0x30, offset), // BPF_LD | BPF_B | BPF_ABS
  loadWord: (offset: number) => instruction(0x20, offset), // BPF_LD | BPF_W | BPF_ABS
  /** Modulo 2^32. */
  multiply: (k: number) => instruction(0x24, k), // BPF_ALU | BPF_MUL | BPF_K
  shiftRight: (bits: number) => instruction(0x74, bits), // BPF_ALU | BPF_RSH | BPF_K
  skipIfEqual: (k: number, ifTrue: number, ifFalse: number) =>
    instruction(0x15, k, ifTrue, ifFalse), // BPF_JMP | BPF_JEQ | BPF_K
  skipIfAtLeast: (k: number, ifTrue: number, ifFalse: number) =>
    instruction(0x35, k, ifTrue, ifFalse), // BPF_JMP | BPF_JGE | BPF_K
  /** Ends the filter. BPF_RET | BPF_K */
  accept: instruction(0x06, 0xffff_ffff),
  refuse: instruction(0x06, 0),
  ofNetwork: (offset: number) => networkHeader + offset,
});

/** The most instructions that the kernel takes: BPF_MAXINSNS. */
export const longestFilter = 4096;

/** Takes nothing: for sockets that only send. */
export const refuseAll: readonly FilterInstruction[] = [filterStep.refuse];

/** Sets or replaces the socket's filter. What is queued already stays. */
export function attachSocketFilter(fd: number, filter: readonly FilterInstruction[]): void {
  if (filter.length === 0 || filter.length > longestFilter)
    throw invalidArgument(
      'socket filter',
      `1 to ${longestFilter} instructions, not ${filter.length}`,
    );
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
