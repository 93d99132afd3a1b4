/**
 * What 255 peer clusters cost a node: 500,000 endpoints with two addresses each on 20,000 nodes, in etcd in
 * the true form, read by one real agent: until every entry is in the kernel, and the memory for each.
 */
import { type Bar, type Benchmark, ownFigure } from './lib/benchmark.ts';
import { FULL, fillBare, fillEntries, fillMarkers, type MeshShape } from './lib/mesh-generator.ts';
import { MeshSite, type Needs } from './lib/mesh-site.ts';

const QUICK: MeshShape = { ...FULL, peers: 20, nodes: 400, endpoints: 20_000 };

/** One figure that is compared with nothing. */
async function start(site: MeshSite): Promise<{ seconds: number; cpu: number; needs: Needs }> {
  const began = performance.now();
  await site.startAgent(true);
  await site.inStep();
  const seconds = (performance.now() - began) / 1000;
  const cpu = site.ranNs() / 1e9;
  return { seconds, cpu, needs: await site.settled() };
}

const mesh: Benchmark = async ({ quick, log }) => {
  const shape = quick ? QUICK : FULL;
  await using site = await MeshSite.open(shape);
  log(`${shape.peers} peers with ${shape.nodes} nodes into etcd`);
  await fillBare(site.hub, shape);
  await fillMarkers(site.hub, shape, Date.now());

  await site.startAgent(false);
  await site.kernelInStep();
  const nothing = await site.settled();
  const bare = await start(site);
  log(`without entries: ${bare.seconds.toFixed(1)} s, ${mebi(bare.needs.resident)} MiB`);
  await site.stopAgent();
  const entries = await fillEntries(site.hub, shape);
  log(`${entries} entries are in etcd`);
  const full = await start(site);
  const map = site.openMap();
  const found = map.count();
  map.close();
  log(`with entries: ${full.seconds.toFixed(1)} s, ${mebi(full.needs.resident)} MiB`);

  const agentBytes = (full.needs.resident - bare.needs.resident) / entries;
  const kernelBytes = (full.needs.kernel - bare.needs.kernel) / entries;
  const perMillion = ((full.seconds - bare.seconds) * 1e6) / entries;
  const figures = [
    ownFigure('start until all is in the kernel', 's', [full.seconds]),
    ownFigure('the same without entries', 's', [bare.seconds]),
    ownFigure('processor time of the agent until then', 's', [full.cpu]),
    ownFigure('the same without entries, processor time', 's', [bare.cpu]),
    ownFigure('memory of the agent', 'MiB', [mebi(full.needs.resident)]),
    ownFigure('the same without entries, memory', 'MiB', [mebi(bare.needs.resident)]),
    ownFigure('the same without peers, memory', 'MiB', [mebi(nothing.resident)]),
    ownFigure('memory of the agent for each entry', 'bytes', [agentBytes]),
    ownFigure('memory of the kernel for each entry', 'bytes', [kernelBytes]),
  ];
  const bars: Bar[] = [
    {
      what: 'entries in the kernel',
      wanted: `at least ${entries}`,
      got: String(found),
      met: found >= entries,
    },
    {
      what: 'seconds that a million entries add to the start with all peers and nodes',
      wanted: 'under 20',
      got: perMillion.toFixed(1),
      met: quick || perMillion < 20,
    },
    {
      what: 'bytes of agent and kernel for each entry',
      wanted: 'under 300',
      got: `${agentBytes.toFixed(0)} + ${kernelBytes.toFixed(0)}`,
      met: quick || agentBytes + kernelBytes < 300,
    },
  ];
  return {
    figures,
    bars,
    notes: [
      `${shape.peers} peers, ${shape.nodes} nodes, ${shape.endpoints} endpoints, ${entries} entries, ${shape.peers * shape.identities} identities, in one etcd on the same machine.`,
    ],
  };
};

const mebi = (bytes: number): number => Math.round(bytes / 2 ** 20);

export default mesh;
