/**
 * What changes of other clusters cost a node that knows 500,000 endpoints of 255 peers on 20,000 nodes: the
 * agent's processor time at 300 changes a second, and the time from a write into the peers' etcd until the
 * kernel's map has it, measured on entries of the same kind between those changes.
 */
import { Address } from '@causeway/ip';
import { type Bar, type Benchmark, ownFigure, quantile } from './lib/benchmark.ts';
import {
  FULL,
  fillBare,
  fillEntries,
  fillMarkers,
  type GeneratedEntry,
  type MeshShape,
  peersOf,
} from './lib/mesh-generator.ts';
import { MeshSite, sleep } from './lib/mesh-site.ts';

/** One address an endpoint is enough here: half of the endpoints give as many entries. */
const HALF: MeshShape = { ...FULL, endpoints: 250_000 };
const QUICK: MeshShape = { ...FULL, peers: 20, nodes: 400, endpoints: 10_000 };
const RATE = 300;
const WAIT_MS = 10_000;

/** Entries spread over all peers, for ever. */
function* victims(shape: MeshShape): Generator<GeneratedEntry, never> {
  const each = peersOf(shape).map((peer) => [...peer.entries()].slice(0, 200));
  for (let round = 0; ; round++) {
    for (const entries of each) yield entries[round % entries.length]!;
  }
}

/** Puts entries with other identities at a steady rate until the signal aborts. Returns how many. */
async function stir(site: MeshSite, shape: MeshShape, signal: AbortSignal): Promise<number> {
  const source = victims(shape);
  const began = performance.now();
  let count = 0;
  const pending = new Set<Promise<unknown>>();
  let failure: unknown;
  while (!signal.aborted) {
    const due = Math.floor(((performance.now() - began) / 1000) * RATE);
    for (; count < due; count++) {
      const { key, value } = source.next().value;
      const put = site.hub
        .put(key, value(count))
        // Told at the end: thrown to nobody it would end the process and leave agent and etcd behind.
        .catch((error) => {
          failure ??= error;
        })
        .finally(() => pending.delete(put));
      pending.add(put);
    }
    await sleep(5);
  }
  await Promise.all(pending);
  if (failure !== undefined) throw failure;
  return count;
}

/**
 * Milliseconds from the write's beginning until the map has it, one after the other.
 * @param before identities that earlier probes have used of each peer.
 */
async function probe(
  site: MeshSite,
  shape: MeshShape,
  count: number,
  before: number,
): Promise<number[]> {
  const map = site.openMap();
  try {
    const samples: number[] = [];
    // The last entries of a peer are left alone by the stirring.
    const targets = peersOf(shape).map((peer) => ({ peer, entry: [...peer.entries()].at(-1)! }));
    for (let index = 0; index < count; index++) {
      const { peer, entry } = targets[index % targets.length]!;
      const number = before + Math.floor(index / targets.length) + 1;
      const wanted = peer.identity(number);
      const key = Address.toBytes16(entry.address);
      const began = performance.now();
      const put = site.hub.put(entry.key, entry.value(number));
      // Awaited when the map has it; if it never does, that is the failure to tell.
      put.catch(() => {});
      for (;;) {
        const value = map.get(key);
        if (value !== undefined && new DataView(value.buffer).getUint32(0, true) === wanted) break;
        if (performance.now() - began > WAIT_MS) {
          throw new Error(`${entry.address} of ${peer.name} is not in the map after ${WAIT_MS} ms`);
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      samples.push(performance.now() - began);
      await put;
      await sleep(20);
    }
    return samples;
  } finally {
    map.close();
  }
}

const change: Benchmark = async ({ quick, log }) => {
  const shape = quick ? QUICK : HALF;
  const seconds = quick ? 10 : 60;
  await using site = await MeshSite.open(shape);
  log(`${shape.peers} peers with ${shape.nodes} nodes into etcd`);
  await fillBare(site.hub, shape);
  const entries = await fillEntries(site.hub, shape);
  await fillMarkers(site.hub, shape, Date.now());
  log(`${entries} entries are in etcd`);
  await site.startAgent(true);
  await site.inStep();
  await sleep(5000);

  const calm = site.ranNs();
  await sleep(seconds * 1000);
  const atRest = (100 * (site.ranNs() - calm)) / (seconds * 1e9);
  log(`at rest ${atRest.toFixed(2)}% of a core`);
  const alone = await probe(site, shape, quick ? 50 : 500, 0);

  const end = new AbortController();
  const began = performance.now();
  const before = site.ranNs();
  const stirring = stir(site, shape, end.signal);
  await using _stirred = {
    async [Symbol.asyncDispose]() {
      end.abort();
      await stirring.catch(() => {});
    },
  };
  await sleep(seconds * 1000);
  const cpu = site.ranNs() - before;
  const lasted = (performance.now() - began) / 1000;
  log(`${RATE} changes a second: ${((100 * cpu) / (lasted * 1e9)).toFixed(1)}% of a core`);
  const among = await probe(site, shape, quick ? 50 : 500, 10);
  end.abort();
  const changes = await stirring;

  const share = (100 * cpu) / (lasted * 1e9);
  const each = (cpu / 1e6 - (atRest / 100) * lasted * 1000) / (RATE * lasted);
  const bars: Bar[] = [
    {
      what: 'processor time of the agent for a change, from the stream to the kernel',
      wanted: 'under 1 ms',
      got: `${each.toFixed(3)} ms`,
      met: each < 1,
    },
  ];
  return {
    figures: [
      ownFigure('processor at rest', '% of a core', [atRest]),
      ownFigure(`processor at ${RATE} changes a second`, '% of a core', [share]),
      ownFigure('processor time for a change', 'ms', [each]),
      ownFigure('write to map, no other changes, p50', 'ms', [quantile(alone, 0.5)]),
      ownFigure('write to map, no other changes, p99', 'ms', [quantile(alone, 0.99)]),
      ownFigure(`write to map, among ${RATE} changes a second, p50`, 'ms', [quantile(among, 0.5)]),
      ownFigure(`write to map, among ${RATE} changes a second, p99`, 'ms', [quantile(among, 0.99)]),
    ],
    bars,
    notes: [
      `${shape.peers} peers, ${shape.nodes} nodes, ${entries} entries; ${changes} changes. A write begins at the benchmark's client, and its etcd (without fsync) shares the two processors with the agent and with the benchmark, which polls the map.`,
    ],
  };
};

export default change;
