import { ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { callError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './ffi/libc.ts';
import { onFile } from './files.ts';

const exclusive = 2; // LOCK_EX
const nonBlocking = 4; // LOCK_NB
const wouldBlock = 11;

/**
 * An advisory lock (flock) that the kernel drops with the process, however it ends: what keeps a
 * second agent off a node. The file stays; it holds the process id of its last holder.
 */
export class FileLock implements Disposable {
  readonly path: string;
  readonly #fd: Fd;

  private constructor(path: string, fd: Fd) {
    this.path = path;
    this.#fd = fd;
  }

  /** Undefined when another holds it: holder() tells who. */
  static tryAcquire(path: string): FileLock | undefined {
    const number = onFile('open lock file', path, () => openSync(path, 'a+', 0o600));
    const fd = Fd.adopt(number, `lock ${path}`);
    if (libc.flock(fd.number, exclusive | nonBlocking) < 0) {
      const errno = lastErrno();
      fd.close();
      if (errno === wouldBlock) return undefined;
      throw callError('lock', errno, path);
    }
    ftruncateSync(fd.number, 0);
    writeSync(fd.number, `${process.pid}\n`);
    return new FileLock(path, fd);
  }

  /** The process id that the last holder wrote, if the file tells one. */
  static holder(path: string): number | undefined {
    try {
      const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
      return pid > 0 ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
