/**
 * A changed policy on a full router: 400,000 routes of two testers stand at a monitor; then the export policy puts
 * one more community on each, and the clock runs from the operator's command until the monitor has all of them with
 * it. Nobody's session may fall meanwhile.
 */
import type { Bar, Benchmark } from './lib/benchmark.ts';
import { contenders } from './lib/bgp/contenders.ts';
import { againstOthers, inTurn, type Measured, used } from './lib/bgp/rounds.ts';
import { MONITOR, ROUTER, type Scenario, testers } from './lib/bgp/scenario.ts';
import { BgpSite, loadPeers, must, usageOf } from './lib/bgp/site.ts';

const bgpReload: Benchmark = async ({ quick, log }) => {
  const routes = quick ? 20_000 : 400_000;
  const peers = 2;
  const scenario: Scenario = {
    router: ROUTER,
    testers: testers(peers),
    testersReceive: false,
    monitor: MONITOR,
  };
  const changed: Scenario = { ...scenario, community: `${ROUTER.asn}:7` };
  const notes = [
    'time: from the command that brings the new export policy until the monitor has every route with the new community.',
  ];
  await using site = new BgpSite(peers);
  await site.load.ask({
    type: 'prepare',
    remote: ROUTER.address,
    port: 179,
    peers: loadPeers(scenario, (index) => ({
      routes: routes / peers,
      seed: 3,
      part: [index, peers],
    })),
    capacity: routes,
    classes: { type: 'community', community: ROUTER.asn * 65_536 + 7 },
  });
  const figures = await inTurn(
    {
      name: `${routes.toLocaleString('en')} routes`,
      contenders,
      rounds: quick ? 1 : 3,
      reference: 'BIRD',
      patienceMs: 60_000,
      run: async (contender): Promise<Measured[]> => {
        await using router = await site.start(contender, scenario);
        try {
          await must(site.load.ask({ type: 'connect', timeoutMs: 60_000 }));
          await must(
            site.load.ask({
              type: 'send',
              peers: 'all',
              what: 'announce',
              expect: routes,
              ofClass: 1,
              timeoutMs: 180_000,
            }),
          );
          await new Promise((resolve) => setTimeout(resolve, 1000));
          const before = usageOf(router);
          const began = performance.now();
          const asked = site.load.ask({
            type: 'send',
            peers: [],
            what: 'nothing',
            expect: routes,
            ofClass: 2,
            timeoutMs: 120_000,
          });
          await contender.change(router, changed);
          const answered = performance.now() - began;
          const done = await must(asked);
          const after = usageOf(router);
          return [
            { metric: 'time', unit: 's', better: 'lower', value: done.ms / 1000 },
            { metric: 'command answered', unit: 's', better: 'lower', value: answered / 1000 },
            ...used(before, after),
          ];
        } finally {
          await site.load.ask({ type: 'close' });
        }
      },
    },
    log,
    notes,
  );
  const bars: Bar[] = againstOthers(figures);
  return { figures, bars, notes };
};

export default bgpReload;
