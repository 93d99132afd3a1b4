/**
 * A route reflector whose clients all come at once: each connects, announces one route of its own as soon as its
 * session stands, and wants everybody else's. The clock runs from the first connect() until every client has every
 * route. Meanwhile the router is asked for its status twenty times a second, as an operator's tools would.
 */
import { type Bar, type Benchmark, type Figure, quantile } from './lib/benchmark.ts';
import { contenders } from './lib/bgp/contenders.ts';
import { absoluteBar, againstOthers, inTurn, type Measured, used } from './lib/bgp/rounds.ts';
import { CLIENT_RANGE, peerAddress, ROUTER, type Scenario } from './lib/bgp/scenario.ts';
import { BgpSite, must, usageOf } from './lib/bgp/site.ts';

async function reflect(
  clients: number,
  rounds: number,
  log: (line: string) => void,
  notes: string[],
): Promise<Figure[]> {
  const scenario: Scenario = {
    router: ROUTER,
    testers: [],
    testersReceive: false,
    clients: { range: CLIENT_RANGE, limit: 5000 },
  };
  await using site = new BgpSite(clients, 'routed');
  await site.load.ask({
    type: 'prepare',
    remote: ROUTER.address,
    port: 179,
    peers: Array.from({ length: clients }, (_, index) => ({
      local: peerAddress(index),
      asn: ROUTER.asn,
      internal: true,
      hostRoute: `10.90.${index >> 8}.${index & 255}`,
      counts: true,
    })),
    capacity: clients,
    classes: { type: 'host' },
  });
  return await inTurn(
    {
      name: `${clients.toLocaleString('en')} clients`,
      contenders,
      rounds,
      reference: 'BIRD',
      patienceMs: 60_000,
      run: async (contender): Promise<Measured[]> => {
        await using router = await site.start(contender, scenario);
        const before = usageOf(router);
        const waits: number[] = [];
        let over = false;
        const asking = (async () => {
          while (!over) {
            const began = performance.now();
            await contender.status(router).catch(() => {});
            waits.push(performance.now() - began);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        })();
        try {
          const done = await must(
            site.load.ask({
              type: 'flood',
              expect: clients - 1,
              timeoutMs: 120_000,
              ...(contender.atOnce === undefined ? {} : { atOnce: contender.atOnce }),
            }),
          );
          over = true;
          await asking;
          const after = usageOf(router);
          return [
            { metric: 'time', unit: 's', better: 'lower', value: done.ms / 1000 },
            {
              metric: 'of it until the last session stood',
              unit: 's',
              better: 'lower',
              value: (done.establishedMs ?? 0) / 1000,
            },
            {
              metric: 'status call, worst',
              unit: 'ms',
              better: 'lower',
              value: Math.max(...waits),
            },
            {
              metric: 'status call, p50',
              unit: 'ms',
              better: 'lower',
              value: quantile(waits, 0.5),
            },
            ...used(before, after),
            {
              metric: "the load's own processor time",
              unit: 's',
              better: 'lower',
              value: done.cpuMs / 1000,
            },
          ];
        } finally {
          over = true;
          await site.load.ask({ type: 'close' });
        }
      },
    },
    log,
    notes,
  );
}

const bgpReflector: Benchmark = async ({ quick, log }) => {
  const notes: string[] = [
    'time: from the first connect() of all clients at once until each has the routes of all the others.',
    "status call: the routers' own command-line tools, their start included; ours is one request over its socket.",
  ];
  const figures: Figure[] = [];
  for (const clients of quick ? [100] : [1000, 2500])
    figures.push(...(await reflect(clients, quick ? 1 : 3, log, notes)));
  const bars: Bar[] = [
    ...againstOthers(figures),
    ...absoluteBar(figures, '2,500 clients: time', 10),
    ...[1000, 2500].flatMap((clients) =>
      absoluteBar(figures, `${clients.toLocaleString('en')} clients: status call, worst`, 100),
    ),
  ];
  return { figures, bars, notes };
};

export default bgpReflector;
