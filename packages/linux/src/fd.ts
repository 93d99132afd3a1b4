import { callError, LinuxError } from './errors.ts';
import { lastErrno, libc } from './ffi/libc.ts';

const dupFdCloexec = 1030; // F_DUPFD_CLOEXEC

/**
 * An owned descriptor. Closing twice does nothing; use after close throws code 'closed', so a
 * number that the kernel has given to somebody else meanwhile is never touched.
 */
export class Fd implements Disposable {
  readonly #what: string;
  #number: number;

  private constructor(number: number, what: string) {
    this.#number = number;
    this.#what = what;
  }

  /** Takes over `number`. 0, 1 and 2 are moved up first: too much code takes 0 for "none". */
  static adopt(number: number, what: string): Fd {
    if (number < 0) throw callError(`open ${what}`, number);
    if (number > 2) return new Fd(number, what);
    const moved = libc.fcntl(number, dupFdCloexec, 3);
    const errno = lastErrno();
    libc.close(number);
    if (moved < 0) throw callError(`open ${what}`, errno);
    return new Fd(moved, what);
  }

  get number(): number {
    if (this.#number < 0) {
      throw new LinuxError('closed', `${this.#what} is closed`, {
        operation: 'use',
        value: this.#what,
      });
    }
    return this.#number;
  }

  get closed(): boolean {
    return this.#number < 0;
  }

  /** An own copy of a number that somebody else keeps. */
  static copyOf(number: number, what: string): Fd {
    const copy = libc.fcntl(number, dupFdCloexec, 3);
    if (copy < 0) throw callError(`duplicate ${what}`, lastErrno());
    return new Fd(copy, what);
  }

  dup(): Fd {
    return Fd.copyOf(this.number, this.#what);
  }

  /** Gives the number away: the caller closes it. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  close(): void {
    const number = this.#number;
    this.#number = -1;
    if (number >= 0) libc.close(number);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
