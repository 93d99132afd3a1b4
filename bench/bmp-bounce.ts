/**
 * The bounce of a router with 100 peers of 3,000 routes each: all sessions fall by hold timer, come back and bring
 * their tables again, a Route Monitoring message for each prefix (the most work for a station, and what FRR
 * sends). Measured from the first byte of the bounce until the station answers for all of it: every Peer Down
 * and Peer Up and table in the history on disk, every route in memory; and until the fault has been judged,
 * which waits for two seconds of quiet. pmacct's pmbmpd takes the same bytes, until its file has all lines.
 */
import type { Bar, Benchmark, Figure } from './lib/benchmark.ts';
import { median } from './lib/benchmark.ts';
import { type BounceLoad, bounceLoad } from './lib/bmp/load.ts';
import {
  feedTo,
  LineCounter,
  OurStation,
  Pmbmpd,
  pause,
  send,
  usageOf,
} from './lib/bmp/stations.ts';
import { temporaryDirectory } from './lib/interrupt.ts';

interface Outcome {
  readonly seconds: number;
  readonly firstSeconds: number;
  readonly peak: number;
  readonly cpu: number;
  readonly toldAfter?: number;
  readonly wrong?: readonly string[];
}

interface Status {
  readonly routes: number;
  readonly peersUp: number;
  readonly history: { readonly waiting: number; readonly dropped: number };
}

interface FaultRow {
  readonly state: string;
  readonly headline: string;
  readonly sessions: readonly unknown[];
  readonly causes: readonly {
    readonly why: string;
    readonly closedBy: string;
    readonly sessions: number;
  }[];
  readonly suspects: readonly { readonly node: { readonly name: string } }[];
  readonly prefixes: { readonly lost: number; readonly reachable: number; readonly gone: number };
}

const PATIENCE_MS = 120_000;

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: not after ${PATIENCE_MS / 1000} s`);
    await pause(20);
  }
}

async function ours(load: BounceLoad): Promise<Outcome> {
  using directory = temporaryDirectory();
  await using station = await OurStation.start(directory.path);
  const { api } = station;
  const { routes } = load;
  const events = async (type: string): Promise<number> => {
    const rows = await api.ask('GET', `/v1/events?type=${type}&limit=10000`);
    return (rows as unknown[]).length;
  };
  // What the API gives of events is what SQLite has committed.
  const digested = (bounces: number) => async (): Promise<boolean> => {
    const status = (await api.ask('GET', '/v1/status')) as Status;
    if (status.routes !== routes || status.peersUp !== load.peers) return false;
    return (
      (await events('table')) === bounces * load.peers &&
      (await events('peer-up')) === bounces * load.peers &&
      (await events('peer-down')) === (bounces - 1) * load.peers
    );
  };
  const socket = await feedTo(station.port);
  try {
    const began = performance.now();
    await send(socket, load.first);
    await until('the first tables', digested(1));
    const firstSeconds = (performance.now() - began) / 1000;
    await pause(500);
    const before = usageOf(station.pid);
    const start = performance.now();
    await send(socket, load.bounce);
    await until('the bounce', digested(2));
    const seconds = (performance.now() - start) / 1000;
    let fault: FaultRow | undefined;
    await until('the fault', async () => {
      const rows = (await api.ask('GET', '/v1/faults?state=recovered')) as FaultRow[];
      fault = rows[0];
      return fault !== undefined;
    });
    const toldAfter = (performance.now() - start) / 1000;
    const after = usageOf(station.pid);
    return {
      seconds,
      firstSeconds,
      toldAfter,
      peak: after.peak,
      cpu: after.cpu - before.cpu,
      wrong: wrongWith(fault!, load),
    };
  } finally {
    socket.destroy();
  }
}

/** What the fault should say and does not. */
function wrongWith(fault: FaultRow, load: BounceLoad): string[] {
  const [cause] = fault.causes;
  const checks: readonly (readonly [string, unknown, unknown])[] = [
    ['sessions', fault.sessions.length, load.peers],
    ['causes', fault.causes.length, 1],
    ['cause', cause?.why, 'hold-timer'],
    ['closed by', cause?.closedBy, 'router'],
    ['first suspect', fault.suspects[0]?.node.name, 'bounced'],
    ['prefixes lost', fault.prefixes.lost, load.prefixes],
    ['reachable by others', fault.prefixes.reachable, 0],
  ];
  return checks
    .filter(([, got, wanted]) => got !== wanted)
    .map(([what, got, wanted]) => `${what}: ${String(got)}, not ${String(wanted)}`);
}

async function pmacct(load: BounceLoad): Promise<Outcome> {
  using directory = temporaryDirectory();
  await using station = await Pmbmpd.start(directory.path);
  const socket = await feedTo(station.port);
  try {
    const lines = new LineCounter(station.log);
    const complete = (wanted: number) => async (): Promise<boolean> => {
      try {
        return (await lines.count()) >= wanted;
      } catch {
        return false;
      }
    };
    const began = performance.now();
    await send(socket, load.first);
    const { routes } = load;
    // A line for each route and each Peer Up, one for Initiation; End-of-RIB has none.
    await until('the first lines', complete(routes + load.peers));
    await settled(lines);
    const firstSeconds = (performance.now() - began) / 1000;
    const had = lines.lines;
    const before = usageOf(station.pid);
    const start = performance.now();
    await send(socket, load.bounce);
    await until('the lines of the bounce', complete(had + routes + 2 * load.peers));
    const seconds = (performance.now() - start) / 1000;
    const after = usageOf(station.pid);
    return { seconds, firstSeconds, peak: after.peak, cpu: after.cpu - before.cpu };
  } finally {
    socket.destroy();
  }
}

/** Until a file has not grown for half a second. */
async function settled(lines: LineCounter): Promise<void> {
  for (let before = -1; before !== lines.lines; ) {
    before = lines.lines;
    await pause(500);
    await lines.count();
  }
}

const bmpBounce: Benchmark = async ({ quick, log }) => {
  const load = bounceLoad(quick ? 20 : 100, quick ? 300 : 3000);
  const rounds = quick ? 1 : 3;
  const size = `${load.peers} x ${load.routesPerPeer.toLocaleString('en')}`;
  log(
    `${load.messages.bounce} messages of ${(load.bounce.length / 1e6).toFixed(1)} MB in a bounce`,
  );
  const variants = { pmbmpd: pmacct, Causeway: ours };
  const outcomes: Record<string, Outcome[]> = { pmbmpd: [], Causeway: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, run] of Object.entries(variants)) {
      const outcome = await run(load);
      outcomes[name]!.push(outcome);
      log(`round ${round + 1}: ${name} ${outcome.seconds.toFixed(2)} s`);
    }
  }
  const figure = (
    metric: string,
    unit: string,
    variant: string,
    of: (outcome: Outcome) => number,
  ): Figure => {
    const samples = outcomes[variant]!.map(of);
    const base = outcomes.pmbmpd!.map(of);
    const ratio = median(samples.map((value, round) => value / base[round]!));
    return {
      metric: `${metric}, ${size}`,
      unit,
      better: 'lower',
      variant,
      median: median(samples),
      samples,
      reference: 'pmbmpd',
      ratio,
    };
  };
  const figures = Object.keys(variants).flatMap((variant) => [
    figure('bounce digested', 's', variant, ({ seconds }) => seconds),
    figure('first tables taken', 's', variant, ({ firstSeconds }) => firstSeconds),
    figure('peak memory', 'MiB', variant, ({ peak }) => peak),
    figure('processor time of the bounce', 's', variant, ({ cpu }) => cpu),
  ]);
  const own = outcomes.Causeway!;
  const worst = Math.max(...own.map(({ seconds }) => seconds));
  const named = Math.max(...own.map(({ toldAfter }) => toldAfter ?? Number.NaN));
  const wrong = own.flatMap((outcome) => outcome.wrong ?? []);
  const bars: Bar[] = [
    {
      what: 'bounce digested, worst round',
      wanted: 'under 10 s',
      got: `${worst.toFixed(2)} s`,
      met: worst < 10,
    },
    {
      what: 'fault judged, worst round',
      wanted: 'under 10 s',
      got: `${named.toFixed(2)} s`,
      met: named < 10,
    },
    {
      what: 'the fault says what happened',
      wanted: 'all of it',
      got: wrong.length === 0 ? 'all of it' : wrong.join('; '),
      met: wrong.length === 0,
    },
  ];
  return {
    figures,
    bars,
    notes: [
      `${load.messages.bounce.toLocaleString('en')} messages, ${(load.bounce.length / 1e6).toFixed(1)} MB; ${load.prefixes.toLocaleString('en')} different prefixes.`,
      'pmbmpd writes each message to a file as JSON; it keeps no history to ask, names no fault, and has no API.',
    ],
  };
};

export default bmpBounce;
