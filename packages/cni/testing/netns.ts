import { spawnSync } from 'node:child_process';

/** Runs a program that must succeed; returns its standard output. */
export function must(file: string, ...argv: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(file, argv, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${file} ${argv.join(' ')}: ${error?.message ?? `exit ${status}`}\n${stderr}`);
}

/** A network namespace that goes with its owner. The name carries the pid. */
export class TestNetns implements Disposable {
  readonly name: string;
  readonly path: string;
  static #count = 0;

  constructor(label: string) {
    this.name = `cw${process.pid}-${label}-${TestNetns.#count++}`;
    must('ip', 'netns', 'add', this.name);
    this.path = `/run/netns/${this.name}`;
  }

  [Symbol.dispose](): void {
    spawnSync('ip', ['netns', 'del', this.name]);
  }
}
