import { callError, type LinuxError } from './errors.ts';

/** The error of a node:fs call as one of ours; what is no system error goes through. */
export function fileError(operation: string, error: unknown, path: string): LinuxError {
  const errno = (error as NodeJS.ErrnoException).errno;
  if (typeof errno !== 'number') throw error;
  return callError(operation, errno, path);
}

/** Runs a node:fs call and turns its error into one of ours. */
export function onFile<T>(operation: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fileError(operation, error, path);
  }
}
