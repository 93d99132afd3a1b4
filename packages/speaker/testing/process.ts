/** A daemon under test: its output kept, its memory and processor time read, ended by its process id. */
import { type ChildProcess, execFile } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './namespaces.ts';

export interface ProcessOptions {
  readonly name: string;
  readonly namespace: Namespace;
  readonly argv: readonly string[];
  /** Where its output is written, as NAME.log. */
  readonly directory: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with every line of standard output. */
  readonly onLine?: (line: string) => void;
}

export interface Usage {
  /** User and system time so far. */
  readonly cpuMs: number;
  /** The most memory that was ever resident. */
  readonly peakKib: number;
  readonly residentKib: number;
}

const LOG_TAIL = 64 * 1024;
const CLOCK_TICK_MS = 10; // sysconf(_SC_CLK_TCK) is 100 on Linux

/** Those that run: ended with this process, also when it failed half-way. */
const running = new Set<DaemonProcess>();
process.once('exit', () => {
  for (const daemon of running) daemon.signal('SIGKILL');
});

export class DaemonProcess implements AsyncDisposable {
  readonly name: string;
  readonly #child: ChildProcess;
  #tail = '';
  readonly ended: Promise<number | string>;
  #over = false;

  constructor(options: ProcessOptions) {
    this.name = options.name;
    const file = openSync(join(options.directory, `${options.name}.log`), 'a');
    this.#child = options.namespace.spawn(options.argv, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      cwd: options.directory,
    });
    let partial = '';
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        writeSync(file, bytes);
        this.#tail = (this.#tail + bytes.toString()).slice(-LOG_TAIL);
        if (stream !== this.#child.stdout || options.onLine === undefined) return;
        const lines = (partial + bytes.toString()).split('\n');
        partial = lines.pop() ?? '';
        for (const line of lines) options.onLine(line);
      });
    }
    this.#child.stdin?.on('error', () => {}); // it may have ended
    running.add(this);
    this.ended = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message));
      this.#child.on('exit', () => {
        this.#over = true;
        running.delete(this);
      });
      this.#child.on('close', (code, signal) => {
        this.#over = true;
        closeSync(file);
        resolve(signal ?? code ?? 'unknown');
      });
    });
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.name} did not start`);
    return pid;
  }

  /** The last 64 KiB of its output. */
  get log(): string {
    return this.#tail;
  }

  get over(): boolean {
    return this.#over;
  }

  /** To its standard input. */
  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** This process and all that it started. */
  pids(): number[] {
    const children = new Map<number, number[]>();
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const parent = parentOf(Number(entry));
      if (parent === undefined) continue;
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    }
    const all = [this.pid];
    for (const pid of all) all.push(...(children.get(pid) ?? []));
    return all;
  }

  /** The sum over this process and its children. */
  usage(): Usage {
    let cpuMs = 0;
    let peakKib = 0;
    let residentKib = 0;
    for (const pid of this.pids()) {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        cpuMs += (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        peakKib += Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
        residentKib += Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
      } catch {
        // It ended meanwhile.
      }
    }
    return { cpuMs, peakKib, residentKib };
  }

  signal(signal: NodeJS.Signals): void {
    for (const pid of signal === 'SIGKILL' ? this.pids() : [this.pid]) {
      try {
        process.kill(pid, signal);
      } catch {
        // Ended already.
      }
    }
  }

  /** Ends it politely, or at once; waits until it is gone. */
  async stop(how: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.#over) return;
    this.signal(how);
    const timer = setTimeout(() => this.signal('SIGKILL'), 10_000);
    await this.ended;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

/** Runs a command to its end and gives what it printed; fails with what it complained of. */
export function output(argv: readonly string[], input?: string): Promise<string> {
  const [file = '', ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      rest,
      { encoding: 'utf8', maxBuffer: 1 << 30, timeout: 60_000 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${argv.join(' ')}: ${error.message}${stdout.slice(-500)}${stderr}`));
      },
    );
    child.stdin?.on('error', () => {}); // it may end without reading
    child.stdin?.end(input ?? '');
  });
}

/** Asks until the answer is not undefined; fails with `what`, and what `state` then says, after a time. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 30_000,
  state: () => Promise<string> | string = () => '',
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const said = await Promise.resolve(state()).catch(String);
      throw new Error(`not in ${timeoutMs} ms: ${what}${said === '' ? '' : `; ${said}`}`, {
        cause: last,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
