import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { LabError } from '../errors.ts';
import type { Lab } from '../lab.ts';

const FLOWS_MS = 60_000;

/**
 * A process in a place of the lab that makes traffic. It prints a line when traffic flows; when its standard input
 * ends, it prints its results, a line of JSON, and ends.
 */
export abstract class TrafficClient<Result> implements AsyncDisposable {
  readonly #from: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  protected constructor(lab: Pick<Lab, 'spawn'>, from: string, program: string, argument: unknown) {
    this.#from = from;
    const argv = [process.execPath, '-e', program, JSON.stringify(argument)];
    this.#child = lab.spawn(from, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** Throws LabError `timed-out` when it sees no traffic for long. */
  protected async flows(): Promise<this> {
    const late = setTimeout(() => this.#child.kill('SIGKILL'), FLOWS_MS);
    const { done } = await this.#lines.next();
    clearTimeout(late);
    if (done !== true) return this;
    throw new LabError('timed-out', `no traffic of ${this.#from} has been answered everywhere`, {
      value: this.#from,
    });
  }

  async stop(): Promise<Result[]> {
    this.#child.stdin!.end();
    const { value } = await this.#lines.next();
    return JSON.parse(value as string) as Result[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endChild(this.#child);
  }
}

/** Has a child that may have ended already end now. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}
