import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Address } from '@causeway/ip';
import { ROUTING_ZONE } from '@causeway/resources';
import { isolated } from './testing/isolated.ts';
import { type NodeName, nodeObject, TwoNodes, until } from './testing/two-nodes.ts';

const NUMBERS: Record<NodeName, number> = { a: 1, b: 2, c: 3 };
const NAMES: readonly NodeName[] = ['a', 'b', 'c'];
const FAMILIES = ['ipv4', 'ipv6'] as const;

/** Nothing is said of native ranges: what must not be masqueraded the agents know by themselves. */
const hybrid = { routingMode: 'hybrid', nativeRoutingCIDRs: [] };

/** A socket of both families says IPv4 as ::ffff:a.b.c.d. */
const unmapped = (address: Address): string => Address.fromBytes(Address.toBytes16(address));

isolated(import.meta.filename, () => {
  let nodes: TwoNodes;
  const pods: Record<string, { addresses: Record<string, string> }> = {};
  const zones: Partial<Record<NodeName, string>> = {};

  const node = (name: NodeName): unknown =>
    nodeObject(
      name,
      NUMBERS[name],
      zones[name] === undefined ? {} : { [ROUTING_ZONE]: zones[name] },
      name === 'c' ? ['198.51.100.3', '2001:db8:1::3'] : undefined,
    );
  const label = async (changed: Partial<Record<NodeName, string>>) => {
    Object.assign(zones, changed);
    await nodes.store.apply((Object.keys(changed) as NodeName[]).map(node));
  };
  const ways = async (from: NodeName): Promise<string> => {
    const rows: { name: string; way?: { type: string; changing: boolean } }[] = (
      await nodes.ask(from, 'GET', '/v1/nodes')
    ).body;
    return rows
      .filter(({ way }) => way !== undefined)
      .map(({ name, way }) => `${name} ${way!.type}${way!.changing ? ' soon' : ''}`)
      .sort()
      .join(', ');
  };
  const settled = (expected: Record<NodeName, string>) =>
    until(`the ways are ${JSON.stringify(expected)}`, async () => {
      for (const name of NAMES) if ((await ways(name)) !== expected[name]) return false;
      return true;
    });
  const counted = async (on: NodeName, reason: string): Promise<number> => {
    const rows: { reason: string; packets: string }[] = (
      await nodes.ask(on, 'GET', '/v1/metrics/datapath')
    ).body;
    return rows
      .filter((row) => row.reason === reason)
      .reduce((sum, { packets }) => sum + Number(packets), 0);
  };

  before(async () => {
    nodes = new TwoNodes({ behindRouter: true });
    await nodes.startEtcd();
    await nodes.store.apply([
      ...NAMES.map(node),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    ]);
    await Promise.all(NAMES.map((name) => nodes.startAgent(name, hybrid)));
    await Promise.all(NAMES.map((name) => nodes.ready(name)));
    for (const name of NAMES)
      pods[name] = await nodes.addPod(name, `pod-${name}`, { app: `pod-${name}` });
  });
  after(() => nodes[Symbol.asyncDispose]());

  test('without zones: direct on the same layer 2, by tunnel behind a router; pods, nodes, both families', async () => {
    await settled({
      a: 'b direct, c tunnel',
      b: 'a direct, c tunnel',
      c: 'a tunnel, b tunnel',
    });
    for (const from of NAMES) {
      for (const to of NAMES) {
        for (const family of FAMILIES) {
          const address = pods[to]!.addresses[family]!;
          await until(`${from} to ${to} ${family}`, () => nodes.ping(`pod-${from}`, address));
          assert.ok(nodes.ping(from, address), `node ${from} to pod of ${to} ${family}`);
        }
      }
      assert.ok(nodes.ping(`pod-${from}`, '192.0.2.2'), `pod of ${from} to a node`);
      assert.ok(nodes.ping(`pod-${from}`, '198.51.100.3'), `pod of ${from} to the far node`);
    }
    const before = [await counted('a', 'native'), await counted('a', 'tunnel')];
    assert.ok(nodes.ping('pod-a', pods.b!.addresses.ipv4!));
    assert.ok(nodes.ping('pod-a', pods.c!.addresses.ipv4!));
    const after = [await counted('a', 'native'), await counted('a', 'tunnel')];
    assert.ok(after[0]! > before[0]!, 'one of them went as it is');
    assert.ok(after[1]! > before[1]!, 'the other in the tunnel');
  });

  test('identities hold on either way, sources are the pods, and large segments fit', async () => {
    const heard = `${nodes.directory}/heard`;
    for (const name of NAMES) {
      nodes.serve(
        `pod-${name}`,
        `sh -c "socat TCP6-LISTEN:7000,fork,reuseaddr SYSTEM:'echo \\$SOCAT_PEERADDR; head -c 2000000 /dev/zero' 2>>${heard}"`,
      );
    }
    const take = (from: string, to: string) => {
      const target = to.includes(':') ? `[${to}]` : to;
      const text = nodes.run(
        from,
        `sh -c "socat -u -T 5 TCP:${target}:7000,connect-timeout=2 - | tee /dev/stderr 2>/dev/null | wc -c"`,
      );
      const peer = nodes.run(
        from,
        `sh -c "socat -u -T 5 TCP:${target}:7000,connect-timeout=2 - | head -1"`,
      );
      return { bytes: Number(text), peer: peer?.trim() ?? '' };
    };
    for (const to of ['b', 'c']) {
      for (const family of FAMILIES) {
        const address = pods[to]!.addresses[family]!;
        await until(`${to} serves ${family}`, () => take('pod-a', address).bytes > 2_000_000);
        const { peer } = take('pod-a', address);
        const [seen] = [peer.replaceAll(/[[\]]/g, '')].map(Address.parse);
        assert.equal(unmapped(seen!), pods.a!.addresses[family], `${to} ${family}`);
      }
    }
    await nodes.store.apply([
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'only-a', namespace: 'shop' },
        spec: {
          podSelector: {},
          policyTypes: ['Ingress'],
          ingress: [{ from: [{ podSelector: { matchLabels: { app: 'pod-a' } } }] }],
        },
      },
    ]);
    for (const [from, to] of [
      ['b', 'c'],
      ['c', 'b'],
    ] as const)
      await until(`${from} is kept from ${to}`, () =>
        FAMILIES.every((family) => !nodes.ping(`pod-${from}`, pods[to]!.addresses[family]!)),
      );
    for (const to of ['b', 'c'])
      for (const family of FAMILIES)
        assert.ok(nodes.ping('pod-a', pods[to]!.addresses[family]!), `a to ${to} ${family}`);
    await nodes.store.delete('NetworkPolicy', { namespace: 'shop', name: 'only-a' });
    await until('it is open again', () => nodes.ping('pod-b', pods.c!.addresses.ipv4!));
  });

  test('zones change under traffic, three of them at last, and no packet is lost', async () => {
    const enough = new AbortController();
    const pings = [
      ['pod-a', pods.b!.addresses.ipv4!],
      ['pod-a', pods.b!.addresses.ipv6!],
      ['a', pods.b!.addresses.ipv4!],
      ['a', pods.b!.addresses.ipv6!],
      ['pod-b', pods.c!.addresses.ipv4!],
    ].map(([from, to]) => nodes.background(from!, `ping -i 0.02 -q -W 5 ${to}`, enough.signal));
    await label({ a: 'x', b: 'y', c: 'z' });
    await settled({ a: 'b tunnel, c tunnel', b: 'a tunnel, c tunnel', c: 'a tunnel, b tunnel' });
    for (const from of NAMES)
      for (const to of NAMES)
        for (const family of FAMILIES)
          assert.ok(nodes.ping(`pod-${from}`, pods[to]!.addresses[family]!), `${from} ${to}`);
    for (let turn = 0; turn < 4; turn++) {
      await label({ b: 'x' });
      await settled({ a: 'b direct, c tunnel', b: 'a direct, c tunnel', c: 'a tunnel, b tunnel' });
      await label({ b: 'y' });
      await settled({ a: 'b tunnel, c tunnel', b: 'a tunnel, c tunnel', c: 'a tunnel, b tunnel' });
    }
    enough.abort();
    for (const output of await Promise.all(pings)) {
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
      // The last may be on its way when it ends.
      assert.ok(Number(sent) > 10 && Number(sent) - Number(received) <= 1, output);
    }
  });

  test('a node that speaks by tunnel alone is answered by it, also on the same layer 2', async () => {
    await label({ a: undefined, b: undefined, c: undefined } as never);
    await settled({ a: 'b direct, c tunnel', b: 'a direct, c tunnel', c: 'a tunnel, b tunnel' });
    await nodes.killAgent('b');
    await nodes.startAgent('b', { ...hybrid, routingMode: 'tunnel' });
    await nodes.ready('b');
    await settled({ a: 'b tunnel, c tunnel', b: 'a tunnel, c tunnel', c: 'a tunnel, b tunnel' });
    for (const family of FAMILIES) {
      assert.ok(nodes.ping('pod-a', pods.b!.addresses[family]!), `to it, ${family}`);
      assert.ok(nodes.ping('pod-b', pods.a!.addresses[family]!), `from it, ${family}`);
    }
  });
});
