import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { LabError } from '../errors.ts';
import { type NodeProgramPaths, nodePrograms, type ProgramName } from '../host/names.ts';
import { launch, runningProcess, signalProcess } from '../host/process.ts';
import { until } from '../host/wait.ts';
import { type AgentAnswer, askAgent } from './agent-api.ts';
import type { LabContext } from './context.ts';

/** The command line of this tree. */
export const CAUSEWAY = join(import.meta.dirname, '../../../cli/bin/causeway');
const END_MS = 15_000;

export interface StartOptions {
  /** Another `causeway` than the one that the lab came with: what an upgrade starts. */
  readonly executable?: string;
}

/** One of the long-running programs of a machine, in the machine's namespaces: `causeway agent`, `speaker`, `bfd` or `operator`. */
export class LabProgram {
  readonly name: ProgramName;
  /** The node's name, or an operator's place. */
  readonly place: string;
  protected readonly context: LabContext;

  constructor(context: LabContext, place: string, name: ProgramName) {
    this.context = context;
    this.place = place;
    this.name = name;
  }

  get socket(): string {
    return this.#paths.socket;
  }

  get log(): string {
    return this.#paths.log;
  }

  get pid(): number | undefined {
    return runningProcess(this.#paths.pid)?.pid;
  }

  /** Writes its configuration file. */
  write(configuration: Readonly<Record<string, unknown>>): void {
    writeFileSync(this.#paths.config, stringify(configuration));
  }

  /** Starts the program; it is ready when its API says so, not when this returns. */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.pid !== undefined) return;
    const { config, log, pid } = this.#paths;
    const argv = [options.executable ?? CAUSEWAY, ...this.command, '--config', config];
    await launch([...this.context.prefix(this.context.find(this.place)), ...argv], log, pid);
  }

  /** Sends a signal and, for those that end it, waits until it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!signalProcess(this.#paths.pid, signal) || signal === 'SIGSTOP' || signal === 'SIGCONT')
      return;
    await until(`end of ${this.#what}`, () => (this.pid === undefined ? undefined : 'it runs'), {
      timeoutMs: END_MS,
      hint: `its log is ${this.log}`,
    });
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.kill(signal);
    await this.start();
  }

  ask(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<AgentAnswer> {
    return askAgent(this.socket, method, path, body);
  }

  /** The body of a GET; an answer that is no success is a LabError `agent-failed`. */
  async get(path: string): Promise<unknown> {
    const { status, body } = await this.ask('GET', path);
    if (status >= 200 && status < 300) return body;
    throw new LabError('agent-failed', `${this.#what} answers ${path} with ${status}`, {
      value: body,
      hint: `its log is ${this.log}`,
    });
  }

  /** What keeps it from being ready, in words; throws when the program has ended. */
  async missing(): Promise<string | undefined> {
    if (this.pid === undefined)
      throw new LabError('agent-failed', `${this.#what} ended: ${lastWords(this.log)}`, {
        value: this.place,
        hint: `its log is ${this.log}`,
      });
    let status: { ready?: unknown; reasons?: unknown };
    try {
      status = (await this.get('/v1/status')) as typeof status;
    } catch (error) {
      if (error instanceof LabError) return 'its API does not answer';
      throw error;
    }
    return this.unready(status);
  }

  /** Which of the commands of `causeway` it is. */
  protected get command(): readonly string[] {
    return [this.name];
  }

  /** What a status says is missing. */
  protected unready(status: {
    readonly ready?: unknown;
    readonly reasons?: unknown;
  }): string | undefined {
    // A program without conditions of its own is ready when it answers.
    if (status.ready !== false) return undefined;
    return Array.isArray(status.reasons) && status.reasons.length > 0
      ? status.reasons.join('; ')
      : 'it is not ready';
  }

  get #what(): string {
    return `the ${this.name} on ${this.place}`;
  }

  get #paths(): NodeProgramPaths {
    return nodePrograms(this.context.state.name, this.place, this.name);
  }
}

/** The program's own last word if it had one, else the end of its log. */
function lastWords(log: string): string {
  try {
    const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
    const word = lines.findLastIndex((line) => line.startsWith('causeway: '));
    const words = word < 0 ? lines.slice(-3) : lines.slice(word, word + 4);
    return words.join(' | ').slice(0, 800);
  } catch {
    return '(no log)';
  }
}
