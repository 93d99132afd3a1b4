import { flushCompileCache } from 'node:module';
import os from 'node:os';
import { messageWithCauses } from './errors.ts';
import type { Log } from './log.ts';

/** By then everything that is loaded at the start has been. */
const FLUSH_MS = 500;

export interface ProgramOptions {
  /** Ends the program in good order. Without one, SIGTERM and SIGINT do, and its priority is raised. */
  readonly signal?: AbortSignal;
  readonly log: Log;
}

/**
 * Runs `work` until it returns, as the one thing that this process is for. Its signal aborts when the
 * program shall end. What nobody caught is a fault of ours, but no reason to leave the node without the
 * program: it is logged, and the program goes on.
 */
export async function runProgram(
  options: ProgramOptions,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  options.signal?.addEventListener('abort', end);
  if (options.signal?.aborted) end();
  if (options.signal === undefined) {
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
    precede();
  }
  const stray = (error: unknown) =>
    options.log.error(
      { error: messageWithCauses(error), stack: (error as Error)?.stack },
      'an error that nobody caught',
    );
  process.on('unhandledRejection', stray);
  process.on('uncaughtException', stray);
  // A program that runs for months, or is killed, would never leave the next one its compiled code,
  // without which that one is 15 MiB larger for as long as it runs.
  const flush = setTimeout(() => flushCompileCache(), FLUSH_MS);
  flush.unref();
  try {
    await work(stop.signal);
  } finally {
    clearTimeout(flush);
    process.off('unhandledRejection', stray);
    process.off('uncaughtException', stray);
    process.off('SIGTERM', end);
    process.off('SIGINT', end);
    options.signal?.removeEventListener('abort', end);
  }
}

/** Resolves when the signal aborts, at once if it has. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** A node's pods and sessions wait for its programs, so these do not wait behind the pods' own. */
function precede(): void {
  try {
    os.setPriority(os.constants.priority.PRIORITY_ABOVE_NORMAL);
  } catch {
    // Not allowed here; it is only slower then.
  }
}
