import { callError } from './errors.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { struct } from './ffi/memory.ts';

const pollIn = 0x001;
const interrupted = 4;

/**
 * Waits for descriptors to become readable, blocking the calling thread: for a thread of its own that
 * must wake on time, where the event loop's milliseconds are too coarse and its other work too long.
 * Nothing is allocated by waiting.
 */
export class PollSet {
  readonly #fds: ReturnType<typeof struct>;
  readonly #count: number;
  readonly #timeout = struct(16);

  constructor(fds: readonly number[]) {
    this.#count = fds.length;
    this.#fds = struct(8 * fds.length);
    fds.forEach((fd, index) => {
      this.#fds.view.setInt32(8 * index, fd, true);
      this.#fds.view.setInt16(8 * index + 4, pollIn, true);
    });
  }

  /** Until one is readable or `micros` have passed; ppoll(2). Returns how many are readable. */
  wait(micros: number): number {
    const whole = Math.max(0, Math.ceil(micros));
    const seconds = Math.floor(whole / 1e6);
    this.#timeout.view.setUint32(0, seconds, true);
    this.#timeout.view.setUint32(8, (whole - seconds * 1e6) * 1000, true);
    const ready = libc.ppoll(this.#fds.bytes, this.#count, this.#timeout.bytes, null);
    if (ready >= 0) return ready;
    const errno = lastErrno();
    if (errno === interrupted) return 0;
    throw callError('wait for descriptors', errno);
  }

  /** Whether the descriptor at this place in the list had something at the last wait, an error included. */
  ready(index: number): boolean {
    return this.#fds.view.getInt16(8 * index + 6, true) !== 0;
  }
}
