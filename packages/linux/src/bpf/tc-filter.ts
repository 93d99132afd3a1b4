import { callError } from '../errors.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { capturingWarnings } from '../ffi/libbpf-print.ts';
import { struct } from '../ffi/memory.ts';
import type { Direction } from './link.ts';
import type { BpfProgram } from './program.ts';

/**
 * A place on a device for a program in direct-action mode, below its clsact qdisc: what there was
 * before tcx (Linux 6.6). The index is one of the calling thread's namespace.
 */
export interface TcFilter {
  readonly ifindex: number;
  readonly direction: Direction;
  /** Together with the priority it names the filter: attaching again replaces atomically. */
  readonly handle: number;
  readonly priority: number;
}

// struct bpf_tc_hook and struct bpf_tc_opts of libbpf.h
function hookOf(filter: TcFilter): Uint8Array {
  const { bytes, view } = struct(24);
  view.setBigUint64(0, 24n, true);
  view.setInt32(8, filter.ifindex, true);
  view.setUint32(12, filter.direction === 'ingress' ? 1 : 2, true);
  return bytes;
}

function optionsOf(filter: TcFilter, programFd: number, flags: number) {
  const { bytes, view } = struct(32);
  view.setBigUint64(0, 32n, true);
  view.setInt32(8, programFd, true);
  view.setUint32(12, flags, true);
  view.setUint32(20, filter.handle, true);
  view.setUint32(24, filter.priority, true);
  return { bytes, view };
}

const replace = 1; // BPF_TC_F_REPLACE
const exists = -17;
/** ENOENT: no such filter. EINVAL: no clsact qdisc. ENODEV: the device went, and all with it. */
const absent = new Set([-2, -22, -19]);

/** Makes the clsact qdisc if it is not there and sets the filter, in place of one of the same name. */
export function attachTcFilter(program: BpfProgram, filter: TcFilter): void {
  const hook = hookOf(filter);
  const { result, warnings } = capturingWarnings(() => {
    const created = libbpf().tcHookCreate(hook);
    if (created < 0 && created !== exists) return created;
    return libbpf().tcAttach(hook, optionsOf(filter, program.fd.number, replace).bytes);
  });
  if (result < 0) {
    throw callError(`attach tc filter (${warnings.trim()}) to device`, result, filter.ifindex);
  }
}

/** False when there was none. The clsact qdisc stays: others may use it. */
export function detachTcFilter(filter: TcFilter): boolean {
  const { result } = capturingWarnings(() =>
    libbpf().tcDetach(hookOf(filter), optionsOf(filter, 0, 0).bytes),
  );
  if (result < 0 && !absent.has(result)) {
    throw callError('detach tc filter of device', result, filter.ifindex);
  }
  return result === 0;
}

/** The program at that place, if any. */
export function queryTcFilter(filter: TcFilter): { readonly programId: number } | undefined {
  const options = optionsOf(filter, 0, 0);
  const { result } = capturingWarnings(() => libbpf().tcQuery(hookOf(filter), options.bytes));
  if (absent.has(result)) return undefined;
  if (result < 0) throw callError('query tc filter of device', result, filter.ifindex);
  return { programId: options.view.getUint32(16, true) };
}
