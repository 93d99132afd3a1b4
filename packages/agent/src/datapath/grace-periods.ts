import { closeSync, openSync, readSync, writeSync } from 'node:fs';

const SWITCH = '/sys/kernel/rcu_expedited';

/**
 * Runs something with the kernel's quick grace periods (Documentation/RCU, `rcu_expedited`). Each link
 * that is put on a device waits for one under the lock of all networking: 10 ms in place of 40 us, and
 * a burst of pods waits for all of them in turn. The switch is put back at once; where it cannot be
 * written, everything is only slower.
 */
export function quickly(work: () => void): void {
  const turned = turn('1');
  try {
    work();
  } finally {
    if (turned) turn('0');
  }
}

/** False where it stands so already, or cannot be changed. */
function turn(to: '0' | '1'): boolean {
  let fd: number | undefined;
  try {
    fd = openSync(SWITCH, 'r+');
    const present = Buffer.alloc(1);
    readSync(fd, present, 0, 1, 0);
    if (present.toString() === to) return false;
    writeSync(fd, to, 0);
    return true;
  } catch {
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
