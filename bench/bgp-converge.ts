/**
 * How long a router needs to hand on what its neighbours tell it. All sessions stand and are quiet; then every tester
 * writes its whole table at once, and the clock runs from the first byte written until a monitor has every prefix.
 * Testers are told nothing: an export policy keeps the routes from them, in every router alike.
 */
import type { Bar, Benchmark, Figure } from './lib/benchmark.ts';
import { contenders } from './lib/bgp/contenders.ts';
import {
  absoluteBar,
  againstOthers,
  inTurn,
  type Measured,
  ratioBars,
  used,
} from './lib/bgp/rounds.ts';
import { MONITOR, ROUTER, type Scenario, testers } from './lib/bgp/scenario.ts';
import { BgpSite, loadPeers, usageOf } from './lib/bgp/site.ts';

interface Case {
  readonly peers: number;
  readonly routes: number;
  readonly rounds: number;
}

const CASES: readonly Case[] = [
  { peers: 100, routes: 1_000, rounds: 5 },
  { peers: 2, routes: 100_000, rounds: 5 },
  { peers: 1, routes: 1_000_000, rounds: 3 },
];
const QUICK: readonly Case[] = [
  { peers: 20, routes: 500, rounds: 1 },
  { peers: 2, routes: 10_000, rounds: 1 },
];

async function measure(
  { peers, routes, rounds }: Case,
  log: (line: string) => void,
  notes: string[],
): Promise<Figure[]> {
  const scenario: Scenario = {
    router: ROUTER,
    testers: testers(peers),
    testersReceive: false,
    monitor: MONITOR,
  };
  const total = peers * routes;
  await using site = new BgpSite(peers);
  await site.load.ask({
    type: 'prepare',
    remote: ROUTER.address,
    port: 179,
    peers: loadPeers(scenario, (index) => ({ routes, seed: 1, part: [index, peers] })),
    capacity: total,
    classes: { type: 'any' },
  });
  return await inTurn(
    {
      name: `${peers} x ${routes.toLocaleString('en')}`,
      contenders,
      rounds,
      reference: 'BIRD',
      patienceMs: 30_000,
      run: async (contender): Promise<Measured[]> => {
        await using router = await site.start(contender, scenario);
        try {
          const up = await site.load.ask({ type: 'connect', timeoutMs: 60_000 });
          if (up.failure !== undefined) throw new Error(up.failure);
          await new Promise((resolve) => setTimeout(resolve, contender.settleMs ?? 500));
          const before = usageOf(router);
          const done = await site.load.ask({
            type: 'send',
            peers: 'all',
            what: 'announce',
            expect: total,
            timeoutMs: 180_000,
          });
          if (done.failure !== undefined) throw new Error(done.failure);
          const after = usageOf(router);
          return [
            { metric: 'time', unit: 's', better: 'lower', value: done.ms / 1000 },
            ...used(before, after),
            {
              metric: "the load's own processor time",
              unit: 's',
              better: 'lower',
              value: done.cpuMs / 1000,
            },
          ];
        } finally {
          await site.load.ask({ type: 'close' });
        }
      },
    },
    log,
    notes,
  );
}

const bgpConverge: Benchmark = async ({ quick, log }) => {
  const figures: Figure[] = [];
  const notes: string[] = [
    'time: from the first byte of the tables, all sessions standing, to the monitor having every prefix.',
    'testers receive nothing; memory and processor time are of all processes of the router.',
  ];
  for (const one of quick ? QUICK : CASES) figures.push(...(await measure(one, log, notes)));
  const bars: Bar[] = [
    ...againstOthers(figures),
    ...(quick ? [] : CASES).flatMap(({ peers, routes }) => {
      const name = `${peers} x ${routes.toLocaleString('en')}`;
      return [
        ...ratioBars(figures, `${name}: time`, 2),
        ...(peers === 100 ? absoluteBar(figures, `${name}: peak memory`, 100) : []),
      ];
    }),
  ];
  return { figures, bars, notes };
};

export default bgpConverge;
