import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { addClient, type OutsideClient } from './testing/outside.ts';
import { putService } from './testing/services.ts';
import { echoServers, inNamespace, ping, tcpEcho, udpEchoes } from './testing/traffic.ts';

const PORT = 7777;
const FAMILIES = ['ipv4', 'ipv6'] as const;
const vip = { ipv4: Address.parse('198.18.0.10'), ipv6: Address.parse('fd00:18::10') };

describe('services from outside, in XDP', () => {
  const undo = new DisposableStack();
  let a: NodeSite;
  let b: NodeSite;
  let near: TestPod;
  let far: TestPod;
  let client: OutsideClient;
  let servers: ReturnType<typeof echoServers>;

  before(async () => {
    a = undo.use(new NodeSite({ name: 'xa', number: 1 }));
    b = undo.use(new NodeSite({ name: 'xb', number: 2 }));
    near = a.addPod(2);
    far = b.addPod(2, 2002);
    connect(a, b);
    client = undo.use(addClient(a, 1, [b]));
    servers = undo.use(echoServers(far.ns, PORT));
    undo.use(echoServers(near.ns, PORT));
    // A checksum that is still to be filled in never comes over a wire, and XDP could not tell it.
    const off = await inNamespace(client.nsName, ['ethtool', '-K', 'eth0', 'tx', 'off']);
    assert.equal(off.code, 0, off.stderr);
    for (const [index, family] of FAMILIES.entries()) {
      for (const [offset, protocol] of (['TCP', 'UDP'] as const).entries()) {
        for (const [port, pod] of [
          [80, far],
          [81, near],
        ] as const) {
          const id = index * 100 + offset * 10 + port;
          for (const { datapath } of [a, b]) {
            putService(datapath, {
              id,
              address: vip[family],
              port,
              protocol,
              algorithm: 'maglev',
              backends: [{ id: 1000 + id, address: pod[family], port: PORT }],
              external: { forwarding: 'dsr' },
            });
          }
        }
      }
    }
  });
  after(() => undo.dispose());

  const counted = (reason: string) =>
    a.datapath
      .counters()
      .filter((row) => row.reason === reason)
      .reduce((sum, row) => sum + row.packets, 0n);
  const attach = () =>
    a.ns.run(() => a.datapath.attachEdge({ ifname: client.ifname, ifindex: client.ifindex }));

  test('a veth gets the generic form, once, and says so', () => {
    assert.deepEqual(attach(), { ifname: client.ifname, ifindex: client.ifindex, mode: 'generic' });
    attach();
    assert.deepEqual(a.datapath.edgeDevices(), [
      { ifname: client.ifname, ifindex: client.ifindex, mode: 'generic' },
    ]);
  });

  test('the kernel’s driver form can be asked for', () => {
    const { ifname, ifindex } = client;
    const native = a.ns.run(() => a.datapath.attachEdge({ ifname, ifindex, mode: 'native' }));
    assert.equal(native.mode, 'native');
    a.datapath.detachEdge(ifname);
    assert.deepEqual(a.datapath.edgeDevices(), []);
    attach();
  });

  for (const family of FAMILIES) {
    test(`to a backend elsewhere, which answers the client, ${family}`, async () => {
      // The way is known once its neighbour is; until then the programs behind do the work.
      assert.ok(await ping(a.nsName, b[family]));
      servers.peers.clear();
      const before = counted('edge-xdp');
      const data = Buffer.alloc(100_000, 'x');
      const echoed = await tcpEcho(client.nsName, vip[family], 80, data);
      assert.ok(echoed !== undefined && data.equals(echoed));
      const datagram = await udpEchoes(client.nsName, vip[family], 80, Buffer.from('hello'));
      assert.equal(String(datagram), 'hello');
      assert.ok(counted('edge-xdp') > before + 10n, 'most of it in XDP');
      assert.deepEqual([...servers.peers], [client[family]]);
    });

    test(`what XDP leaves alone goes its way behind it, ${family}`, async () => {
      const before = counted('edge-xdp');
      const data = Buffer.from('hello');
      assert.equal(String(await tcpEcho(client.nsName, vip[family], 81, data)), 'hello');
      assert.ok(await ping(client.nsName, vip[family]));
      assert.equal(await tcpEcho(client.nsName, vip[family], 99, data), undefined);
      assert.equal(counted('edge-xdp'), before);
      assert.ok(counted('no-such-port') > 0n);
    });
  }

  test('without XDP the programs behind do all of it, in the same table of connections', async () => {
    a.datapath.detachEdge(client.ifname);
    const { datapath } = a;
    const before = counted('edge-xdp');
    assert.equal(String(await tcpEcho(client.nsName, vip.ipv4, 80, Buffer.from('hello'))), 'hello');
    assert.equal(counted('edge-xdp'), before);
    const flows = () => [...datapath.map('conntrack').entries()].length;
    const known = flows();
    attach();
    assert.equal(String(await tcpEcho(client.nsName, vip.ipv4, 80, Buffer.from('again'))), 'again');
    assert.ok(counted('edge-xdp') > before);
    assert.ok(flows() > known, 'one table for both');
  });
});
