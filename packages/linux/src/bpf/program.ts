import { callError, invalidArgument } from '../errors.ts';
import type { Fd } from '../fd.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { addressOf, fromCString, stableBytes, stableCopy, struct } from '../ffi/memory.ts';
import { BpfObject, objectInfo, openById, openPin, readOrClose } from './object.ts';

export interface ProgramInfo {
  /** The kernel's id. */
  readonly id: number;
  /** Cut to 15 characters by the kernel. */
  readonly name: string;
  /** BPF_PROG_TYPE_* */
  readonly type: number;
  /** Hash of the instructions, as hex. */
  readonly tag: string;
}

export interface TestRunInput {
  /** The frame, from its Ethernet header on; at least 14 bytes for tc programs. */
  readonly data?: Uint8Array;
  /** The program's context: skbContext() for tc programs. */
  readonly context?: Uint8Array;
  readonly repeat?: number;
  /**
   * XDP, Linux 5.18: the frames are real and go where the program sends them, so many at a time; none comes back, and
   * what the program or a receiver changed in one may be found in a later one.
   */
  readonly live?: number;
  /** Room for the frame that comes out, bytes; by default the input's length and 256. */
  readonly outputSize?: number;
}

export interface TestRunResult {
  /** Signed, as the program returned it. */
  readonly returnValue: number;
  readonly data: Uint8Array;
  readonly context: Uint8Array;
  /** Mean of the runs. */
  readonly durationNs: number;
}

const optionsSize = 80; // struct bpf_test_run_opts
const liveFrames = 2; // BPF_F_TEST_XDP_LIVE_FRAMES

/** A loaded program, held by its descriptor. */
export class BpfProgram extends BpfObject {
  readonly info: ProgramInfo;

  private constructor(fd: Fd) {
    super('program', fd);
    this.info = readOrClose(fd, readInfo);
  }

  /** Takes the descriptor over, also when it is no program and this throws. */
  static adopt(fd: Fd): BpfProgram {
    return new BpfProgram(fd);
  }

  static openPinned(path: string): BpfProgram {
    return new BpfProgram(openPin(path, 'program'));
  }

  static openId(id: number): BpfProgram {
    return new BpfProgram(openById(id, 'program'));
  }

  dup(): BpfProgram {
    return new BpfProgram(this.fd.dup());
  }

  /** BPF_PROG_TEST_RUN: runs the program on a frame of ours, with its real maps and helpers. */
  testRun(input: TestRunInput = {}): TestRunResult {
    const repeat = input.repeat ?? 1;
    if (!Number.isInteger(repeat) || repeat < 1) {
      throw invalidArgument('test run', 'repeat is a count of at least 1', repeat);
    }
    const data = input.data && stableCopy(input.data);
    const context = input.context && stableCopy(input.context);
    const { live } = input;
    if (live !== undefined && !(Number.isInteger(live) && live >= 1 && live <= 64)) {
      throw invalidArgument('test run', 'live frames go 1 to 64 at a time', live);
    }
    const room =
      data === undefined || live !== undefined ? 0 : (input.outputSize ?? data.length + 256);
    const dataOut = stableBytes(room);
    const contextOut = stableBytes(context?.length ?? 0);
    const { bytes, view } = struct(optionsSize);
    view.setBigUint64(0, BigInt(optionsSize), true);
    view.setBigUint64(8, addressOf(data), true);
    view.setBigUint64(16, room > 0 ? addressOf(dataOut) : 0n, true);
    view.setUint32(24, data?.length ?? 0, true);
    view.setUint32(28, room, true);
    view.setBigUint64(32, addressOf(context), true);
    view.setBigUint64(40, context === undefined ? 0n : addressOf(contextOut), true);
    view.setUint32(48, context?.length ?? 0, true);
    view.setUint32(52, context?.length ?? 0, true);
    // The kernel refuses repeat for programs whose context it cannot reset (sock_addr and the like).
    view.setInt32(60, repeat === 1 ? 0 : repeat, true);
    if (live !== undefined) {
      view.setUint32(68, liveFrames, true);
      view.setUint32(76, live, true);
    }
    const result = libbpf().testRun(this.fd.number, bytes);
    if (result < 0) throw callError('test run of program', result, this.info.name);
    return {
      returnValue: view.getInt32(56, true),
      data: dataOut.slice(0, Math.min(view.getUint32(28, true), room)),
      context: contextOut.slice(0, view.getUint32(52, true)),
      durationNs: view.getUint32(64, true),
    };
  }
}

/** struct bpf_prog_info of linux/bpf.h. */
function readInfo(fd: Fd): ProgramInfo {
  const { bytes, view } = objectInfo(fd, 'program', 232);
  return {
    type: view.getUint32(0, true),
    id: view.getUint32(4, true),
    tag: Buffer.from(bytes.subarray(8, 16)).toString('hex'),
    name: fromCString(bytes.subarray(64, 80)),
  };
}
