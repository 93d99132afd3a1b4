/**
 * What an inventory of 100,000 machines costs: the whole of it from nothing into etcd, ten a second in and out by the
 * HTTP API, a repeated list, and a kill. The program is the real one, in a process of its own; a reader watches the
 * store as a cluster's agent would.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '@causeway/daemon';
import { connectKv, type Kv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import type { InstanceStatus } from '@causeway/inventory';
import { type Bar, type Benchmark, median, ownFigure, quantile } from './lib/benchmark.ts';

const BINARY = join(import.meta.dirname, '../packages/cli/bin/causeway');
const IP_KEYS = 'cilium/state/ip/v1/default/';
const PER_SECOND = 10;
/** A machine that came goes so many rounds later. */
const LAG = 20;

/** `10.a.b.c` of a number, from 10.32.0.0 on. */
const addressOf = (n: number): string => `10.${32 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;

/** 500 applications of 200 machines each, in 20 sites. */
function machine(n: number, revision = 0): object {
  const labels = {
    app: `app-${n % 500}`,
    tier: n % 3 === 0 ? 'front' : 'back',
    ...(revision > 0 && { revision: String(revision) }),
  };
  return {
    name: `m${n}`,
    addresses: [addressOf(n)],
    platform: 'vm',
    site: `site-${n % 20}`,
    labels,
  };
}

function write(file: string, count: number, changed = 0): void {
  const endpoints = Array.from({ length: count }, (_, n) => machine(n, n < changed ? 1 : 0));
  writeFileSync(`${file}.new`, JSON.stringify({ endpoints }));
  renameSync(`${file}.new`, file);
}

/** When each address came into the store and went, as a reader sees it. */
class Reader implements AsyncDisposable {
  readonly put = new Map<string, number>();
  readonly gone = new Map<string, number>();
  entries = 0;
  /** Entries written or deleted, however often. */
  events = 0;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(kv: Kv) {
    this.#running = this.#run(kv);
  }

  async #run(kv: Kv): Promise<void> {
    const known = new Set<string>();
    for await (const batch of kv.watch(IP_KEYS, { signal: this.#stop.signal }).batches()) {
      const now = performance.now();
      for (const event of batch) {
        if (event.type === 'put') {
          const address = event.entry.key.slice(IP_KEYS.length);
          this.events++;
          known.add(address);
          this.put.set(address, now);
        } else if (event.type === 'delete') {
          const address = event.key.slice(IP_KEYS.length);
          this.events++;
          known.delete(address);
          this.gone.set(address, now);
        }
      }
      this.entries = known.size;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 600_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ten minutes: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Bytes resident and seconds run, of a process. */
function usage(child: ChildProcess): { resident: number; cpu: number } {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    resident: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024,
    // utime and stime, in ticks of a hundredth of a second.
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
  };
}

const inventory: Benchmark = async ({ quick, log }) => {
  const count = quick ? 5000 : 100_000;
  const seconds = quick ? 5 : 120;
  const directory = mkdtempSync(join(tmpdir(), `causeway-inventory-${process.pid}-`));
  const file = join(directory, 'site.json');
  const config = join(directory, 'inventory.yaml');
  const socket = join(directory, 'inventory.sock');
  await using etcd = await EtcdProcess.start();
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 60_000 });
  const client = new ApiClient('inventory', socket, 60_000);
  writeFileSync(
    config,
    `cluster: {name: outside, id: 37}
runDir: ${directory}
etcd: {endpoints: ["${etcd.endpoint}"]}
sources: [{type: file, name: site, path: ${file}}]
log: error
`,
  );
  const start = () =>
    spawn(BINARY, ['inventory', 'run', '--config', config], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  const status = async (): Promise<InstanceStatus | undefined> => {
    try {
      return (await client.ask('GET', '/v1/status')) as InstanceStatus;
    } catch {
      return undefined;
    }
  };
  /** What changes when the file has been taken again, also where the lead was lost and won meanwhile. */
  const lists = async () => {
    const now = await status();
    const site = now?.sources.find(({ name }) => name === 'site');
    return (now?.epoch ?? 0) * 1000 + (site?.snapshots ?? 0);
  };
  const settled = async (after: number) => {
    const now = await status();
    return (
      now?.ready === true &&
      now.writer?.declared === true &&
      now.writer.pending === 0 &&
      (await lists()) > after
    );
  };
  write(file, count);
  let child = start();
  try {
    await using reader = new Reader(kv);
    let began = performance.now();
    await until('all entries', () => reader.entries === count);
    const filled = (performance.now() - began) / 1000;
    await until('it is ready', () => settled(0));
    const full = usage(child);
    log(`${count} machines in ${filled.toFixed(1)} s, ${mebi(full.resident)} MiB`);

    const came: number[] = [];
    const went: number[] = [];
    const rounds = seconds * PER_SECOND;
    began = performance.now();
    for (let round = 0; round < rounds; round++) {
      const wait = began + (round * 1000) / PER_SECOND - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const put = `m${count + round}`;
      const { addresses, labels, platform } = machine(count + round) as {
        addresses: string[];
        labels: object;
        platform: string;
      };
      const putAt = performance.now();
      await client.ask('PUT', `/v1/outside-endpoints/${put}`, {
        spec: { addresses, labels, platform },
      });
      came.push(await since(reader.put, addresses[0]!, putAt));
      const goes = round - LAG;
      if (goes < 0) continue;
      const deleteAt = performance.now();
      await client.ask('DELETE', `/v1/outside-endpoints/m${count + goes}`);
      went.push(await since(reader.gone, addressOf(count + goes), deleteAt));
    }
    const took = (performance.now() - began) / 1000;
    const churned = usage(child);
    const left = count + Math.min(rounds, LAG);
    await until('what came and stayed', () => reader.entries === left);
    log(`${PER_SECOND} a second in and out for ${took.toFixed(0)} s`);

    const writes = async () => (await status())?.writer?.writes ?? Number.NaN;
    const told = reader.events;
    const gone = reader.gone.size;
    const heard = await lists();
    write(file, count);
    await until('the list is repeated', () => settled(heard));
    const idle = reader.events - told;
    const repeated = await lists();
    write(file, count, count / 100);
    began = performance.now();
    await until('one in a hundred has changed', () => settled(repeated));
    const changed = (performance.now() - began) / 1000;
    const wrote = reader.events - told - idle;

    child.kill('SIGKILL');
    await once(child, 'exit');
    began = performance.now();
    child = start();
    await until('it leads again', () => settled(0));
    const back = (performance.now() - began) / 1000;
    const rewritten = await writes();
    const lost = reader.gone.size - gone;
    log(`killed and back in ${back.toFixed(1)} s, ${lost} entries lost`);

    const late = quantile(came, 0.99);
    const bars: Bar[] = [
      {
        what: `rounds of ${PER_SECOND} a second that were kept`,
        wanted: `in ${seconds} s`,
        got: `${took.toFixed(1)} s`,
        met: took < seconds * 1.05 + 1,
      },
      {
        what: 'from the request until a reader has it, p99',
        wanted: 'under 1 s',
        got: `${late.toFixed(0)} ms`,
        met: late < 1000,
      },
      {
        what: 'entries written for a list that says the same',
        wanted: '0',
        got: String(idle),
        met: idle === 0,
      },
      {
        what: 'entries that a kill took from readers',
        wanted: '0',
        got: String(lost),
        met: lost === 0,
      },
    ];
    return {
      figures: [
        ownFigure('from nothing until every entry is in the store', 's', [filled]),
        ownFigure('memory with all of them', 'MiB', [mebi(full.resident)]),
        ownFigure('from the request until a reader has the entry, p50', 'ms', [median(came)]),
        ownFigure('from the request until a reader has the entry, p99', 'ms', [late]),
        ownFigure('from the request until a reader sees it go, p50', 'ms', [median(went)]),
        ownFigure('from the request until a reader sees it go, p99', 'ms', [quantile(went, 0.99)]),
        ownFigure('processor time for a second of that', 's', [(churned.cpu - full.cpu) / took]),
        ownFigure('memory after it', 'MiB', [mebi(churned.resident)]),
        ownFigure('a list in which one in a hundred has changed, until it is in the store', 's', [
          changed,
        ]),
        ownFigure('from a kill to leading and ready again', 's', [back]),
      ],
      bars,
      notes: [
        `${count} machines in 500 applications; that list wrote ${wrote} entries, the restart ${rewritten} keys, heartbeat and config; etcd on the same machine.`,
        'The lead of a process that was killed lasts 10 s: election.ttlSeconds.',
      ],
    };
  } finally {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
};

/** ms from `at` until the reader has told of the address. */
async function since(
  told: ReadonlyMap<string, number>,
  address: string,
  at: number,
): Promise<number> {
  await until(address, () => told.has(address));
  return (told.get(address) ?? Number.NaN) - at;
}

const mebi = (bytes: number): number => Math.round(bytes / 2 ** 20);

export default inventory;
