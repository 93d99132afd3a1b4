import { callError } from './errors.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { struct } from './ffi/memory.ts';

/** How the calling thread is preferred: real time before everything else, nice among the ordinary. */
export type Preference =
  | { readonly type: 'realtime'; readonly priority: number }
  | { readonly type: 'nice'; readonly nice: number }
  | { readonly type: 'none'; readonly reason: string };

const roundRobin = 2; // SCHED_RR
const resetOnFork = 0x4000_0000; // SCHED_RESET_ON_FORK: nothing that this thread starts inherits it

/** Puts the calling thread under SCHED_RR. Throws LinuxError `denied` without CAP_SYS_NICE. */
function realtime(priority: number): void {
  const parameter = struct(4);
  parameter.view.setInt32(0, priority, true);
  if (libc.schedSetscheduler(0, roundRobin | resetOnFork, parameter.bytes) < 0)
    throw callError('run in real time with priority', lastErrno(), priority);
}

/** Sets the calling thread's nice value (on Linux it is the thread's own). Throws LinuxError. */
function nice(value: number): void {
  if (libc.setpriority(0, 0, value) < 0) throw callError('set nice value', lastErrno(), value);
}

/**
 * Prefers the calling thread as far as it is allowed: real time, else nice -20, else not at all, and
 * says which. Never throws: a thread that is only slower is better than none.
 *
 * Memory is not locked beside it: V8 gives pages back by madvise(2), which the kernel refuses for locked
 * ones, and V8 ends the process then.
 */
export function preferThisThread(priority = 10): Preference {
  try {
    realtime(priority);
    return { type: 'realtime', priority };
  } catch {
    // A container without CAP_SYS_NICE, or a cgroup without real-time time.
  }
  try {
    nice(-20);
    return { type: 'nice', nice: -20 };
  } catch (error) {
    return { type: 'none', reason: (error as Error).message };
  }
}
