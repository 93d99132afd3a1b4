import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import { causewayProtocol, RtSocket, request } from '@causeway/linux';
import { Database } from '@causeway/tables';
import { checkAgentConfig } from '../config/load.ts';
import type { ConfigInput } from '../config/schema.ts';
import { ownNodeTable } from '../node/own-node.ts';
import { realClock } from '../testing/fakes.ts';
import { isolated } from '../testing/isolated.ts';
import { HostNetwork } from './network.ts';
import type { RoutedNode } from './routes.ts';
import { kernelSysctls } from './sysctls.ts';

const bytes = (text: string) => Address.toBytes(Address.parse(text));

isolated(import.meta.filename, () => {
  let socket: RtSocket;
  let uplink = 0;

  before(() => {
    socket = RtSocket.open();
    socket.apply([
      request.setLink({ name: 'lo' }, { up: true }),
      request.createVeth({ name: 'up0', up: true, mtu: 1500, peer: { name: 'up1', up: true } }),
    ]);
    uplink = socket.link({ name: 'up0' })!.index;
    socket.apply([
      request.addAddress({ ifindex: uplink, address: bytes('192.0.2.1'), prefixLength: 24 }),
      request.addAddress({
        ifindex: uplink,
        address: bytes('2001:db8::1'),
        prefixLength: 64,
        noDad: true,
      }),
    ]);
  });
  after(() => socket.close());

  const neighbour: Omit<RoutedNode, 'way'> = {
    cluster: 'default',
    name: 'b',
    addresses: [Address.parse('192.0.2.2'), Address.parse('2001:db8::2')],
    podCIDRs: [Prefix.parse('10.1.2.0/24'), Prefix.parse('fd00:1:2::/64')],
  };
  const stranger: Omit<RoutedNode, 'way'> = {
    cluster: 'default',
    name: 'far',
    addresses: [Address.parse('198.51.100.9')],
    podCIDRs: [Prefix.parse('10.1.9.0/24')],
  };

  function network(
    mode: 'native' | 'tunnel',
    remote: readonly Omit<RoutedNode, 'way'>[],
    more: ConfigInput = {},
  ) {
    const database = new Database({ freeze: true });
    const ownNode = ownNodeTable(database);
    ownNode.put({
      name: 'a',
      addresses: [{ type: 'InternalIP', address: Address.parse('192.0.2.1') }],
      podCIDRs: [Prefix.parse('10.1.1.0/24'), Prefix.parse('fd00:1:1::/64')],
      pools: [],
      labels: {},
    });
    return new HostNetwork({
      config: checkAgentConfig({ routingMode: mode, node: { name: 'a' }, ...more }),
      database,
      ownNode,
      remoteNodes: () =>
        remote.map((node) => ({ ...node, way: mode === 'native' ? 'direct' : 'tunnel' })),
      announces: more.nativeRouting !== undefined,
      socket,
      clock: realClock,
      random: () => 0.5,
      log: silentLog,
    });
  }

  const routes = () =>
    new Map(
      socket.routes({ protocol: causewayProtocol }).map((route) => [
        `${Address.fromBytes(route.destination!)}/${route.prefixLength}`,
        {
          device:
            route.ifindex === uplink
              ? 'up0'
              : route.ifindex === socket.link({ name: 'cw_host' })?.index
                ? 'cw_host'
                : 'other',
          via: route.via && Address.fromBytes(route.via),
          mtu: route.mtu,
        },
      ]),
    );

  async function until(what: string, condition: () => boolean): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      if (condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail(`still not: ${what}`);
  }

  test('native mode routes to neighbours directly, heals what is taken away and leaves others alone', async () => {
    socket.apply([
      // Somebody else's route, and one of ours from an earlier life.
      request.addRoute({
        family: 4,
        destination: bytes('203.0.113.0'),
        prefixLength: 24,
        ifindex: uplink,
        protocol: 4,
        scope: 'link',
      }),
      request.addRoute({
        family: 4,
        destination: bytes('10.77.0.0'),
        prefixLength: 16,
        ifindex: uplink,
        scope: 'link',
      }),
    ]);
    await using host = network('native', [neighbour, stranger]);
    await until('four routes', () => routes().size === 5);
    assert.ok(routes().has('10.77.0.0/16'), 'nothing goes before the nodes are known');
    host.nodesKnown();
    await until('the old route is gone', () => routes().size === 4);
    assert.deepEqual(routes().get('10.1.2.0/24'), {
      device: 'up0',
      via: '192.0.2.2',
      mtu: undefined,
    });
    assert.deepEqual(routes().get('fd00:1:2::/64'), {
      device: 'up0',
      via: '2001:db8::2',
      mtu: undefined,
    });
    assert.equal(routes().get('10.1.1.0/24')?.device, 'cw_host');
    assert.match(host.plan.routeProblems[0]!.reason, /no ipv4 address of the node/);
    const gateways = socket.addresses({ ifindex: socket.link({ name: 'cw_host' })!.index });
    assert.deepEqual(gateways.map(({ address }) => Address.fromBytes(address)).sort(), [
      '10.1.1.1',
      'fd00:1:1::1',
    ]);
    assert.equal(kernelSysctls.read('net/ipv4/ip_forward').trim(), '1');
    assert.equal(kernelSysctls.read('net/ipv4/ip_local_reserved_ports').trim(), '49152-65535');

    socket.apply(
      request.deleteRoute({ family: 4, destination: bytes('10.1.2.0'), prefixLength: 24 }),
    );
    await until('the deleted route is back', () => routes().has('10.1.2.0/24'));
    // One of ours in other words: nobody reports it, only a comparison of all finds it.
    const altered = { family: 4 as const, destination: bytes('10.1.2.0'), prefixLength: 24 };
    for (const mtu of [1234, 1235]) {
      socket.apply(
        request.replaceRoute({ ...altered, ifindex: uplink, via: bytes('192.0.2.2'), mtu }),
      );
      assert.equal(routes().get('10.1.2.0/24')?.mtu, mtu);
      host.refresh();
      await until('the altered route is as it was', () => {
        const route = routes().get('10.1.2.0/24');
        return route !== undefined && route.mtu === undefined;
      });
      host.refresh();
    }
    socket.apply(request.deleteLink({ name: 'cw_host' }));
    await until('device, address and routes are back', () => {
      const link = socket.link({ name: 'cw_host' });
      return (
        link !== undefined &&
        socket.addresses({ ifindex: link.index }).length === 2 &&
        routes().size === 4
      );
    });
    assert.equal(socket.routes({ protocol: 4 }).length, 1, 'the stranger kept its route');
  });

  test('where the network routes pods the node has its own routes alone, and refuses what comes back', async () => {
    const crowd = Array.from({ length: 300 }, (_, i) => ({
      cluster: 'default',
      name: `n${i}`,
      addresses: [Address.parse(`192.0.2.${3 + (i % 200)}`)],
      podCIDRs: [Prefix.parse(`10.${2 + (i >> 8)}.${i & 255}.0/24`)],
    }));
    await using host = network('native', crowd, { nativeRouting: { mode: 'bgp' } });
    host.nodesKnown();
    host.setAttracted(['10.96.0.7/32', 'fd00:96::7/128'].map((text) => Prefix.parse(text)));
    const types = () =>
      socket
        .routes({ protocol: causewayProtocol })
        .map(({ type, destination }) => `${type} ${Address.fromBytes(destination!)}`)
        .sort();
    const expected =
      'unicast 10.1.1.0,unicast fd00:1:1::,unreachable 10.96.0.7,unreachable fd00:96::7';
    await until('own routes and announced addresses', () => types().join() === expected);
    host.refresh();
    host.setAttracted([Prefix.parse('fd00:96::7/128')]);
    await until('one is announced no more', () => routes().size === 3);
    assert.ok(types().includes('unreachable fd00:96::7'));
    host.setAttracted([]);
    await until('none', () => routes().size === 2);
  });

  test('tunnel mode makes the device, sends what is remote to cw_host and minds the MTU', async () => {
    await using host = network('tunnel', [neighbour, stranger]);
    host.nodesKnown();
    await until('five routes', () => routes().size === 5);
    assert.deepEqual(routes().get('10.1.9.0/24'), { device: 'cw_host', via: undefined, mtu: 1450 });
    assert.deepEqual(host.plan.mtu, { device: 1500, pod: 1450, tunnel: 1450 });
    const vxlan = socket.link({ name: 'cw_vxlan' });
    assert.equal(vxlan?.kind, 'vxlan');
    socket.apply(request.setLink({ name: 'up0' }, { mtu: 1400 }));
    await until('MTU follows the device', () => socket.link({ name: 'cw_vxlan' })?.mtu === 1350);
    await until('all is well', () => host.health().every((row) => row.healthy));
  });
});
