import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How long a child may take to end by itself. */
const END_MS = 2000;

/** What to take away when a person ends a benchmark early: block scopes do not run then. */
const left = new Set<() => Promise<void> | void>();

let interrupted = false;

/** For whoever fails since its children were taken away: never returns then, for the process ends here. */
export async function unlessInterrupted(): Promise<void> {
  if (interrupted) await new Promise<never>(() => {});
}

/** Has `takeAway` called on SIGINT or SIGTERM until the returned function is. */
export function takeAwayOnInterrupt(takeAway: () => Promise<void> | void): () => void {
  left.add(takeAway);
  return () => left.delete(takeAway);
}

/** Starts a child that an interrupted benchmark does not leave behind. */
export function startChild(argv: readonly string[], options: SpawnOptions): ChildProcess {
  const [file, ...rest] = argv;
  if (file === undefined) throw new RangeError('no command');
  const child = spawn(file, rest, options);
  const forget = takeAwayOnInterrupt(
    () =>
      new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        // Asked first: nginx's master takes its workers along then.
        if (!child.kill('SIGTERM')) resolve();
        setTimeout(() => child.kill('SIGKILL'), END_MS).unref();
      }),
  );
  child.once('exit', forget).once('error', forget);
  return child;
}

/** A directory that goes with its scope, or when the benchmark is interrupted. */
export function temporaryDirectory(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), `causeway-bench-${process.pid}-`));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  const forget = takeAwayOnInterrupt(remove);
  return {
    path,
    [Symbol.dispose]() {
      forget();
      remove();
    },
  };
}

/** Ends the process as shells expect of one that was interrupted, when all is taken away. */
export function armInterrupt(): void {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, async () => {
      interrupted = true;
      console.error(`bench: ${signal}: taking away what was built`);
      await Promise.allSettled([...left].map(async (takeAway) => takeAway()));
      process.exit(code);
    });
  }
}
