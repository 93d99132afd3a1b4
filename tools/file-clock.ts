/**
 * How long each test file takes. node:test ends a test at its timeout, and goes on waiting for the file's process: one
 * handle that a failed test left open would hold the whole run. Here a file that takes too long is ended.
 */
import { readdirSync, readFileSync } from 'node:fs';

import { relative, resolve } from 'node:path';
import type { run } from 'node:test';

/** What a file has to end by itself after it was asked to, in ms: its clean-up takes away namespaces and processes. */
const GRACE = 15_000;

/** A file's events of node:test: those that are not of a test in it bear the file as name, as it was given. */
interface FileEvent {
  readonly name: string;
  readonly file?: string | undefined;
}

export class FileClock {
  readonly #limit: number;
  readonly #started = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #times: { file: string; seconds: number }[] = [];

  /** `limit`: ms that a file may take. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Follows one run; `ended` hears of each file that is ended, before it is. */
  follow(stream: ReturnType<typeof run>, ended: (file: string) => void): void {
    stream.on('test:dequeue', (event) => this.#start(event, ended));
    stream.on('test:complete', (event) => this.#stop(event));
  }

  /** The files that took longest, longest first, paths from here. */
  slowest(count: number): { file: string; seconds: number }[] {
    return this.#times.toSorted((a, b) => b.seconds - a.seconds).slice(0, count);
  }

  #start({ name, file }: FileEvent, ended: (file: string) => void): void {
    if (file === undefined || resolve(name) !== file) return;
    this.#started.set(file, performance.now());
    const end = (signal: NodeJS.Signals) => {
      ended(relative('.', file));
      endProcessesOf(file, signal);
      this.#timers.set(
        file,
        setTimeout(() => endProcessesOf(file, 'SIGKILL'), GRACE),
      );
    };
    this.#timers.set(
      file,
      setTimeout(() => end('SIGTERM'), this.#limit),
    );
  }

  #stop({ name, file }: FileEvent): void {
    if (file === undefined || resolve(name) !== file) return;
    clearTimeout(this.#timers.get(file));
    this.#timers.delete(file);
    const seconds = (performance.now() - (this.#started.get(file) ?? 0)) / 1000;
    this.#times.push({ file: relative('.', file), seconds });
  }
}

/** Ends our own child that runs `file`; what it started ends with it or is told as left behind. */
function endProcessesOf(file: string, signal: NodeJS.Signals): void {
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const parent = /^PPid:\t(\d+)$/m.exec(status)?.[1];
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      const runs = words.some((word) => resolve(word) === file);
      if (Number(parent) === process.pid && runs) process.kill(Number(pid), signal);
    } catch {
      // It ended while it was being looked at.
    }
  }
}
