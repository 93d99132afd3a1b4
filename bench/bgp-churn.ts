/**
 * A neighbour that comes and goes: two testers announce the same 100,000 prefixes, the first by a shorter path. It
 * withdraws all of them, and announces them again, several times; each time the clock runs until the monitor has
 * every prefix by the path that is now best. What a router may skip in between, it may.
 */
import type { Bar, Benchmark } from './lib/benchmark.ts';
import { contenders } from './lib/bgp/contenders.ts';
import { againstOthers, inTurn, type Measured, used } from './lib/bgp/rounds.ts';
import { MONITOR, ROUTER, type Scenario, TESTER_BASE, testers } from './lib/bgp/scenario.ts';
import { BgpSite, loadPeers, must, usageOf } from './lib/bgp/site.ts';

const bgpChurn: Benchmark = async ({ quick, log }) => {
  const routes = quick ? 10_000 : 100_000;
  const cycles = quick ? 2 : 5;
  const scenario: Scenario = {
    router: ROUTER,
    testers: testers(2),
    testersReceive: false,
    monitor: MONITOR,
  };
  const notes = [
    `time: of ${cycles} withdrawals and ${cycles} announcements of ${routes.toLocaleString('en')} prefixes, each until the monitor has all by the best path left.`,
  ];
  await using site = new BgpSite(2);
  await site.load.ask({
    type: 'prepare',
    remote: ROUTER.address,
    port: 179,
    peers: loadPeers(scenario, (index) => ({
      routes,
      seed: 4,
      // The same draw for both; the second puts more of its own AS in front.
      prepend: index === 0 ? 0 : 2,
    })),
    capacity: routes,
    classes: { type: 'tester', base: TESTER_BASE },
  });
  const step = (what: 'announce' | 'withdraw', from: number, best: number) =>
    must(
      site.load.ask({
        type: 'send',
        peers: [from],
        what,
        expect: routes,
        ofClass: best,
        timeoutMs: 120_000,
      }),
    );
  const figures = await inTurn(
    {
      name: `${cycles} x ${routes.toLocaleString('en')} there and back`,
      contenders,
      rounds: quick ? 1 : 3,
      reference: 'BIRD',
      patienceMs: 60_000,
      run: async (contender): Promise<Measured[]> => {
        await using router = await site.start(contender, scenario);
        try {
          await must(site.load.ask({ type: 'connect', timeoutMs: 60_000 }));
          await step('announce', 1, 2);
          await step('announce', 0, 1);
          await new Promise((resolve) => setTimeout(resolve, contender.settleMs ?? 500));
          const before = usageOf(router);
          let away = 0;
          let back = 0;
          for (let cycle = 0; cycle < cycles; cycle += 1) {
            away += (await step('withdraw', 0, 2)).ms;
            back += (await step('announce', 0, 1)).ms;
          }
          const after = usageOf(router);
          return [
            { metric: 'time', unit: 's', better: 'lower', value: (away + back) / 1000 },
            { metric: 'of it withdrawn', unit: 's', better: 'lower', value: away / 1000 },
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

export default bgpChurn;
