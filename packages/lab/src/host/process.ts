import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { LabError } from '../errors.ts';
import { writeAtomically } from './files.ts';

/** More output than this from one command is cut: nothing a lab asks for is longer. */
const MAX_OUTPUT = 64 << 20;

export interface CommandResult {
  /** The exit status; 128 + the signal's number when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs a command to its end. Never throws for an exit status; throws LabError `command-failed` when it
 * cannot be started and `timed-out` when it outlives `timeoutMs` (it is killed then).
 */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file, ...rest] = argv;
  if (file === undefined) throw new LabError('command-failed', 'no command given', { value: argv });
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
    });
    let stdout = '';
    let stderr = '';
    let late = false;
    const kill = (): void => {
      child.kill('SIGKILL');
    };
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            late = true;
            kill();
          }, options.timeoutMs);
    if (options.signal?.aborted === true) kill();
    options.signal?.addEventListener('abort', kill, { once: true });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < MAX_OUTPUT) stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < MAX_OUTPUT) stderr += text;
    });
    const settle = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', kill);
    };
    child.on('error', (cause) => {
      settle();
      reject(
        new LabError('command-failed', `${file} cannot be started: ${cause.message}`, {
          value: argv,
          cause,
          hint: 'run tools/setup.sh, which installs what the lab calls',
        }),
      );
    });
    child.on('close', (code, signal) => {
      settle();
      if (late)
        reject(
          new LabError('timed-out', `${argv.join(' ')} took more than ${options.timeoutMs} ms`, {
            value: { argv, stdout, stderr },
          }),
        );
      else if (options.signal?.aborted === true) reject(options.signal.reason as Error);
      else resolve({ code: code ?? signalStatus(signal), stdout, stderr });
    });
    // A command that reads nothing closes its end early; what it says for itself counts, not that.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}

/** Like `run`, and an exit status other than 0 is a LabError `command-failed` with its last words. */
export async function must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code === 0) return result.stdout;
  const words = (result.stderr || result.stdout).trim();
  throw new LabError('command-failed', `${argv.join(' ')} failed (${result.code}): ${words}`, {
    value: { argv, ...result },
  });
}

/** A process that was started, told from a later one with the same number by its start time. */
export interface ProcessMark {
  readonly pid: number;
  /** Clock ticks from boot, field 22 of /proc/PID/stat. */
  readonly started: string;
}

/**
 * Starts a command that outlives this process, its output at the end of `log`, and writes its mark to
 * `pidFile`. The caller's prefix must exec all the way, so that the number is the command's own.
 */
export function launch(
  argv: readonly string[],
  log: string,
  pidFile?: string,
): Promise<ProcessMark> {
  const [file, ...rest] = argv;
  if (file === undefined) throw new LabError('command-failed', 'no command given', { value: argv });
  const output = openSync(log, 'a');
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, { detached: true, stdio: ['ignore', output, output] });
    child.on('error', (cause) => {
      closeSync(output);
      reject(
        new LabError('command-failed', `${file} cannot be started: ${cause.message}`, {
          value: argv,
          cause,
        }),
      );
    });
    child.on('spawn', () => {
      closeSync(output);
      child.unref();
      const pid = child.pid!;
      const mark = { pid, started: startTime(pid) ?? '' };
      if (pidFile !== undefined) writeAtomically(pidFile, JSON.stringify(mark));
      resolve(mark);
    });
  });
}

/** The process that a pid file names, if it still runs. A file cut short counts as none. */
export function runningProcess(pidFile: string): ProcessMark | undefined {
  let mark: unknown;
  try {
    mark = JSON.parse(readFileSync(pidFile, 'utf8'));
  } catch {
    return undefined;
  }
  if (typeof mark !== 'object' || mark === null) return undefined;
  const { pid, started } = mark as Partial<ProcessMark>;
  if (typeof pid !== 'number' || typeof started !== 'string') return undefined;
  return isRunning({ pid, started }) ? { pid, started } : undefined;
}

export function isRunning(mark: ProcessMark): boolean {
  return startTime(mark.pid) === mark.started;
}

export function markOfThisProcess(): ProcessMark {
  return { pid: process.pid, started: startTime(process.pid) ?? '' };
}

/** Undefined when there is no such process, or only its zombie. */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name, in parentheses, may hold anything; what follows it does not.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Sends a signal to the process of a pid file; false when it does not run. */
export function signalProcess(pidFile: string, signal: NodeJS.Signals): boolean {
  const mark = runningProcess(pidFile);
  if (mark === undefined) return false;
  try {
    process.kill(mark.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

export function forget(pidFile: string): void {
  rmSync(pidFile, { force: true });
}

function signalStatus(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : constants.signals[signal]);
}
