import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { echoServers, inNamespace, ping, tcpEcho, udpEcho } from './testing/traffic.ts';

const PORT = 7777;
const BULK = randomBytes(2_000_000);
const LARGE_DATAGRAM = randomBytes(5000);

async function reaches(from: TestPod, to: TestPod): Promise<void> {
  for (const address of [to.ipv4, to.ipv6]) {
    assert.ok(await ping(from.nsName, address), `ping ${address}`);
    const echoed = await tcpEcho(from.nsName, address, PORT, BULK);
    assert.ok(echoed !== undefined && BULK.equals(echoed), `TCP ${address}`);
    assert.equal(
      String(await udpEcho(from.nsName, address, PORT, Buffer.from('hello'))),
      'hello',
      `UDP ${address}`,
    );
    const large = await udpEcho(from.nsName, address, PORT, LARGE_DATAGRAM);
    assert.ok(large !== undefined && LARGE_DATAGRAM.equals(large), `fragmented UDP ${address}`);
  }
}

for (const tunnel of [false, true]) {
  describe(tunnel ? 'two nodes by tunnel' : 'two nodes by native routing', () => {
    const undo = new DisposableStack();
    let a: NodeSite;
    let b: NodeSite;
    let near: TestPod;
    let beside: TestPod;
    let far: TestPod;

    before(() => {
      const letter = tunnel ? 't' : 'n';
      a = undo.use(new NodeSite({ name: `${letter}a`, number: 1, tunnel }));
      b = undo.use(new NodeSite({ name: `${letter}b`, number: 2, tunnel }));
      near = a.addPod(2);
      beside = a.addPod(3);
      far = b.addPod(2, 2002);
      connect(a, b);
      for (const pod of [beside, far]) undo.use(echoServers(pod.ns, PORT));
      undo.use(echoServers(a.ns, PORT));
    });
    after(() => undo.dispose());

    const counted = (site: NodeSite, reason: string) =>
      site.datapath
        .counters()
        .filter((row) => row.reason === reason)
        .reduce((sum, row) => sum + row.packets, 0n);
    const dropped = (site: NodeSite) =>
      site.datapath
        .counters()
        .filter((row) => row.kind === 'drop' && !/quiet|link-local/.test(row.reason));

    test('the gateway answers ping', async () => {
      assert.ok(await ping(near.nsName, a.gateway4));
      assert.ok(await ping(near.nsName, a.gateway6));
    });
    test('pod to pod on one node', () => reaches(near, beside));
    test('pod to pod on another node', () => reaches(near, far));
    test('pod to its own node and back', async () => {
      assert.equal(String(await tcpEcho(near.nsName, a.gateway4, PORT, Buffer.from('x'))), 'x');
      assert.equal(String(await tcpEcho(near.nsName, a.gateway6, PORT, Buffer.from('x'))), 'x');
    });
    test('node to its pod, and to a pod of the other node', async () => {
      for (const pod of [beside, far]) {
        for (const address of [pod.ipv4, pod.ipv6]) {
          assert.ok(await ping(a.nsName, address), `ping ${address}`);
          const echoed = await tcpEcho(a.nsName, address, PORT, BULK);
          assert.ok(echoed !== undefined && BULK.equals(echoed), `TCP ${address}`);
        }
      }
    });
    test('nothing was dropped, and packets took the way they should', () => {
      assert.deepEqual(dropped(a), []);
      assert.deepEqual(dropped(b), []);
      assert.ok(counted(a, tunnel ? 'tunnel' : 'native') > 10n);
      assert.equal(counted(a, tunnel ? 'native' : 'tunnel'), 0n);
    });
    test('a pod sees a router: hops count down, and the gateway says where they ended', async () => {
      const { stdout } = await inNamespace(near.nsName, [
        'busybox',
        'traceroute',
        '-n',
        '-q1',
        '-w1',
        '-m3',
        far.ipv4,
      ]);
      assert.match(String(stdout), new RegExp(`1 +${a.gateway4.replaceAll('.', '\\.')}`));
    });
  });
}
