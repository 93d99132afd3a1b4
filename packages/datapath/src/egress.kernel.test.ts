import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { addClient, type OutsideClient } from './testing/outside.ts';
import { echoServers, ping, tcpEcho, udpEchoes } from './testing/traffic.ts';

const PORT = 7777;
const BULK = randomBytes(300_000);
const FAMILIES = ['ipv4', 'ipv6'] as const;
const egress = { ipv4: Address.parse('198.18.5.1'), ipv6: Address.parse('fd00:18:5::1') };
const world = { ipv4: Prefix.parse('203.0.113.0/24'), ipv6: Prefix.parse('2001:db8:c1::/48') };

/** Node a is the gateway of pods on both nodes; the world is behind it. */
for (const tunnel of [false, true]) {
  describe(`egress gateway, ${tunnel ? 'tunnel' : 'native routing'}`, () => {
    const undo = new DisposableStack();
    let a: NodeSite;
    let b: NodeSite;
    let near: TestPod;
    let far: TestPod;
    let outside: OutsideClient;
    let servers: ReturnType<typeof echoServers>;

    before(() => {
      const letter = tunnel ? 'gt' : 'gn';
      const options = { tunnel, egressTunnel: true };
      a = undo.use(new NodeSite({ name: `${letter}a`, number: 1, ...options }));
      b = undo.use(new NodeSite({ name: `${letter}b`, number: 2, ...options }));
      near = a.addPod(2);
      far = b.addPod(2, 2002);
      connect(a, b);
      outside = undo.use(addClient(a, 1, [b]));
      servers = undo.use(echoServers(outside.ns, PORT));
      for (const family of FAMILIES) a.datapath.putNodeAddress(egress[family]);
    });
    after(() => undo.dispose());

    const counted = (site: NodeSite, reason: string) =>
      site.datapath
        .counters()
        .filter((row) => row.reason === reason)
        .reduce((sum, row) => sum + row.packets, 0n);
    const routes = (gateway: { readonly ipv4: Address } | undefined, excluded = false) => {
      for (const site of [a, b]) {
        site.datapath.egress.replace(
          [near, far].flatMap((pod) =>
            FAMILIES.flatMap((family) => [
              {
                source: pod[family],
                destination: world[family],
                gateway: gateway?.ipv4,
                egressAddress: gateway && egress[family],
              },
              ...(excluded
                ? [
                    {
                      source: pod[family],
                      destination: Prefix.host(outside[family]),
                      gateway: undefined,
                      egressAddress: undefined,
                      excluded: true,
                    },
                  ]
                : []),
            ]),
          ),
        );
      }
    };

    test('pods reach the world with the egress address, from either node', async () => {
      routes(a);
      for (const pod of [far, near]) {
        servers.peers.clear();
        for (const family of FAMILIES) {
          const echoed = await tcpEcho(pod.nsName, outside[family], PORT, BULK);
          assert.ok(echoed !== undefined && BULK.equals(echoed), `TCP ${outside[family]}`);
          const datagram = await udpEchoes(pod.nsName, outside[family], PORT, Buffer.from('hello'));
          assert.equal(String(datagram), 'hello');
          assert.ok(await ping(pod.nsName, outside[family]), `ping ${outside[family]}`);
        }
        assert.deepEqual([...servers.peers].sort(), [egress.ipv4, egress.ipv6].sort());
      }
      assert.ok(counted(b, 'egress-gateway') > 10n);
    });

    test('routes read back as they were written', () => {
      const rows = [...b.datapath.egress.routes()];
      assert.equal(rows.length, 4);
      assert.deepEqual(
        rows.find(({ source }) => source === far.ipv6),
        {
          source: far.ipv6,
          destination: world.ipv6,
          gateway: a.ipv4,
          egressAddress: egress.ipv6,
          excluded: false,
        },
      );
    });

    test('without a gateway that lives nothing leaves, and the reason is told', async () => {
      routes(undefined);
      assert.equal(await tcpEcho(far.nsName, outside.ipv4, PORT, Buffer.from('x')), undefined);
      assert.ok(counted(b, 'no-egress-gateway') > 0n);
    });

    test('what is excluded leaves as if there were no policy', async () => {
      routes(a, true);
      servers.peers.clear();
      for (const family of FAMILIES) {
        const echoed = await tcpEcho(near.nsName, outside[family], PORT, Buffer.from('x'));
        assert.equal(String(echoed), 'x');
      }
      assert.ok(!servers.peers.has(egress.ipv4) && !servers.peers.has(egress.ipv6));
    });
  });
}
