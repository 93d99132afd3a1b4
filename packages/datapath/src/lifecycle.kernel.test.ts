import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import { Netns, queryTcFilter, queryTcx, RtSocket, request, writeSysctl } from '@causeway/linux';
import { openDatapath } from './open.ts';
import { connect, NodeSite, type TestPod } from './testing/node-site.ts';
import { echoServers, inNamespace, ping, tcpEcho, udpEcho } from './testing/traffic.ts';

const PORT = 7779;
const hello = Buffer.from('hello');

describe('restart', () => {
  const undo = new DisposableStack();
  let site: NodeSite;
  let client: TestPod;
  let server: TestPod;

  before(() => {
    site = undo.use(new NodeSite({ name: 're', number: 1 }));
    client = site.addPod(2);
    server = site.addPod(3);
  });
  after(() => undo.dispose());

  test('three restarts of the datapath under traffic lose no packet and no connection', async () => {
    // Processes of their own: opening the datapath keeps this one busy.
    const stop = new AbortController();
    const echo = (listen: string) =>
      inNamespace(server.nsName, ['socat', `${listen}:${PORT},fork`, 'PIPE'], {
        timeoutMs: 60_000,
        signal: stop.signal,
      });
    const servers = [echo('TCP6-LISTEN'), echo('UDP4-RECVFROM')];
    const directory = mkdtempSync(join(tmpdir(), `cwdp${process.pid}-`));
    const [begun, enough] = [join(directory, 'begun'), join(directory, 'enough')];
    const running = inNamespace(
      client.nsName,
      [
        'python3',
        '-c',
        `import os, socket, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(5)
u.connect(("${server.ipv4}", ${PORT}))
# Until both servers listen.
while True:
  try:
    t = socket.create_connection(("${server.ipv6}", ${PORT}), 5)
    u.send(b"there?")
    u.recv(100)
    break
  except ConnectionRefusedError: time.sleep(0.05)
lost = sent = 0
while sent <= 100 or not os.path.exists("${enough}"):
  if sent == 20: open("${begun}", "w")
  m = b"%d" % sent
  u.send(m)
  try:
    if u.recv(100) != m: lost += 1
  except OSError: lost += 1
  t.sendall(m)
  got = b""
  while len(got) < len(m): got += t.recv(100)
  assert got == m
  sent += 1
print(lost, sent > 100)`,
      ],
      { timeoutMs: 50_000 },
    );
    for (let i = 0; i < 1000 && !existsSync(begun); i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(existsSync(begun), 'there is traffic');
    for (let i = 0; i < 3; i++) {
      using again = openDatapath(site.options);
      assert.ok(again.updatedLinks.length >= 5, String(again.updatedLinks));
      site.ns.run(() => {
        again.attachPod(client.hostIfname, client.hostIfindex);
        assert.ok(again.podAttached(client.hostIfname, client.hostIfindex));
        assert.equal(queryTcx(client.hostIfindex, 'ingress').length, 1);
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    writeFileSync(enough, '');
    const { stdout, stderr } = await running;
    rmSync(directory, { recursive: true });
    assert.equal(String(stdout), '0 True\n', stderr);
    stop.abort();
    await Promise.all(servers);
  });

  test('a pod whose device is gone leaves nothing behind, and its name may be used again', () => {
    const pod = site.addPod(9);
    using rt = RtSocket.open(site.ns);
    rt.apply(request.deleteLink({ index: pod.hostIfindex }));
    const { datapath } = site;
    assert.deepEqual(
      datapath.attachedDevices().find(({ ifname }) => ifname === pod.hostIfname),
      { ifname: pod.hostIfname, ifindex: 0 },
    );
    rt.apply(request.createVeth({ name: pod.hostIfname, up: true, peer: { name: 'again' } }));
    const { index } = rt.link({ name: pod.hostIfname })!;
    site.ns.run(() => {
      datapath.attachPod(pod.hostIfname, index);
      assert.ok(datapath.podAttached(pod.hostIfname, index));
      datapath.detachPod(pod.hostIfname);
      datapath.detachPod(pod.hostIfname);
      assert.deepEqual(queryTcx(index, 'ingress'), []);
      assert.deepEqual(queryTcx(index, 'egress'), []);
      assert.throws(() => datapath.attachPod('nothere', 4242), { code: 'device-gone' });
      assert.throws(() => datapath.attachPod('other', index), { code: 'device-gone' });
    });
    assert.ok(!datapath.attachedDevices().some(({ ifname }) => ifname === pod.hostIfname));
  });
});

describe('identities over the tunnel', () => {
  test('the far node knows the sender by the tunnel’s own header', async () => {
    using undo = new DisposableStack();
    const a = undo.use(new NodeSite({ name: 'ia', number: 1, tunnel: true }));
    const b = undo.use(new NodeSite({ name: 'ib', number: 2, tunnel: true }));
    const friend = a.addPod(2, 3001);
    const stranger = a.addPod(3, 3002);
    const server = b.addPod(2, 3003);
    undo.use(echoServers(server.ns, PORT));
    connect(a, b);
    // b forgets who the pods are: the header must say.
    b.datapath.ipcache.deleteAll(
      [friend, stranger].flatMap((pod) => [`${pod.ipv4}/32` as never, `${pod.ipv6}/128` as never]),
    );
    b.datapath.ipcache.putAll(
      [
        ['10.1.0.0/24', a.ipv4],
        ['fd00:1::/64', a.ipv4],
      ].map(([prefix, tunnelEndpoint]) => [
        prefix as never,
        {
          identity: 0,
          tunnelEndpoint: tunnelEndpoint as Address,
          noMasquerade: true,
          isProtected: false,
          isNode: false,
        },
      ]),
    );
    b.datapath.enforcement.applySet({
      policyId: 5,
      type: 'created',
      upserts: [
        {
          direction: 'ingress',
          identity: 3001,
          protocol: 0,
          prefixLength: 0,
          port: 0,
          flags: 0,
          ruleId: 1,
        },
      ],
      deletes: [],
      info: {
        revision: 1,
        prefixLengths: { ingress: 0, egress: 0 },
        ingress: 'enforced',
        egress: 'off',
      },
    });
    b.putPod(server, { policyId: 5, policyRevision: 2, ingress: 'enforced' });
    for (const address of [server.ipv4, server.ipv6]) {
      assert.equal(String(await tcpEcho(friend.nsName, address, PORT, hello)), 'hello');
      assert.equal(await tcpEcho(stranger.nsName, address, PORT, hello), undefined);
    }
  });
});

describe('the world outside', () => {
  const undo = new DisposableStack();
  const outside = { ipv4: Address.parse('198.51.100.7'), ipv6: Address.parse('2001:db8:ffff::7') };
  const ours = { ipv4: Address.parse('198.51.100.1'), ipv6: Address.parse('2001:db8:ffff::1') };
  let site: NodeSite;
  let pod: TestPod;
  let seen: ReturnType<typeof echoServers>;

  before(() => {
    site = undo.use(
      new NodeSite({
        name: 'wo',
        number: 1,
        datapath: { config: { masquerade: { ipv4: true, ipv6: true } } },
      }),
    );
    pod = site.addPod(2);
    const worldName = `${site.nsName}world`;
    const world = undo.use(Netns.create(worldName));
    undo.defer(() => Netns.remove(worldName));
    writeSysctl('net/ipv6/conf/default/accept_dad', 0, world);
    using rt = RtSocket.open(site.ns);
    rt.apply(
      request.createVeth({
        name: 'eth1',
        up: true,
        peer: { name: 'eth0', namespace: world, up: true },
      }),
    );
    const { index } = rt.link({ name: 'eth1' })!;
    using far = RtSocket.open(world);
    const farIndex = far.link({ name: 'eth0' })!.index;
    for (const family of ['ipv4', 'ipv6'] as const) {
      const prefixLength = family === 'ipv4' ? 24 : 64;
      const noDad = family === 'ipv6';
      rt.apply(
        request.addAddress({
          ifindex: index,
          address: Address.toBytes(ours[family]),
          prefixLength,
          noDad,
        }),
      );
      far.apply(
        request.addAddress({
          ifindex: farIndex,
          address: Address.toBytes(outside[family]),
          prefixLength,
          noDad,
        }),
      );
      site.datapath.putNodeAddress(ours[family]);
    }
    site.ns.run(() =>
      site.datapath.attachDevice('network', { ifname: 'eth1', ifindex: index, ...ours }),
    );
    seen = undo.use(echoServers(world, PORT));
  });
  after(() => undo.dispose());

  for (const family of ['ipv4', 'ipv6'] as const) {
    test(`knows pods as the node, ${family}`, async () => {
      const to = outside[family];
      assert.ok(await ping(pod.nsName, to));
      assert.ok(await ping(pod.nsName, to, { size: 4000 }), 'in fragments');
      const bulk = Buffer.alloc(500_000, 7);
      assert.ok((await tcpEcho(pod.nsName, to, PORT, bulk))?.equals(bulk));
      assert.equal(String(await udpEcho(pod.nsName, to, PORT, hello)), 'hello');
      assert.ok(seen.peers.has(ours[family]));
      assert.ok(![...seen.peers].includes(pod[family]));
      const [, port] = seen.datagrams.find((each) => each.startsWith(ours[family]))!.split(' ');
      assert.ok(Number(port) >= 49_152);
    });

    test(`its refusals reach the pod, ${family}`, async () => {
      const { stdout } = await inNamespace(pod.nsName, [
        'python3',
        '-c',
        `import socket
s = socket.socket(socket.${family === 'ipv4' ? 'AF_INET' : 'AF_INET6'}, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect(("${outside[family]}", 9))
s.send(b"x")
try: s.recv(1)
except OSError as e: print(e.strerror)`,
      ]);
      assert.equal(String(stdout), 'Connection refused\n');
    });
  }

  test('translations can be listed', () => {
    const rows = [...site.datapath.connections.translations()];
    assert.ok(rows.some((row) => row.source === pod.ipv4 && row.translatedAddress === ours.ipv4));
  });
});

describe('filters in place of links, for kernels below 6.6', () => {
  test('pods speak, a restart exchanges programs, and detaching leaves nothing', async () => {
    using undo = new DisposableStack();
    const site = undo.use(
      new NodeSite({ name: 'cl', number: 1, datapath: { attachMode: 'clsact' } }),
    );
    const a = site.addPod(2);
    const b = site.addPod(3);
    undo.use(echoServers(b.ns, PORT));
    const speak = async () => {
      for (const address of [b.ipv4, b.ipv6]) {
        assert.equal(String(await tcpEcho(a.nsName, address, PORT, hello)), 'hello');
        assert.equal(String(await tcpEcho(site.nsName, address, PORT, hello)), 'hello');
      }
    };
    await speak();
    using again = openDatapath(site.options);
    site.ns.run(() => {
      for (const pod of site.pods) {
        assert.ok(!again.podAttached(pod.hostIfname, pod.hostIfindex));
        again.attachPod(pod.hostIfname, pod.hostIfindex);
        assert.ok(again.podAttached(pod.hostIfname, pod.hostIfindex));
      }
    });
    await speak();
    site.ns.run(() => {
      again.detachPod(a.hostIfname);
      const filter = {
        ifindex: a.hostIfindex,
        direction: 'ingress',
        handle: 0xca5e,
        priority: 0x4a5e,
      } as const;
      assert.equal(queryTcFilter(filter), undefined);
      assert.ok(!again.podAttached(a.hostIfname, a.hostIfindex));
    });
  });
});
