/**
 * Packets a second from a client outside, by an edge node that has 1, 1,000 and 10,000 services, to a backend on another
 * node by DSR: in XDP and in tc, against the kernel's own destination NAT by an nftables map, on the same cables. One
 * processor does all of it, the sending and the counting too: the ratios understate what the ways differ in.
 */
import { type Bar, type Benchmark, compare, type Figure, ratioBar } from './lib/benchmark.ts';
import { EdgeLoad, type Way } from './lib/edge-load.ts';

const WAYS: readonly Way[] = ['xdp, driver', 'xdp, generic', 'tc', 'nftables'];

/** The first seconds of a flow of datagrams bear an option: longer than that. */
const OPENING_MS = 5500;

const edgeRate: Benchmark = async ({ quick, log }) => {
  const sizes = quick ? [1, 1000] : [1, 1000, 10_000];
  const packets = quick ? 100_000 : 1_000_000;
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  using load = new EdgeLoad(1000);
  for (const size of sizes) {
    log(`${size} services`);
    load.setServices(size);
    {
      using _ = load.open('tc');
      load.rate(packets / 20);
    }
    await new Promise((resolve) => setTimeout(resolve, OPENING_MS));
    const metric = `UDP packets of 60 bytes, ${size} services`;
    const measure = (way: Way) => async () => {
      using _ = load.open(way);
      // The first packets of flows are not what is asked for.
      load.rate(packets / 20);
      return load.rate(packets);
    };
    const own = await compare(
      {
        metric,
        unit: 'packets/s',
        better: 'higher',
        reference: 'nftables',
        rounds: quick ? 2 : 7,
        variants: Object.fromEntries(WAYS.map((way) => [way, measure(way)])),
      },
      log,
    );
    figures.push(...own);
    bars.push(ratioBar(own, metric, 'xdp, driver', 1), ratioBar(own, metric, 'tc', 1));
  }
  return {
    figures,
    bars,
    notes: [
      '1,000 flows that stand: past the seconds in which a flow of datagrams bears the option of DSR.',
    ],
  };
};

export default edgeRate;
