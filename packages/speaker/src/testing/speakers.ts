import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ApiClient } from '@causeway/daemon';
import type { SpeakerConfigInput } from '../config/schema.ts';
import type { EventView } from '../views/event.ts';
import type { PeerView } from '../views/peer.ts';
import type { RouteView } from '../views/route.ts';

const PROGRAM = path.join(import.meta.dirname, 'speaker-process.ts');
const START_MS = 30_000;

/** A speaker as a process of its own in a network namespace, and its API. */
export class TestSpeaker {
  readonly name: string;
  readonly directory: string;
  readonly api: ApiClient;
  readonly #netns: string;
  readonly #file: string;
  #process: ChildProcess | undefined;
  #log = '';

  constructor(name: string, netns: string, directory: string, bgp?: SpeakerConfigInput) {
    this.name = name;
    this.#netns = netns;
    this.directory = path.join(directory, name);
    fs.mkdirSync(this.directory, { recursive: true });
    this.#file = path.join(this.directory, 'speaker.yaml');
    this.api = new ApiClient('speaker', path.join(this.directory, 'speaker.sock'));
    this.write(bgp);
  }

  /** What the next start reads. */
  write(bgp: SpeakerConfigInput | undefined): void {
    const config = {
      runDir: this.directory,
      name: this.name,
      ...(bgp === undefined ? {} : { bgp }),
    };
    fs.writeFileSync(this.#file, JSON.stringify(config));
  }

  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async start(): Promise<void> {
    const child = spawn(
      'nsenter',
      [`--net=/run/netns/${this.#netns}`, process.execPath, PROGRAM, this.#file],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    this.#process = child;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-200_000);
    });
    const end = performance.now() + START_MS;
    for (;;) {
      try {
        await this.api.ask('GET', '/v1/status');
        return;
      } catch (error) {
        if (child.exitCode !== null || performance.now() > end)
          throw new Error(`speaker ${this.name} did not start: ${this.#log}`, { cause: error });
      }
      await sleep(20);
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async peer(name: string): Promise<PeerView> {
    return (await this.api.ask('GET', `/v1/peers/${encodeURIComponent(name)}`)) as PeerView;
  }

  async peers(): Promise<PeerView[]> {
    return (await this.api.ask('GET', '/v1/peers')) as PeerView[];
  }

  async routes(query = ''): Promise<RouteView[]> {
    return ((await this.api.ask('GET', `/v1/routes?${query}`)) as { rows: RouteView[] }).rows;
  }

  async prefixes(query = ''): Promise<string[]> {
    return (await this.routes(query)).map(({ prefix }) => prefix).sort();
  }

  paths(owner: string, ...prefixes: string[]): Promise<unknown> {
    return this.api.ask(
      'PUT',
      `/v1/paths/${owner}`,
      prefixes.map((prefix) => ({ prefix })),
    );
  }

  async configure(owner: string, config: SpeakerConfigInput): Promise<Record<string, string>> {
    const answer = (await this.api.ask('PUT', `/v1/config/${owner}`, config)) as {
      changed: { neighbor: string; change: string }[];
    };
    return Object.fromEntries(answer.changed.map(({ neighbor, change }) => [neighbor, change]));
  }

  /** Events from now on, gathered until disposed. */
  events(): { readonly seen: EventView[] } & Disposable {
    const stop = new AbortController();
    const seen: EventView[] = [];
    const follow = async () => {
      for await (const line of this.api.lines('/v1/events', stop.signal))
        seen.push(line as EventView);
    };
    follow().catch(() => {});
    return { seen, [Symbol.dispose]: () => stop.abort() };
  }
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Tries until nothing is thrown. */
export async function until<T>(check: () => Promise<T> | T, seconds = 30): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(20);
    }
  }
}

/** Namespaces joined to one link of their own, and a directory; all named by the process. */
export class TestNetwork implements AsyncDisposable {
  readonly directory: string;
  readonly #names: string[] = [];
  readonly #speakers: TestSpeaker[] = [];

  constructor() {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-spk-${process.pid}-`));
  }

  netns(name: string): string {
    return `cwspk-${name}-${process.pid}`;
  }

  /** A namespace with its loopback up. */
  add(...names: string[]): void {
    for (const name of names) {
      ip('netns', 'add', this.netns(name));
      this.#names.push(this.netns(name));
      ip('-n', this.netns(name), 'link', 'set', 'lo', 'up');
    }
  }

  /** A link from one to the other; `addresses` of each end. */
  link(
    [a, deviceA, ...addressesA]: readonly [string, string, ...string[]],
    [b, deviceB, ...addressesB]: readonly [string, string, ...string[]],
  ): void {
    ip(
      '-n',
      this.netns(a),
      'link',
      'add',
      deviceA,
      'type',
      'veth',
      'peer',
      'name',
      deviceB,
      'netns',
      this.netns(b),
    );
    for (const [name, device, addresses] of [
      [a, deviceA, addressesA],
      [b, deviceB, addressesB],
    ] as const) {
      for (const address of addresses)
        ip(
          '-n',
          this.netns(name),
          'addr',
          'add',
          address,
          'dev',
          device,
          ...(address.includes(':') ? ['nodad'] : []),
        );
      ip('-n', this.netns(name), 'link', 'set', device, 'up');
    }
  }

  ip(name: string, ...args: string[]): string {
    return ip('-n', this.netns(name), ...args);
  }

  speaker(name: string, netns: string, bgp?: SpeakerConfigInput): TestSpeaker {
    const speaker = new TestSpeaker(name, this.netns(netns), this.directory, bgp);
    this.#speakers.push(speaker);
    return speaker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#speakers.map((speaker) => speaker.stop('SIGKILL')));
    for (const name of this.#names) ip('netns', 'del', name);
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
