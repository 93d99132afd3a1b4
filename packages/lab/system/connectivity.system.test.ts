import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import type { TrafficResult } from '../index.ts';
import { type Expectation, expectNow, expectSoon, families, sh, useLab } from './support.ts';

const CLUSTERS = ['tunnel', 'tunnel6', 'native'] as const;

/** The same three pods on two nodes in each way of routing, and a machine behind a router and a narrow link. */
const cluster = (name: string, id: number, routing: string) => `
  - name: ${name}
    id: ${id}
    routing: ${routing}
    podCIDRs: {ipv4: 10.${80 + id}.0.0/16, ipv6: "fd8${id}:1::/48"}
    serviceCIDRs: [10.${90 + id}.0.0/16, "fd9${id}:1::/112"]
    masquerade: {exceptions: [172.29.0.20/32, "fd29::20/128"]}
    nodes:
      - {name: ${name}-a, rack: rack}
      - {name: ${name}-b, rack: rack}
    pods:
      - {name: client, node: ${name}-a}
      - {name: near, node: ${name}-a, serve: [{port: 80, type: http}, {port: 7, type: udp}, {port: 7000, type: tcp}]}
      - {name: far, node: ${name}-b, serve: [{port: 80, type: http}, {port: 7, type: udp}, {port: 7000, type: tcp}]}`;

const lab = useLab(
  'conn',
  `racks:
  - {name: rack, ipv4: 192.168.29.0/24, ipv6: "fd28::/64"}
  - {name: street, ipv4: 172.29.0.0/24, ipv6: "fd29::/64"}
routers:
  - {name: gateway, racks: [rack]}
  - {name: edge, racks: [street]}
links:
  - {between: [gateway, edge], ipv4: 172.28.0.0/30, ipv6: "fd27::/126", mtu: 1400}
hosts:
  - {name: outside, rack: street, addresses: {ipv4: 172.29.0.10, ipv6: "fd29::10"}, serve: [{port: 7000, type: tcp}, {port: 7, type: udp}, {port: 80, type: http}]}
  - {name: known, rack: street, addresses: {ipv4: 172.29.0.20, ipv6: "fd29::20"}, serve: [{port: 7000, type: tcp}, {port: 7, type: udp}]}
clusters:${cluster('tunnel', 1, '{mode: tunnel}')}${cluster('tunnel6', 2, '{mode: tunnel, underlayFamily: ipv6}')}${cluster('native', 3, '{mode: native}')}
`,
);

type Try = (from: string, address: string) => Promise<TrafficResult>;
const ways: Readonly<Record<string, Try>> = {
  ping: (from, address) => lab().traffic.ping(from, address),
  'fragmented ping': (from, address) => lab().traffic.ping(from, address, { size: 4000 }),
  tcp: (from, address) => lab().traffic.tcp(from, address, 7000),
  http: (from, address) => lab().traffic.http(from, address, 80),
  'connected udp': (from, address) => lab().traffic.udp(from, address, 7),
  'unconnected udp': (from, address) => lab().traffic.udp(from, address, 7, { connected: false }),
};

async function all(
  from: string,
  to: string,
  names: readonly string[] = Object.keys(ways),
): Promise<Expectation[]> {
  return (await families(lab(), to)).flatMap(({ address }) =>
    names.map((name) => ({
      what: `${name} from ${from} to ${to} (${address})`,
      wanted: 'answered' as const,
      attempt: () => ways[name]!(from, address),
    })),
  );
}

for (const name of CLUSTERS) {
  const place = (pod: string) => `${name}/default/${pod}`;

  test(`${name}: pods reach pods on their node and on another, by every protocol`, async () => {
    await expectNow([
      ...(await all(place('client'), place('near'))),
      ...(await all(place('client'), place('far'))),
      ...(await all(place('far'), place('near'))),
    ]);
  });

  test(`${name}: nodes reach pods of their own and of other nodes, and pods reach nodes`, async () => {
    await expectNow([
      ...(await all(`${name}-a`, place('near'))),
      ...(await all(`${name}-a`, place('far'))),
      ...(await all(place('client'), `${name}-a`, ['ping', 'fragmented ping'])),
      ...(await all(place('client'), `${name}-b`, ['ping', 'fragmented ping'])),
    ]);
  });

  test(`${name}: a pod's gateway answers its ping`, async () => {
    const { gateways } = (
      (await lab().agent(`${name}-a`).get('/v1/endpoints')) as {
        gateways: { ipv4: string; ipv6: string };
      }[]
    )[0]!;
    await expectNow(
      [gateways.ipv4, gateways.ipv6].map((gateway) => ({
        what: `gateway ${gateway}`,
        wanted: 'answered',
        attempt: () => lab().traffic.ping(place('client'), gateway),
      })),
    );
  });

  test(`${name}: the world sees the node of a pod and answers it`, async () => {
    const node = await lab().addresses(`${name}-a`);
    // IPv6 fragments meet the narrow link first: the sender is told, and the next ones fit.
    await expectSoon(await all(place('client'), 'outside'));
    for (const { family, address } of await families(lab(), 'outside')) {
      const { answer } = await lab().traffic.tcp(place('client'), address, 7000);
      assert.equal(
        peerOf(answer),
        node.find((each) => each.includes(':') === (family === 'ipv6')),
      );
    }
  });

  test(`${name}: where masquerade is excepted the world sees the pod itself`, async () => {
    const pod = await lab().addresses(place('client'));
    const node = await lab().addresses(`${name}-a`);
    for (const [i, address] of pod.entries()) {
      const length = address.includes(':') ? 128 : 32;
      const via = node.find((each) => each.includes(':') === address.includes(':'));
      const gateway = address.includes(':') ? 'fd27::1' : '172.28.0.1';
      await sh(lab(), 'gateway', `ip route replace ${address}/${length} via ${via}`);
      await sh(lab(), 'edge', `ip route replace ${address}/${length} via ${gateway}`);
      const known = (await lab().addresses('known'))[i]!;
      const { answer, detail } = await lab().traffic.tcp(place('client'), known, 7000);
      assert.equal(peerOf(answer), address, detail);
    }
    await expectNow(await all(place('client'), 'known', ['ping', 'connected udp']));
  });

  test(`${name}: an error about the size of a packet finds its pod behind the masquerade`, async () => {
    for (const { address } of await families(lab(), 'outside')) {
      const text = 'x'.repeat(60_000);
      const { answer } = await lab().traffic.tcp(place('client'), address, 7000, { say: text });
      assert.equal(answer.length > text.length, true, 'a bulk of data comes back whole');
      const route = await sh(lab(), place('client'), `ip route get ${address}`);
      assert.match(route, /mtu 1400/, 'the pod knows the narrow link on the way');
    }
  });
}

test('the tunnel device stays the same device while nothing changes', async () => {
  const index = () => sh(lab(), 'tunnel-a', 'cat /sys/class/net/cw_vxlan/ifindex');
  const before = await index();
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.equal(await index(), before);
});

/** `tcp` servers say their name and the client's address, IPv4 as mapped into IPv6. */
function peerOf(answer: string): string | undefined {
  const text = /\[([0-9a-f:.]+)\]/.exec(answer)?.[1];
  return text === undefined ? undefined : Address.parse(text);
}
