/**
 * An edge node is cut off in silence while datagrams go to a service's address from outside: how long
 * until the last one that is lost. BFD between nodes and switches finds it; what would without it is the
 * session's hold time of nine seconds.
 */
import { echoServers, Load, podPlace } from '@causeway/lab';
import type { Benchmark, Figure } from './lib/benchmark.ts';
import { median } from './lib/benchmark.ts';
import { EDGES, EdgeSite, TALK } from './lib/edge.ts';

const BACKENDS = 4;
const EVERY_MS = 5;
const SOCKETS = 128;

interface Outcome {
  /** From the cut to the last datagram that was lost. */
  readonly recovery: number;
  readonly lost: number;
  readonly sent: number;
}

async function round(site: EdgeSite, edge: string): Promise<Outcome> {
  const { lab } = site;
  const targets = (await site.addresses()).map((address) => ({
    name: 'service',
    address,
    port: TALK,
  }));
  await using load = await Load.start(lab, 'client-1', targets, {
    everyMs: EVERY_MS,
    sockets: SOCKETS,
  });
  const cut = performance.timeOrigin + performance.now();
  await lab.freeze(edge);
  await site.paths(EDGES.filter((name) => name !== edge));
  // Every socket has sent again by then.
  await new Promise((resolve) => setTimeout(resolve, 2 * EVERY_MS * SOCKETS));
  const results = await load.stop();
  const lost = results.flatMap((result) => result.lost).filter((at) => at >= cut - EVERY_MS);
  await lab.thaw(edge);
  await site.paths(EDGES);
  return {
    recovery: lost.length === 0 ? 0 : Math.max(...lost) - cut,
    lost: lost.length,
    sent: results.reduce((sum, { sent }) => sum + sent, 0),
  };
}

const vipFailover: Benchmark = async ({ quick, log }) => {
  await using site = await EdgeSite.start('bench-vip', BACKENDS, log);
  await using _servers = await echoServers(site.lab, site.lab.pods.map(podPlace), TALK);
  const outcomes: Outcome[] = [];
  for (let i = 0; i < (quick ? 2 : 8); i += 1) {
    const edge = EDGES[i % EDGES.length]!;
    const outcome = await round(site, edge);
    outcomes.push(outcome);
    log(`${edge}: ${outcome.recovery.toFixed(0)} ms, ${outcome.lost} of ${outcome.sent} lost`);
  }
  const figure = (metric: string, unit: string, of: (outcome: Outcome) => number): Figure => {
    const samples = outcomes.map(of);
    return {
      metric,
      unit,
      better: 'lower',
      variant: 'BFD 200 ms x 3',
      median: median(samples),
      samples,
      reference: 'none: absolute',
      ratio: Number.NaN,
    };
  };
  const worst = Math.max(...outcomes.map(({ recovery }) => recovery));
  const seen = outcomes.filter(({ lost }) => lost > 0).length;
  return {
    figures: [
      figure('time until nothing more is lost', 'ms', ({ recovery }) => recovery),
      figure('lost datagrams', '', ({ lost }) => lost),
    ],
    bars: [
      {
        what: `recovery when an edge node is cut off, the worst of ${outcomes.length}`,
        wanted: 'under 1000 ms',
        got: `${worst.toFixed(0)} ms`,
        met: worst < 1000,
      },
      {
        what: 'cuts that took traffic away: one that takes none measures nothing',
        wanted: String(outcomes.length),
        got: String(seen),
        met: seen === outcomes.length,
      },
    ],
    notes: [`one datagram every ${EVERY_MS} ms to each family's address, from ${SOCKETS} sockets`],
  };
};

export default vipFailover;
