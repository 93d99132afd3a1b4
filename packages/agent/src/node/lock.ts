import fs from 'node:fs';
import path from 'node:path';
import { FileLock } from '@causeway/linux';
import { AgentError } from '../errors.ts';

/** One agent per node: the lock lasts as long as the process, however it ends. */
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
