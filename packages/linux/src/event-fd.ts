import { callError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';

const closeOnExec = 0x80000; // EFD_CLOEXEC
const nonBlocking = 0x800; // EFD_NONBLOCK
const tryAgain = 11;

/**
 * eventfd(2): wakes a thread that waits in `PollSet.wait`. One thread makes it; others signal through
 * its number, which stays valid in the whole process.
 */
export class EventFd implements Disposable {
  readonly fd: Fd;

  constructor() {
    const number = libc.eventfd(0, closeOnExec | nonBlocking);
    if (number < 0) throw callError('make event descriptor', lastErrno());
    this.fd = Fd.adopt(number, 'event descriptor');
  }

  /** Makes the descriptor `number` readable, from any thread. */
  static signal(number: number): void {
    const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
    // EAGAIN: the counter is full, so it is readable already.
    if (libc.write(number, one, 8) < 0 && lastErrno() !== tryAgain)
      throw callError('signal event descriptor', lastErrno(), number);
  }

  /** Takes back what was signalled. */
  clear(): void {
    libc.read(this.fd.number, new Uint8Array(8), 8);
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
