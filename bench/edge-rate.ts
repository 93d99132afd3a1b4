/**
 * Packets a second from a client outside, by an edge node that has 1, 1,000 and 10,000 services, to a backend on another
 * node by DSR: in XDP and in tc, against the kernel's own destination NAT by an nftables map, on the same cables. One
 * processor does all of it, the sending and the counting too: the ratios understate what the ways differ in.
 */
import { type Bar, type Benchmark, compare, type Figure, ratioBar } from './lib/benchmark.ts';
import { EdgeLoad, type Way } from './lib/edge-load.ts';

const WAYS: readonly Way[] = ['xdp, driver', 'xdp, generic', 'tc', 'nftables'];

const edgeRate: Benchmark = async ({ quick, log }) => {
  const sizes = quick ? [1, 1000] : [1, 1000, 10_000];
  const packets = quick ? 100_000 : 1_000_000;
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  using load = new EdgeLoad(1000);
  for (const size of sizes) {
    log(`${size} services`);
    load.setServices(size);
    const metric = `UDP packets of 60 bytes, ${size} services`;
    const measure = (way: Way) => async () => {
      using _ = load.open(way);
      // The first packets of flows and the ways to neighbours are not what is asked for.
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
      '1,000 flows; the first four seconds of each carry the option that says which address was called, as with every UDP flow by DSR.',
    ],
  };
};

export default edgeRate;
