import { callError } from '../errors.ts';
import { bpfSystemCall, lastErrno, libc } from '../ffi/libc.ts';
import { addressOf, stableBytes, struct } from '../ffi/memory.ts';

const programQuery = 16; // BPF_PROG_QUERY
const mostPrograms = 64; // BPF_MPROG_MAX; cgroups take as many

/**
 * BPF_PROG_QUERY by the bare system call, as libbpf 1.1 cannot ask for link ids. Below Linux 6.6 the
 * kernel does not tell them: then they are 0.
 */
export function queryPrograms(
  target: number,
  attachType: number,
): { programId: number; linkId: number }[] {
  const programs = stableBytes(mostPrograms * 4);
  const links = stableBytes(mostPrograms * 4);
  const query = (withLinks: boolean) => {
    const { bytes, view } = struct(64);
    view.setUint32(0, target, true);
    view.setUint32(4, attachType, true);
    view.setBigUint64(16, addressOf(programs), true);
    view.setUint32(24, mostPrograms, true);
    if (withLinks) view.setBigUint64(40, addressOf(links), true);
    const result = libc.syscall5(bpfSystemCall, programQuery, bytes, withLinks ? 64 : 40, 0, 0);
    return { errno: result < 0 ? lastErrno() : 0, count: view.getUint32(24, true) };
  };
  let answer = query(true);
  if (answer.errno === 22 || answer.errno === 7) answer = query(false);
  if (answer.errno === 2) return []; // ENOENT: nothing was ever attached there
  if (answer.errno !== 0) throw callError('query programs of', answer.errno, target);
  const programIds = new Uint32Array(programs.buffer);
  const linkIds = new Uint32Array(links.buffer);
  return Array.from({ length: Math.min(answer.count, mostPrograms) }, (_, index) => ({
    programId: programIds[index] ?? 0,
    linkId: linkIds[index] ?? 0,
  }));
}
