import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import { RtSocket, request } from '@causeway/linux';
import { frame } from './testing/frames.ts';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { inNamespace } from './testing/traffic.ts';

const FRIEND = 3001;
/** A machine on the nodes' network that is no node. */
const STRANGER = Address.parse('192.0.2.77');

describe('who may speak as whom through a tunnel', () => {
  const undo = new DisposableStack();
  let a: NodeSite;
  let b: NodeSite;
  let friend: TestPod;
  let server: TestPod;
  let neighbour: TestPod;
  before(() => {
    a = undo.use(new NodeSite({ name: 'va', number: 1, tunnel: true }));
    b = undo.use(new NodeSite({ name: 'vb', number: 2, tunnel: true }));
    friend = a.addPod(2, FRIEND);
    server = b.addPod(2, 3003);
    neighbour = b.addPod(3, 3004);
    connect(a, b);
    using rt = RtSocket.open(a.ns);
    const eth0 = rt.link({ name: 'eth0' })!.index;
    rt.apply(
      request.addAddress({ ifindex: eth0, address: Address.toBytes(STRANGER), prefixLength: 24 }),
    );
  });
  after(() => undo.dispose());

  const counts = () => {
    const sums = new Map<string, bigint>();
    for (const { reason, packets } of b.datapath.counters())
      sums.set(reason, (sums.get(reason) ?? 0n) + packets);
    return sums;
  };

  /** What b counts for a frame that a host sends it in VXLAN. */
  const fate = async (vni: number, source: Address, to: Address, outer: Address) => {
    const inner = frame({
      source,
      destination: to,
      payload: { type: 'udp', sport: 40_000 + ports++, dport: 9 },
    });
    const header = Uint8Array.of(8, 0, 0, 0, vni >> 16, vni >> 8, vni, 0);
    const first = counts();
    await inNamespace(a.nsName, ['socat', '-u', '-', `UDP4-SENDTO:${b.ipv4}:8472,bind=${outer}`], {
      input: Buffer.concat([header, inner]),
    });
    const known = ['to-pod', 'tunnel-source', 'tunnel-identity', 'spoofed-source', 'tunnel'];
    const end = Date.now() + 20_000;
    for (;;) {
      const now = counts();
      const moved = known.find((reason) => now.get(reason) !== first.get(reason));
      if (moved !== undefined) return moved;
      assert.ok(Date.now() < end, 'the frame did not arrive');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  let ports = 0;

  for (const family of ['ipv4', 'ipv6'] as const) {
    test(`${family}: an identity that is not the source's is refused, unless its own host says it`, async () => {
      const to = server[family];
      const nobody = Address.parse(family === 'ipv4' ? '10.9.0.9' : 'fd00:9::9');
      const outside = Address.parse(family === 'ipv4' ? '198.51.100.7' : '2001:db8:ffff::7');
      const cases: [string, number, Address, Address, string][] = [
        ['as known', FRIEND, friend[family], a.ipv4, 'to-pod'],
        ['as known, forwarded by another', FRIEND, friend[family], STRANGER, 'to-pod'],
        ['relabelled a moment ago', 3999, friend[family], a.ipv4, 'to-pod'],
        ['a stranger promotes a pod', 3999, friend[family], STRANGER, 'tunnel-source'],
        ['new at a node', 3999, nobody, a.ipv4, 'to-pod'],
        ['new at no node', 3999, nobody, STRANGER, 'tunnel-source'],
        ['a pod by its address alone', 6, friend[family], STRANGER, 'tunnel-source'],
        ['the same for a node that forwards', 0, friend[family], a.ipv4, 'to-pod'],
        ['the world', 2, outside, STRANGER, 'to-pod'],
        ['the receiver itself', 1, outside, a.ipv4, 'tunnel-identity'],
        ["the receiver's own pod", 3004, neighbour[family], a.ipv4, 'spoofed-source'],
      ];
      for (const [what, vni, source, outer, expected] of cases)
        assert.equal(await fate(vni, source, to, outer), expected, what);
    });
  }
});
