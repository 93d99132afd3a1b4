import { connect, NodeSite } from '../packages/datapath/src/testing/node-site.ts';
import { compare } from './lib/benchmark.ts';
import { plainSite } from './lib/plain.ts';
import { printReport } from './lib/report.ts';
import {
  connectRate,
  iperfServer,
  type Place,
  qperfServer,
  requestResponse,
  tcpStream,
  udpRate,
  webServer,
} from './lib/traffic.ts';

const which = (process.argv[2] ?? 'stream,rr').split(',');
const rounds = Number(process.argv[3] ?? 5);
using stack = new DisposableStack();
await using astack = new AsyncDisposableStack();
const tunnel = process.argv.includes('tunnel');
const a = stack.use(new NodeSite({ name: 'pa', number: 1, tunnel }));
const b = stack.use(new NodeSite({ name: 'pb', number: 2, tunnel }));
const near = a.addPod(2);
const same = a.addPod(3);
const far = b.addPod(2, 2002);
connect(a, b);
const plain = astack.use(plainSite('ipv4'));
const place = (n: string): Place => ['ip', 'netns', 'exec', n];
const paths: Record<string, { from: Place; to: Place; address: string }> = {
  'node to node': { from: place(a.nsName), to: place(b.nsName), address: b.ipv4 },
  native: { from: place(near.nsName), to: place(far.nsName), address: far.ipv4 },
  'same node': { from: place(near.nsName), to: place(same.nsName), address: same.ipv4 },
  'kernel routing': { from: plain.pods[0], to: plain.pods[1], address: plain.podAddresses[1] },
  'plain nodes': { from: plain.nodes[0], to: plain.nodes[1], address: plain.nodeAddresses[1] },
};
for (const p of Object.values(paths)) {
  astack.use(await iperfServer(p.to));
  astack.use(await qperfServer(p.to));
  astack.use(await webServer(p.to));
}
if (process.argv.includes('hold')) {
  console.log(JSON.stringify(paths));
  await new Promise((r) => process.once('SIGINT', r));
}
const kinds: Record<string, [string, (p: { from: Place; address: string }) => Promise<number>]> = {
  stream: ['Gbit/s', (p) => tcpStream(p.from, p.address, 1)],
  rr: ['x/s', (p) => requestResponse(p.from, 'tcp', p.address, 2)],
  rr1: ['x/s', (p) => requestResponse(p.from, 'tcp', p.address, 1, true)],
  udp: ['p/s', (p) => udpRate(p.from, p.address, 2)],
  conn: ['c/s', (p) => connectRate(p.from, p.address, 8000)],
};
const figures = [];
for (const kind of which) {
  const [unit, one] = kinds[kind]!;
  figures.push(
    ...(await compare(
      {
        metric: kind,
        unit,
        better: 'higher',
        reference: 'node to node',
        rounds,
        variants: Object.fromEntries(Object.entries(paths).map(([n, p]) => [n, () => one(p)])),
      },
      () => {},
    )),
  );
}
printReport('prof', { figures, bars: [], notes: [] });
