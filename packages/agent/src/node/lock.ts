import fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { FileLock } from '@causeway/linux';
import { AgentError } from '../errors.ts';

/** Abstract: the kernel keeps such names apart by network namespace, and lets go of them with the process. */
const NODE_SOCKET = '\0causeway-agent';

/**
 * One agent per network namespace, whatever run directory it has: the devices and routes of two would be
 * the same ones. Throws AgentError `already-running`.
 */
export async function lockNetwork(name = NODE_SOCKET): Promise<AsyncDisposable> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(name, resolve);
    });
  } catch (cause) {
    throw new AgentError(
      'already-running',
      "another agent serves this node's network with another run directory",
      { field: 'runDir', hint: 'stop it first; two agents would undo each other', cause },
    );
  }
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** One agent per run directory: the lock lasts as long as the process, however it ends. */
export function lockNode(runDir: string): Disposable {
  const file = path.join(runDir, 'agent.lock');
  try {
    fs.mkdirSync(runDir, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw new AgentError('lock-failed', `cannot make the run directory ${runDir}`, {
      field: 'runDir',
      value: runDir,
      hint: 'the agent runs as root and needs a writable run directory',
      cause,
    });
  }
  const lock = FileLock.tryAcquire(file);
  if (lock !== undefined) return lock;
  const pid = FileLock.holder(file);
  throw new AgentError(
    'already-running',
    `another agent serves this node${pid === undefined ? '' : ` with pid ${pid}`}; it holds ${file}`,
    { field: 'runDir', value: runDir, hint: 'stop it first; two agents would undo each other' },
  );
}
