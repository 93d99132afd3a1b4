/**
 * Timers that hold: the BFD daemon against BIRD over a cable, with more work on the machine than it can
 * do. Nothing is cut, so every session that falls fell falsely. BIRD runs in real time: it stands for
 * another machine, which our load would not slow down.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionRow, ThreadStatus } from '@causeway/bfd';
import {
  eventually,
  type LoadedBfd,
  type LoadResult,
  ours,
  runLoaded,
  Site,
  startBird,
  theirs,
} from '@causeway/bfd/testing';
import { ApiClient } from '@causeway/daemon';
import type { Bar, Benchmark, Figure } from './lib/benchmark.ts';
import { startChild, takeAwayOnInterrupt } from './lib/interrupt.ts';

interface Case {
  readonly name: string;
  readonly interval: number;
  readonly loaded: boolean;
  readonly seconds: { readonly quick: number; readonly whole: number };
  /** Whether a fall misses a bar, or is only told. */
  readonly promised: boolean;
}

const cases: readonly Case[] = [
  {
    name: '300 ms x 3, full load',
    interval: 300,
    loaded: true,
    seconds: { quick: 20, whole: 600 },
    promised: true,
  },
  {
    name: '50 ms x 3, no load of ours',
    interval: 50,
    loaded: false,
    seconds: { quick: 5, whole: 120 },
    promised: true,
  },
  {
    name: '50 ms x 3, full load',
    interval: 50,
    loaded: true,
    seconds: { quick: 5, whole: 120 },
    promised: false,
  },
];

/** `causeway bfd` as a node runs it, in the site's namespace. */
async function startDaemon(
  site: Site,
): Promise<LoadedBfd & { client: ApiClient } & AsyncDisposable> {
  const config = join(site.directory, 'bfd.yaml');
  writeFileSync(config, JSON.stringify({ runDir: site.directory, log: { level: 'warn' } }));
  const child = startChild(
    ['nsenter', `--net=${site.ourPath}`, 'packages/cli/bin/causeway', 'bfd', '--config', config],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const client = new ApiClient('BFD daemon', join(site.directory, 'bfd.sock'));
  await eventually('the daemon answers', () =>
    client.ask('GET', '/v1/status').catch(() => undefined),
  );
  return {
    client,
    sessions: async () => (await client.ask('GET', '/v1/sessions')) as SessionRow[],
    status: async () => (await client.ask('GET', '/v1/status')) as ThreadStatus,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function run(one: Case, seconds: number): Promise<LoadResult> {
  using site = new Site();
  using stack = new DisposableStack();
  stack.defer(takeAwayOnInterrupt(() => site[Symbol.dispose]()));
  const peers = [ours.ipv4, ours.ipv6, ours.linkLocal];
  await using bird = await startBird(
    site,
    `protocol bfd { interface "e0" { interval ${one.interval} ms; multiplier 3; };
${peers.map((address) => `neighbor ${address} dev "e0";`).join('\n')} }\n`,
  );
  await using daemon = await startDaemon(site);
  await daemon.client.ask(
    'PUT',
    '/v1/sessions/bench',
    Object.values(theirs).map((remote) => ({
      remote,
      interface: 'e0',
      txIntervalMs: one.interval,
      rxIntervalMs: one.interval,
      multiplier: 3,
    })),
  );
  return await runLoaded(site, daemon, bird, { ...one, seconds });
}

const bfdLoad: Benchmark = async ({ quick, log }) => {
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  const notes: string[] = [];
  for (const one of cases) {
    const seconds = quick ? one.seconds.quick : one.seconds.whole;
    log(`${one.name}: ${seconds} s`);
    const result = await run(one, seconds);
    for (const fall of result.falls) notes.push(`${one.name}: fell falsely: ${fall}`);
    notes.push(
      `${one.name}: ${result.sessions} sessions, ${result.packets} packets received in ${seconds} s, processors ${Math.round(100 * result.busy)}% busy`,
    );
    const figure = (metric: string, unit: string, value: number) =>
      figures.push({
        metric,
        unit,
        better: 'lower',
        variant: one.name,
        median: value,
        samples: [value],
        reference: 'none: absolute',
        ratio: Number.NaN,
      });
    figure('false downs', 'falls', result.falls.length + result.foreignDown);
    figure('latest wake of the thread', 'ms', result.latestWake);
    figure('wakes later than 5 ms', 'wakes', result.lateOver5ms);
    if (one.promised)
      bars.push({
        what: `false downs at ${one.name}, ${seconds} s`,
        wanted: '0',
        got: String(result.falls.length + result.foreignDown),
        met: result.falls.length + result.foreignDown === 0,
      });
  }
  return { figures, bars, notes };
};

export default bfdLoad;
