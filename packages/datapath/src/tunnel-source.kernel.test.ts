import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { RtSocket, request } from '@causeway/linux';
import { frame } from './testing/frames.ts';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { inNamespace } from './testing/traffic.ts';

const FRIEND = 3001;
/** On the nodes' network: a machine that is no node, a node that is an endpoint, a pod that needs no tunnel. */
const STRANGER = addresses(0x77);
const ENDPOINT = addresses(0x78);
const PLAIN_POD = addresses(0x79);

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
    for (const { ipv4, ipv6 } of [STRANGER, ENDPOINT, PLAIN_POD])
      rt.apply([
        request.addAddress({ ifindex: eth0, address: Address.toBytes(ipv4), prefixLength: 24 }),
        request.addAddress({
          ifindex: eth0,
          address: Address.toBytes(ipv6),
          prefixLength: 64,
          noDad: true,
        }),
      ]);
    for (const family of ['ipv4', 'ipv6'] as const) {
      const known = { noMasquerade: true, isProtected: false } as const;
      b.datapath.ipcache.putAll([
        [
          Prefix.host(ENDPOINT[family]),
          { ...known, identity: 4001, tunnelEndpoint: undefined, isNode: true },
        ],
        [
          Prefix.host(PLAIN_POD[family]),
          { ...known, identity: 3005, tunnelEndpoint: undefined, isNode: false },
        ],
      ]);
    }
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
    const target = Address.isIPv4(outer)
      ? `UDP4-SENDTO:${b.ipv4}:8472,bind=${outer}`
      : `UDP6-SENDTO:[${b.ipv6}]:8472,bind=[${outer}]`;
    await inNamespace(a.nsName, ['socat', '-u', '-', target], {
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
        ['as known, forwarded by another', FRIEND, friend[family], STRANGER.ipv4, 'to-pod'],
        ['relabelled a moment ago', 3999, friend[family], a.ipv4, 'to-pod'],
        ['a stranger promotes a pod', 3999, friend[family], STRANGER.ipv4, 'tunnel-source'],
        ['new at a node', 3999, nobody, a.ipv4, 'to-pod'],
        ['new at no node', 3999, nobody, STRANGER.ipv4, 'tunnel-source'],
        ['a pod by its address alone', 6, friend[family], STRANGER.ipv4, 'tunnel-source'],
        ['the same for a node that forwards', 0, friend[family], a.ipv4, 'to-pod'],
        ['the world', 2, outside, STRANGER.ipv4, 'to-pod'],
        ['the receiver itself', 1, outside, a.ipv4, 'tunnel-identity'],
        ["the receiver's own pod", 3004, neighbour[family], a.ipv4, 'spoofed-source'],
      ];
      for (const [what, vni, source, outer, expected] of cases)
        assert.equal(await fate(vni, source, to, outer), expected, what);
    });

    test(`${family}: by its own address a host is who is known there, and a node alone tells anew`, async () => {
      const to = server[family];
      const nobody = Address.parse(family === 'ipv4' ? '10.9.0.9' : 'fd00:9::9');
      const [stranger, node, endpoint, pod] = [STRANGER, a, ENDPOINT, PLAIN_POD].map(
        (of) => of[family],
      ) as [Address, Address, Address, Address];
      const cases: [string, number, Address, Address, string][] = [
        ['a stranger as a workload', FRIEND, stranger, stranger, 'tunnel-source'],
        ['a stranger as himself', 0, stranger, stranger, 'to-pod'],
        ["a node's own", 6, node, node, 'to-pod'],
        ['a node that has become an endpoint', 4000, node, node, 'to-pod'],
        ['an endpoint, as nodes send their own', 6, endpoint, endpoint, 'to-pod'],
        ['an endpoint by its number', 4001, endpoint, endpoint, 'to-pod'],
        ['an endpoint relabelled a moment ago', 4002, endpoint, endpoint, 'to-pod'],
        ['new at an endpoint', 3999, nobody, endpoint, 'to-pod'],
        ['a pod as itself', 3005, pod, pod, 'to-pod'],
        ['a pod as another', FRIEND, pod, pod, 'tunnel-source'],
        ['a pod as a node with something new', 3999, nobody, pod, 'tunnel-source'],
        ['a pod that forwards', 0, friend[family], pod, 'tunnel-source'],
      ];
      for (const [what, vni, source, outer, expected] of cases)
        assert.equal(await fate(vni, source, to, outer), expected, what);
    });
  }
});

/** One address of each family on the nodes' network. */
function addresses(last: number) {
  const text = last.toString(16);
  return {
    ipv4: Address.parse(`192.0.2.${last}`),
    ipv6: Address.parse(`2001:db8::${text}`),
  } as const;
}
