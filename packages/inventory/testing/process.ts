import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Asks again until it holds; errors of a server that is not up yet count as no. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 120_000,
): Promise<void> {
  const end = Date.now() + limitMs;
  let last: unknown;
  for (;;) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Programs of this size take their time where others want the processors too. */
const START_MS = 300_000;

/** A directory that goes with what stands in it. */
export class Scratch implements Disposable {
  readonly path: string;

  constructor(what = 'inventory') {
    this.path = mkdtempSync(join(tmpdir(), `causeway-${what}-${process.pid}-`));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    // What was killed is gone only a moment later, and may have written meanwhile.
    rmSync(this.path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/**
 * A program with all that it starts, in a process namespace of its own: none of them outlives it, nor the
 * process that runs the test.
 */
export class Program implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #log: string;
  readonly #name: string;

  constructor(
    name: string,
    scratch: Scratch,
    command: readonly string[],
    options: { readonly env?: Record<string, string>; readonly pipes?: boolean } = {},
  ) {
    this.#name = name;
    this.#log = scratch.file(`${name}.log`);
    const log = openSync(this.#log, 'w');
    this.child = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'unshare', '--pid', '--fork', '--kill-child=KILL', ...command],
      {
        cwd: scratch.path,
        // Nothing of the tester's own settings, and no byte code written beside Debian's files.
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', ...options.env },
        stdio: [options.pipes ? 'pipe' : 'ignore', options.pipes ? 'pipe' : log, log],
      },
    );
    this.child.on('error', () => {});
    // It ends with us by itself; a test that failed must not wait for it.
    this.child.unref();
  }

  /** Waits for a condition while the program runs. */
  async ready(condition: () => boolean | Promise<boolean>): Promise<void> {
    await until(
      `${this.#name} is ready`,
      async () => {
        if (this.child.exitCode !== null || this.child.pid === undefined) return true;
        return condition();
      },
      START_MS,
    );
    if (this.child.exitCode === null && this.child.pid !== undefined) return;
    throw new Error(`${this.#name} ended: ${readFileSync(this.#log, 'utf8').slice(-4000)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { child } = this;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
