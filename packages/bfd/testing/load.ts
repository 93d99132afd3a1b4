import { type ChildProcess, spawn } from 'node:child_process';
import { cpus } from 'node:os';
import type { SessionRow, ThreadStatus } from '../index.ts';
import type { ForeignBfd } from './routers.ts';
import { eventually, type Site, theirs } from './site.ts';

/** BFD under test, wherever it runs. */
export interface LoadedBfd {
  sessions(): Promise<SessionRow[]>;
  status(): Promise<ThreadStatus>;
}

export interface LoadResult {
  readonly sessions: number;
  readonly seconds: number;
  /** Falls that either side saw, with the reason that ours gave; there was no cut, so each is false. */
  readonly falls: readonly string[];
  /** Sessions that were not up at the other side in the end. */
  readonly foreignDown: number;
  readonly packets: number;
  /** Of the processors' time, what was not idle meanwhile. */
  readonly busy: number;
  /** The latest wake of BFD's thread, milliseconds, and how many were over 5 ms. */
  readonly latestWake: number;
  readonly lateOver5ms: number;
}

/**
 * More work than the processors can do: an endless loop for each, and as much TCP as goes through the
 * same cable as BFD's packets.
 */
async function load(site: Site): Promise<Disposable> {
  const quiet = { stdio: 'ignore' } as const;
  const children: ChildProcess[] = [];
  for (let i = 0; i < cpus().length; i++)
    children.push(spawn('sh', ['-c', 'while :; do :; done'], quiet));
  const inside = (path: string, ...argv: string[]) =>
    children.push(spawn('nsenter', [`--net=${path}`, ...argv], quiet));
  inside(site.theirPath, 'iperf3', '-s');
  await new Promise((resolve) => setTimeout(resolve, 500));
  inside(site.ourPath, 'iperf3', '-c', theirs.ipv4, '-t', '86400');
  return {
    [Symbol.dispose]() {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

/** Time of all processors since the start: what they worked, and all of it. */
function processorTime(): { busy: number; all: number } {
  const times = cpus().map(({ times: { user, nice, sys, irq, idle } }) => ({
    busy: user + nice + sys + irq,
    all: user + nice + sys + irq + idle,
  }));
  return {
    busy: times.reduce((sum, { busy }) => sum + busy, 0),
    all: times.reduce((sum, { all }) => sum + all, 0),
  };
}

/**
 * Waits until all sessions are up, lets them run for `seconds`, under load if wanted, and counts those
 * that fell although nothing was cut.
 */
export async function runLoaded(
  site: Site,
  bfd: LoadedBfd,
  them: ForeignBfd,
  options: { readonly seconds: number; readonly loaded: boolean; readonly interval: number },
): Promise<LoadResult> {
  const before = await eventually(
    'all sessions are up',
    async () => {
      const [mine, its] = [await bfd.sessions(), await them.sessions()];
      const settled = mine.every(
        ({ state, polling, detectionTime }) =>
          state === 'up' && !polling && detectionTime === 3 * options.interval,
      );
      return settled && its.every(({ state }) => state === 'up') ? mine : undefined;
    },
    30_000,
    async () => JSON.stringify([await bfd.sessions(), await them.sessions()]),
  );
  using _load = options.loaded ? await load(site) : undefined;
  const start = processorTime();
  await new Promise((resolve) => setTimeout(resolve, options.seconds * 1000));
  const end = processorTime();
  const [after, foreign, status] = [
    await bfd.sessions(),
    await them.sessions(),
    await bfd.status(),
  ];
  const received = (rows: readonly SessionRow[]) =>
    rows.reduce((sum, { packets }) => sum + packets.received, 0);
  return {
    sessions: after.length,
    seconds: options.seconds,
    falls: after.flatMap((row, i) =>
      Array.from(
        { length: row.flaps - before[i]!.flaps },
        () => `${row.key} at ${row.lastDown?.at}: ${row.lastDown?.text}`,
      ),
    ),
    foreignDown: foreign.filter(({ state }) => state !== 'up').length,
    packets: received(after) - received(before),
    busy: (end.busy - start.busy) / (end.all - start.all),
    latestWake: status.loop.latestWake,
    lateOver5ms: status.loop.lateOver5ms,
  };
}
