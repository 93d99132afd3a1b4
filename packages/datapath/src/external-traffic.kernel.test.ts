import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { addClient, type OutsideClient } from './testing/outside.ts';
import { putService } from './testing/services.ts';
import { echoServers, ping, tcpEcho, udpEchoes } from './testing/traffic.ts';

const PORT = 7777;
const BULK = randomBytes(300_000);
const FAMILIES = ['ipv4', 'ipv6'] as const;
const vip = { ipv4: Address.parse('198.18.0.10'), ipv6: Address.parse('fd00:18::10') };
const unspecified = { ipv4: Address.parse('0.0.0.0'), ipv6: Address.parse('::') };

/** A client behind node a; a backend on node b. All frontends twice: by SNAT and by DSR. */
for (const tunnel of [false, true]) {
  describe(`services from outside, ${tunnel ? 'tunnel' : 'native routing'}`, () => {
    const undo = new DisposableStack();
    let a: NodeSite;
    let b: NodeSite;
    let near: TestPod;
    let far: TestPod;
    let client: OutsideClient;
    let farServers: ReturnType<typeof echoServers>;
    let nearServers: ReturnType<typeof echoServers>;
    let id = 1;

    before(() => {
      const letter = tunnel ? 'et' : 'en';
      a = undo.use(new NodeSite({ name: `${letter}a`, number: 1, tunnel }));
      b = undo.use(new NodeSite({ name: `${letter}b`, number: 2, tunnel }));
      near = a.addPod(2);
      far = b.addPod(2, 2002);
      connect(a, b);
      // Nodes that are endpoints themselves are nodes no less.
      for (const [here, there] of [
        [a, b],
        [b, a],
      ] as const)
        for (const family of FAMILIES)
          here.datapath.ipcache.put(Prefix.host(there[family]), {
            identity: 4001,
            tunnelEndpoint: undefined,
            noMasquerade: true,
            isProtected: false,
            isNode: true,
          });
      client = undo.use(addClient(a, 1, [b]));
      nearServers = undo.use(echoServers(near.ns, PORT));
      farServers = undo.use(echoServers(far.ns, PORT));
      undo.use(echoServers(b.ns, PORT));
      undo.use(echoServers(a.ns, PORT));
    });
    after(() => undo.dispose());

    const both = (put: (site: NodeSite) => void) => [a, b].forEach(put);
    const counted = (site: NodeSite, reason: string) =>
      site.datapath
        .counters()
        .filter((row) => row.reason === reason)
        .reduce((sum, row) => sum + row.packets, 0n);
    const serve = (
      port: number,
      backend: { readonly ipv4: Address; readonly ipv6: Address },
      external: NonNullable<Parameters<typeof putService>[1]['external']>,
    ) => {
      for (const family of FAMILIES) {
        for (const protocol of ['TCP', 'UDP'] as const) {
          const service = id++;
          both(({ datapath }) =>
            putService(datapath, {
              id: service,
              address: external.nodePort ? unspecified[family] : vip[family],
              port,
              protocol,
              algorithm: 'maglev',
              backends: [{ id: 1000 + service, address: backend[family], port: PORT }],
              external,
            }),
          );
        }
      }
    };
    const reaches = async (address: Address, port: number) => {
      const echoed = await tcpEcho(client.nsName, address, port, BULK);
      assert.ok(echoed !== undefined && BULK.equals(echoed), `TCP ${address} ${port}`);
      const small = await udpEchoes(client.nsName, address, port, Buffer.from('hello'));
      assert.equal(String(small), 'hello', `UDP ${address} ${port}`);
    };
    /** Fragments; too large for the tunnel, of which the client hears at its first try. */
    const reachesInParts = async (address: Address, port: number) => {
      const data = randomBytes(4000);
      const echoed = await udpEchoes(client.nsName, address, port, data);
      assert.ok(echoed !== undefined && data.equals(echoed), `fragmented UDP ${address} ${port}`);
    };

    for (const forwarding of ['snat', 'dsr'] as const) {
      for (const nodePort of [false, true]) {
        const port = (nodePort ? 30_080 : 80) + (forwarding === 'dsr' ? 1 : 0);
        const name = `${nodePort ? 'NodePort' : 'virtual address'}, ${forwarding}`;
        test(`${name}: to a backend elsewhere, and back`, async () => {
          // An answer in the name of node a's own address could not come by node a, the client's router.
          const [entry, pod, servers] =
            nodePort && forwarding === 'dsr' ? [b, near, nearServers] : [a, far, farServers];
          serve(port, pod, { forwarding, nodePort });
          servers.peers.clear();
          const before = counted(entry, `forward-${forwarding}`);
          for (const family of FAMILIES) {
            const address = nodePort ? entry[family] : vip[family];
            await reaches(address, port);
            if (!nodePort) await reachesInParts(address, port);
          }
          assert.ok(counted(entry, `forward-${forwarding}`) > before);
          const own = tunnel ? [a.gateway4, a.gateway6] : [a.ipv4, a.ipv6];
          const seen = forwarding === 'dsr' ? [client.ipv4, client.ipv6] : own;
          assert.deepEqual([...servers.peers].sort(), seen.sort());
        });
      }
    }

    test('a backend of this node sees the client itself', async () => {
      serve(90, near, { forwarding: 'snat' });
      serve(30_090, near, { forwarding: 'snat', nodePort: true });
      nearServers.peers.clear();
      for (const address of [vip.ipv4, vip.ipv6]) await reaches(address, 90);
      for (const address of [client.router4, a.ipv6]) await reaches(address, 30_090);
      assert.deepEqual([...nearServers.peers].sort(), [client.ipv4, client.ipv6].sort());
    });

    for (const forwarding of ['snat', 'dsr'] as const) {
      test(`backends that are sockets of nodes, ${forwarding}`, async () => {
        const port = forwarding === 'dsr' ? 92 : 91;
        for (const [offset, site] of [
          [0, a],
          [10, b],
        ] as const) {
          serve(port + offset, site, { forwarding });
          for (const address of [vip.ipv4, vip.ipv6]) {
            const echoed = await tcpEcho(client.nsName, address, port + offset, BULK);
            assert.ok(echoed !== undefined && BULK.equals(echoed), `${site.nsName} ${address}`);
          }
        }
      });
    }

    test('a virtual address answers ping', async () => {
      for (const address of [vip.ipv4, vip.ipv6]) {
        assert.ok(await ping(client.nsName, address), address);
      }
    });

    test('nothing was dropped', () => {
      for (const site of [a, b]) {
        const dropped = site.datapath
          .counters()
          .filter(
            (row) =>
              row.kind === 'drop' && !/quiet|link-local|too-big|fragment-unknown/.test(row.reason),
          );
        assert.deepEqual(dropped, []);
      }
    });
  });
}
