import type { z } from 'zod';
import { checkConfig, loadConfig } from './config.ts';
import { messageWithCauses } from './errors.ts';
import { lockRunDirectory } from './lock.ts';
import type { Log } from './log.ts';
import { runProgram } from './program.ts';

/** Of all programs, which are built and installed as one. */
export const VERSION = '0.1.0';

/** What whoever starts a daemon may say. */
export interface DaemonOptions {
  /** Ends the daemon in good order. Without one, SIGTERM and SIGINT do. */
  readonly signal?: AbortSignal;
  /** In place of lines on stderr. */
  readonly log?: Log;
}

/** What a daemon finds when it starts. */
export interface Daemon {
  readonly log: Log;
  /** Aborts when the daemon shall end. */
  readonly signal: AbortSignal;
  /** For its status. */
  about(): { readonly version: string; readonly startedAt: string; readonly uptimeSeconds: number };
  /** For its API: a request failed by a fault of ours. */
  onError(error: unknown, request: { readonly method: string; readonly path: string }): void;
}

/** Settings out of a file by its name, or what would be in it. Throws DaemonError `bad-config`. */
export const settingsOf = <T, I>(config: string | I | undefined, schema: z.ZodType<T, I>): T =>
  typeof config === 'string' ? loadConfig(config, schema) : checkConfig(config ?? {}, schema);

/**
 * Runs a daemon until it is told to end: one of its role in a run directory, errors that nobody caught in its log.
 * Throws DaemonError `already-running`, and what `serve` throws.
 */
export async function runDaemon(
  role: string,
  options: DaemonOptions & { readonly runDir: string; readonly log: Log },
  serve: (daemon: Daemon) => Promise<void>,
): Promise<void> {
  const { runDir, log, signal } = options;
  const startedAt = Date.now();
  await runProgram({ log, ...(signal === undefined ? {} : { signal }) }, async (stop) => {
    using _lock = lockRunDirectory(runDir, role);
    await serve({
      log,
      signal: stop,
      about: () => ({
        version: VERSION,
        startedAt: new Date(startedAt).toISOString(),
        uptimeSeconds: Math.round((Date.now() - startedAt) / 1000),
      }),
      onError: (error, request) =>
        log.error({ ...request, error: messageWithCauses(error) }, 'a request failed'),
    });
  });
}
