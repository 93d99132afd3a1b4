import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { queryCgroup } from '@causeway/linux';
import { openDatapath } from './open.ts';
import { NodeSite, type TestPod } from './testing/node-site.ts';
import { putService } from './testing/services.ts';
import { echoServers, inNamespace } from './testing/traffic.ts';

const vip = { ipv4: Address.parse('10.96.0.20'), ipv6: Address.parse('fd00:96::20') };
const PORT = 7778;

/** Where cgroup v2 is mounted. */
function cgroupRoot(): string {
  const line = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .find((each) => each.split(' ')[2] === 'cgroup2');
  if (line === undefined) throw new Error('no cgroup v2 is mounted');
  return line.split(' ')[1]!;
}

describe('services by socket', () => {
  const undo = new DisposableStack();
  let site: NodeSite;
  let client: TestPod;
  let server: TestPod;
  let cgroup: string;

  before(() => {
    site = undo.use(new NodeSite({ name: 'so', number: 1 }));
    client = site.addPod(2);
    server = site.addPod(3);
    undo.use(echoServers(server.ns, PORT));
    cgroup = join(cgroupRoot(), `cwdp${process.pid}`);
    mkdirSync(cgroup);
    undo.defer(() => rmdirSync(cgroup));
    site.datapath.attachCgroup(cgroup);
    for (const [index, family] of (['ipv4', 'ipv6'] as const).entries()) {
      const backends = [{ id: 500 + index, address: server[family], port: PORT }];
      const at = { address: vip[family], port: 80 };
      putService(site.datapath, { id: 10 + index, ...at, backends });
      putService(site.datapath, { id: 20 + index, ...at, protocol: 'UDP', backends });
      putService(site.datapath, { id: 30 + index, ...at, port: 81, backends: [] });
    }
  });
  after(() => {
    site.datapath.detachCgroup();
    undo.dispose();
  });

  /** A Python script in a pod, its process in the cgroup first. */
  async function python(pod: TestPod, script: string): Promise<string> {
    const { stdout, stderr } = await inNamespace(pod.nsName, [
      'sh',
      '-c',
      'echo $$ > "$0/cgroup.procs" && exec python3 -c "$1"',
      cgroup,
      script,
    ]);
    assert.equal(stderr, '');
    return String(stdout).trim();
  }
  const count = (reason: string) =>
    site.datapath.counters().find((row) => row.reason === reason)?.packets ?? 0n;

  const families = [
    ['AF_INET', vip.ipv4, vip.ipv4],
    ['AF_INET6', vip.ipv6, vip.ipv6],
    ['AF_INET6', `::ffff:${vip.ipv4}`, `::ffff:${vip.ipv4}`],
  ] as const;

  for (const [family, address, peer] of families) {
    test(`TCP by ${family} to ${address}: translated at connect, the peer is the virtual address`, async () => {
      const before = count('socket-translated');
      const selected = count('service-selected');
      const out = await python(
        client,
        `import socket
s = socket.socket(socket.${family}, socket.SOCK_STREAM)
s.settimeout(10)
s.connect(("${address}", 80))
s.sendall(b"hello")
print(s.recv(10).decode(), s.getpeername()[0], s.getpeername()[1])`,
      );
      assert.equal(out, `hello ${peer} 80`);
      assert.equal(count('socket-translated'), before + 1n);
      assert.equal(count('service-selected'), selected, 'no packet was translated');
    });

    test(`UDP by ${family} to ${address}: connected or not, answers come from the virtual address`, async () => {
      const out = await python(
        client,
        `import socket
s = socket.socket(socket.${family}, socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(b"one", ("${address}", 80))
data, who = s.recvfrom(10)
print(data.decode(), who[0], who[1])
c = socket.socket(socket.${family}, socket.SOCK_DGRAM)
c.settimeout(10)
c.connect(("${address}", 80))
c.send(b"two")
print(c.recv(10).decode(), c.getpeername()[0])`,
      );
      assert.equal(out, `one ${peer} 80\ntwo ${peer}`);
    });

    test(`no backend by ${family} to ${address}: refused at once`, async () => {
      const out = await python(
        client,
        `import socket, time, errno
s = socket.socket(socket.${family}, socket.SOCK_STREAM)
s.settimeout(5)
t = time.time()
try:
  s.connect(("${address}", 81))
  print("connected")
except OSError as e:
  # A second try would come after a second.
  print(errno.errorcode[e.errno], time.time() - t < 0.9)`,
      );
      assert.equal(out, 'ECONNREFUSED True');
    });
  }

  test('a NodePort at this node’s addresses and at another node’s', async () => {
    for (const [index, unspecified] of ['0.0.0.0', '::'].entries()) {
      const family = index === 0 ? 'ipv4' : 'ipv6';
      putService(site.datapath, {
        id: 40 + index,
        address: Address.parse(unspecified),
        port: 30_080,
        backends: [{ id: 500 + index, address: server[family], port: PORT }],
        external: { nodePort: true },
      });
    }
    const other = { ipv4: Address.parse('192.0.2.99'), ipv6: Address.parse('2001:db8::99') };
    for (const address of [other.ipv4, other.ipv6]) {
      site.datapath.ipcache.putAll([
        [
          Prefix.host(address),
          // It is an endpoint itself: its number does not tell that it is a node.
          {
            identity: 4001,
            tunnelEndpoint: undefined,
            noMasquerade: true,
            isProtected: false,
            isNode: true,
          },
        ],
      ]);
    }
    for (const address of [site.gateway4, site.gateway6, other.ipv4, other.ipv6]) {
      const script = `import socket
s = socket.create_connection(("${address}", 30080), 10)
s.sendall(b"hello")
print(s.recv(10).decode(), s.getpeername()[0], s.getpeername()[1])`;
      assert.equal(await python(client, script), `hello ${address} 30080`);
    }
    // And by packets, for a pod whose sockets pass no hook.
    for (const address of [site.gateway4, site.gateway6]) {
      const { stdout } = await inNamespace(client.nsName, [
        'python3',
        '-c',
        `import socket
s = socket.create_connection(("${address}", 30080), 10)
s.sendall(b"hello")
print(s.recv(10).decode())`,
      ]);
      assert.equal(String(stdout).trim(), 'hello');
    }
  });

  test('without the hook the packet path does the same', async () => {
    const selected = count('service-selected');
    for (const address of [vip.ipv4, vip.ipv6]) {
      const { stdout } = await inNamespace(client.nsName, [
        'python3',
        '-c',
        `import socket
s = socket.create_connection(("${address}", 80), 10)
s.sendall(b"x" * 100000)
n = 0
while n < 100000: n += len(s.recv(65536))
print(n)
try:
  socket.create_connection(("${address}", 81), 10)
except OSError as e:
  print(e.strerror)`,
      ]);
      assert.equal(String(stdout), '100000\nConnection refused\n');
    }
    assert.equal(count('service-selected'), selected + 2n);
  });

  test('a restart exchanges the hooks’ programs in place', () => {
    const before = queryCgroup(cgroup, 'connect4');
    using again = openDatapath(site.options);
    const now = queryCgroup(cgroup, 'connect4');
    assert.equal(now.length, 1);
    assert.equal(now[0]?.linkId, before[0]?.linkId, 'the same link');
    assert.notEqual(now[0]?.programId, before[0]?.programId);
    assert.ok(again.updatedLinks.includes('cgroup_connect4'));
    assert.ok(again.updatedLinks.includes(`${client.hostIfname}_ingress`));
    assert.equal(now[0]?.programId, again.objects.program('sock_connect4').info.id);
  });
});
