import { callError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';

const closeOnExec = 0x80000; // EFD_CLOEXEC
const nonBlocking = 0x800; // EFD_NONBLOCK
const tryAgain = 11;

/**
 * eventfd(2): wakes a thread that waits in `PollSet.wait`. One thread makes it and hands its
 * number to others, which take a copy.
 */
export class EventFd implements Disposable {
  readonly fd: Fd;

  constructor(fd: Fd = open()) {
    this.fd = fd;
  }

  /** A handle of its own for another thread, on what the number of this one's descriptor names. */
  static copyOf(number: number): EventFd {
    return new EventFd(Fd.copyOf(number, 'event descriptor'));
  }

  /** Makes it readable, for every thread that waits for it. */
  signal(): void {
    const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
    // EAGAIN: the counter is full, so it is readable already.
    if (libc.write(this.fd.number, one, 8) < 0 && lastErrno() !== tryAgain)
      throw callError('signal event descriptor', lastErrno());
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

function open(): Fd {
  const number = libc.eventfd(0, closeOnExec | nonBlocking);
  if (number < 0) throw callError('make event descriptor', lastErrno());
  return Fd.adopt(number, 'event descriptor');
}
