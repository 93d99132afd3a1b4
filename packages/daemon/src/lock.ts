import fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { FileLock } from '@causeway/linux';
import { DaemonError } from './errors.ts';

/**
 * One program of a kind per network namespace, whatever run directory it has: what two would do to
 * the kernel would be the same. `name` is abstract, so the kernel keeps it apart by namespace and lets
 * go of it with the process. @throws DaemonError `already-running`.
 */
export async function lockNetwork(
  program: string,
  name = `\0causeway-${program}`,
): Promise<AsyncDisposable> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(name, resolve);
    });
  } catch (cause) {
    throw new DaemonError(
      'already-running',
      `another ${program} serves this node's network with another run directory`,
      { field: 'runDir', hint: 'stop it first; two of them would undo each other', cause },
    );
  }
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/**
 * One program of a kind per run directory: a lock (flock) on `<runDir>/<program>.lock` that lasts as
 * long as the process, however it ends. The process id in the file only tells people who holds it: a
 * stale one, or one that is somebody else's by now, locks nobody out.
 * @throws DaemonError `already-running` or `lock-failed`.
 */
export function lockRunDirectory(runDir: string, program: string): Disposable {
  const file = path.join(runDir, `${program}.lock`);
  try {
    fs.mkdirSync(runDir, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw new DaemonError('lock-failed', `cannot make the run directory ${runDir}`, {
      field: 'runDir',
      value: runDir,
      hint: `the ${program} runs as root and needs a writable run directory`,
      cause,
    });
  }
  const lock = FileLock.tryAcquire(file);
  if (lock !== undefined) return lock;
  const pid = FileLock.holder(file);
  throw new DaemonError(
    'already-running',
    `another ${program} serves this node${pid === undefined ? '' : ` with pid ${pid}`}; it holds ${file}`,
    {
      field: 'runDir',
      value: runDir,
      hint: 'stop it first; two of them would undo each other',
    },
  );
}
