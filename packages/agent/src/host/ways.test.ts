import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import type { RoutingMode } from '@causeway/mesh';
import { ROUTING_ZONE } from '@causeway/resources';
import { Database } from '@causeway/tables';
import { clusterTables, type NodeRow } from '../cluster/tables.ts';
import type { DeviceView } from './devices.ts';
import { NodeWays } from './node-ways.ts';
import { wayTo } from './ways.ts';

const eth0: DeviceView = {
  name: 'eth0',
  index: 2,
  mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
  mtu: 1500,
  up: true,
  loopback: false,
  hasDefaultRoute: true,
  addresses: [
    { address: Address.parse('192.0.2.1'), prefixLength: 24 },
    { address: Address.parse('2001:db8::1'), prefixLength: 64 },
  ],
};

const zone = (name: string | undefined): Record<string, string> =>
  name === undefined ? {} : { [ROUTING_ZONE]: name };

const way = (
  mode: RoutingMode,
  own: string | undefined,
  other: string | undefined,
  addresses: readonly string[] = ['192.0.2.2', '2001:db8::2'],
  families: readonly ('ipv4' | 'ipv6')[] = ['ipv4', 'ipv6'],
  routingMode?: RoutingMode,
) =>
  wayTo(
    { mode, families, labels: zone(own), devices: [eth0] },
    { labels: zone(other), addresses: addresses.map(Address.parse), podCIDRs: [], routingMode },
  );

test('a pair of nodes: by zone where one is named, by layer 2 where none is', () => {
  assert.equal(way('tunnel', 'x', 'x').type, 'tunnel');
  assert.equal(way('native', 'x', 'y').type, 'direct');
  assert.deepEqual(way('hybrid', 'x', 'x', ['198.51.100.1']), {
    type: 'direct',
    because: 'both are in routing zone x',
  });
  assert.deepEqual(way('hybrid', 'x', 'y'), {
    type: 'tunnel',
    because: 'other routing zones: x here, y there',
  });
  assert.equal(way('hybrid', 'x', undefined).type, 'tunnel');
  assert.equal(way('hybrid', undefined, 'x').type, 'tunnel');
  assert.equal(way('hybrid', undefined, undefined).type, 'direct');
  assert.match(way('hybrid', undefined, undefined, ['192.0.2.2']).because, /layer 2 in ipv6/);
  assert.equal(way('hybrid', undefined, undefined, ['192.0.2.2'], ['ipv4']).type, 'direct');
  assert.equal(way('hybrid', undefined, undefined, ['198.51.100.1', '2001:db8::2']).type, 'tunnel');
});

test('both ends of a pair choose alike, whatever modes and zones they have', () => {
  const modes = ['tunnel', 'native', 'hybrid'] as const;
  const zones = [undefined, 'x', 'y'];
  const seen = (own: RoutingMode, ownZone: string | undefined, other: RoutingMode, zone?: string) =>
    way(own, ownZone, zone, undefined, undefined, other).type;
  for (const [a, b] of modes.flatMap((one) => modes.map((two) => [one, two] as const))) {
    // Two that know one way each, and not the same, do not come together: joining refuses it.
    if (a !== b && a !== 'hybrid' && b !== 'hybrid') continue;
    for (const [x, y] of zones.flatMap((one) => zones.map((two) => [one, two] as const)))
      assert.equal(seen(a, x, b, y), seen(b, y, a, x), `${a} ${x} and ${b} ${y}`);
  }
  const far = ['198.51.100.1', '2001:db8:9::1'];
  const native = way('hybrid', undefined, undefined, far, undefined, 'native');
  assert.deepEqual(native, { type: 'direct', because: 'routingMode native there' });
  assert.equal(way('hybrid', 'x', 'x', undefined, undefined, 'tunnel').type, 'tunnel');
});

test('a way changes without a moment that has none: what leads there first', async () => {
  const database = new Database({ freeze: true });
  const trusted = { settled: true, whenSettled: (work: () => void) => work() } as never;
  const { nodes } = clusterTables(database, trusted, new AbortController().signal);
  const node = (labels: Record<string, string>): NodeRow => ({
    cluster: 'west',
    name: 'b',
    addresses: [{ type: 'InternalIP', address: Address.parse('198.51.100.2') }],
    podCIDRs: [Prefix.parse('10.1.2.0/24')],
    labels,
  });
  const row = () => nodes.first('address', Address.parse('198.51.100.2'))!;
  let labels = zone('one');
  const steps: string[] = [];
  using ways = new NodeWays({
    own: { cluster: 'east', name: 'a' },
    nodes,
    inputs: () => ({ mode: 'hybrid', families: ['ipv4'], labels, devices: [eth0] }),
    log: { info() {}, error: assert.fail } as never,
  });
  nodes.put(node(zone('two')));
  const state = () => `${ways.routed(row())}/${ways.tunnels(row()) ? 'tunnel' : 'direct'}`;
  assert.equal(state(), 'tunnel/tunnel');
  let failures = 0;
  let seen = () => {};
  ways.start({
    async settleRoutes() {
      steps.push(`routes ${ways.routed(row())}`);
    },
    async rewriteNodes(changed) {
      if (changed.length === 0) return;
      steps.push(`ipcache ${ways.tunnels(row()) ? 'tunnel' : 'direct'}`);
      seen();
    },
  });
  const until = async (count: number) => {
    while (steps.length < count) {
      await new Promise<void>((resolve) => {
        seen = resolve;
        setImmediate(resolve);
      });
      assert.ok(failures++ < 1000);
    }
    return steps.splice(0);
  };
  nodes.put(node(zone('one')));
  assert.deepEqual(await until(2), ['routes direct', 'ipcache direct']);
  assert.equal(state(), 'direct/direct');
  labels = zone('three');
  ways.follow();
  assert.deepEqual(await until(2), ['ipcache tunnel', 'routes tunnel']);
  assert.equal(state(), 'tunnel/tunnel');
});
