import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { LabError } from '../errors.ts';
import { netnsPath } from '../host/names.ts';
import type { Lab } from '../lab.ts';
import type { FlowClientRequest, FlowCount } from './flow-client.ts';
import type { FlowServerRequest } from './flow-server.ts';

const CLIENT = join(import.meta.dirname, 'flow-client.ts');
const SERVER = join(import.meta.dirname, 'flow-server.ts');

/** A child that answers each line on its standard input with one on its output. */
class Dialogue implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`);
    return this.next();
  }

  async next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new LabError('command-failed', 'a traffic program ended by itself');
    return value as string;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** A server that says its pod's name and sends back what comes, in many pods at once. */
export class FlowServers implements AsyncDisposable {
  readonly #dialogue: Dialogue;

  private constructor(dialogue: Dialogue) {
    this.#dialogue = dialogue;
  }

  /** Returns when all listen. It runs on one of the lab's machines, `at`, and goes with the lab in any case. */
  static async start(
    lab: Pick<Lab, 'spawn' | 'context'>,
    at: string,
    places: readonly string[],
    port: number,
  ): Promise<FlowServers> {
    const request: FlowServerRequest = {
      port,
      places: places.map((place) => ({
        name: place.slice(place.lastIndexOf('/') + 1),
        netns: netnsPath(lab.context.names, place),
      })),
    };
    const dialogue = new Dialogue(start(lab, at, SERVER, request));
    await dialogue.next();
    return new FlowServers(dialogue);
  }

  /** Closes the port and every connection in one pod. */
  async close(pod: string): Promise<void> {
    await this.#dialogue.ask(pod);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#dialogue[Symbol.asyncDispose]();
  }
}

/** Open TCP connections from one place. */
export class Flows implements AsyncDisposable {
  /** What opening them gave; `reset` are those that did not open. */
  readonly opened: readonly FlowCount[];
  readonly #dialogue: Dialogue;

  private constructor(dialogue: Dialogue, opened: readonly FlowCount[]) {
    this.#dialogue = dialogue;
    this.opened = opened;
  }

  static async open(
    lab: Pick<Lab, 'spawn'>,
    from: string,
    request: FlowClientRequest,
  ): Promise<Flows> {
    const dialogue = new Dialogue(start(lab, from, CLIENT, request));
    return new Flows(dialogue, JSON.parse(await dialogue.next()) as FlowCount[]);
  }

  /** Asks every flow for a sign of life; those that gave none are counted, and gone afterwards. */
  async check(seconds = 5): Promise<FlowCount[]> {
    return JSON.parse(await this.#dialogue.ask(String(seconds))) as FlowCount[];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#dialogue[Symbol.asyncDispose]();
  }
}

export interface FlowSum {
  readonly flows: number;
  readonly lost: number;
  /** 0 to 1; NaN of none. */
  readonly kept: number;
}

export function sumFlows(counts: readonly FlowCount[]): FlowSum {
  const flows = counts.reduce((sum, count) => sum + count.flows, 0);
  const lost = counts.reduce((sum, count) => sum + count.reset + count.silent, 0);
  return { flows, lost, kept: 1 - lost / flows };
}

function start(lab: Pick<Lab, 'spawn'>, at: string, program: string, request: object) {
  return lab.spawn(at, [process.execPath, program, JSON.stringify(request)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}
