import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Address } from '@causeway/ip';
import { topologyLab } from '../../testing/topology-lab.ts';
import { destroyLab } from '../down.ts';
import { makeCgroup } from '../host/cgroup.ts';
import { labCgroup, nodePaths } from '../host/names.ts';
import { until } from '../host/wait.ts';
import { Lab } from '../lab.ts';
import { startServers } from '../run/servers.ts';
import { writeState } from '../state.ts';
import { buildMachine } from './machine.ts';
import { buildTopology } from './topology.ts';

const NAME = `t-topo-${process.pid}`;
const FILE = `
racks:
  - {name: left, ipv4: 10.9.1.0/24, ipv6: "fd09:1::/64"}
  - {name: right, ipv4: 10.9.2.0/24, ipv6: "fd09:2::/64"}
routers:
  - {name: l, racks: [left]}
  - {name: r, racks: [right]}
links:
  - {between: [l, r], ipv4: 10.255.0.0/30, ipv6: "fd09:ff::/126"}
hosts:
  - {name: h, rack: right, serve: [{port: 80, type: http}, {port: 7, type: udp}, {port: 99, type: tcp}]}
clusters:
  - name: c
    id: 1
    podCIDRs: {ipv4: 10.1.0.0/16, ipv6: "fd01::/48"}
    nodes: [{name: n1, rack: left}, {name: n2, rack: right}]
`;
let lab: Lab;

before(async () => {
  lab = await topologyLab(NAME, FILE);
  const { plan } = lab.context.state;
  for (const node of ['n1', 'n2']) await buildMachine(NAME, node);
  const host = plan.hosts[0]!;
  await startServers(lab.context, { kind: 'host', place: 'h' }, 'h', host.serve);
});

after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await destroyLab(NAME, { force: true });
  await destroyLab(`${NAME}-x`, { force: true });
});

test('machines on different racks reach each other over the routers, in both families', async () => {
  for (const address of await lab.addresses('h')) {
    // The kernel sets IPv6 up behind our back for a moment after a link comes up.
    const look = async () => {
      const { outcome, detail } = await lab.traffic.ping('n1', address);
      return outcome === 'answered' ? undefined : detail;
    };
    await until(`ping of ${address}`, look, { timeoutMs: 20_000 });
  }
  const route = await lab.exec('l', ['ip', 'route', 'show', '10.9.2.0/24']);
  assert.match(route.stdout, /via 10\.255\.0\.2 dev to-r/);
});

test('servers answer with their place, refusals are told from silence', async () => {
  const [ipv4, ipv6] = await lab.addresses('h');
  for (const address of [ipv4!, ipv6!]) {
    const http = await lab.traffic.http('n1', address, 80);
    assert.deepEqual([http.outcome, http.answer], ['answered', 'h'], http.detail);
    const udp = await lab.traffic.udp('n1', address, 7, { say: 'good day' });
    assert.deepEqual([udp.outcome, udp.answer], ['answered', 'h good day'], udp.detail);
    const tcp = await lab.traffic.tcp('n2', address, 99, { say: 'x' });
    const [, seen, said] = /^h \[(.*)\]\n(.*)$/.exec(tcp.answer) ?? assert.fail(tcp.answer);
    const own: readonly string[] = await lab.addresses('n2');
    assert.ok(own.includes(Address.parse(seen!)), seen!);
    assert.equal(said, 'x');
    assert.equal((await lab.traffic.http('n1', address, 81)).outcome, 'refused');
    assert.equal((await lab.traffic.tcp('n1', address, 81)).outcome, 'refused');
    assert.equal((await lab.traffic.udp('n1', address, 81)).outcome, 'refused');
  }
  await lab.cable('h', 'down');
  assert.equal((await lab.traffic.tcp('n2', ipv4!, 99, { seconds: 1 })).outcome, 'timeout');
  await lab.cable('h', 'up');
  assert.equal((await lab.traffic.ping('n2', ipv4!, { seconds: 2 })).outcome, 'answered');
});

test('a node has its own BPF file system, /sys, host name, run directory and cgroup', async () => {
  const script =
    'hostname; stat -f -c %T /sys/fs/bpf; ls /sys/class/net; cat /proc/self/cgroup; touch /run/causeway/mark; mkdir /sys/fs/bpf/mark';
  const { stdout, stderr } = await lab.exec('n1', ['sh', '-c', script]);
  assert.match(stdout, /^n1\nbpf_fs\n/, stderr);
  assert.match(stdout, /^eth0\nlo$/m);
  assert.match(stdout, new RegExp(`causeway-lab\\.${NAME}\\.${process.pid}/nodes/n1/system$`, 'm'));
  assert.ok(existsSync(`${nodePaths(NAME, 'n1').run}/mark`));
  assert.ok(existsSync(`${nodePaths(NAME, 'n1').bpffs}/mark`));
  assert.ok(!existsSync('/sys/fs/bpf/mark'), 'the machine itself is not touched');
});

test('etcd stands in its own place and answers nodes and the outside; it stops, hangs and starts empty', async () => {
  const { etcd } = lab.cluster();
  await etcd.start();
  const put = await lab.exec(
    'n1',
    ['etcdctl', '--endpoints', etcd.endpoints[0]!, 'put', 'a', 'b'],
    {
      env: { ETCDCTL_API: '3' },
    },
  );
  assert.equal(put.code, 0, put.stderr);
  const read = async (endpoint = etcd.endpoints[1]!) => {
    const argv = [
      'etcdctl',
      '--endpoints',
      endpoint,
      '--dial-timeout=1s',
      '--command-timeout=1s',
      'get',
      '--print-value-only',
      'a',
    ];
    const result = await lab.exec('n2', argv, { env: { ETCDCTL_API: '3' } });
    return result.code === 0 ? result.stdout.trim() : 'error';
  };
  assert.equal(await read(), 'b');
  etcd.pause();
  assert.equal(await read(), 'error');
  etcd.resume();
  await etcd.partition();
  assert.equal(await read(), 'error');
  await etcd.heal();
  await etcd.stop('SIGKILL');
  assert.equal(etcd.running, false);
  await etcd.start();
  assert.equal(await read(), 'b');
  await etcd.wipe();
  assert.equal(await read(), '');
});

test('down leaves nothing, is no error twice, and needs no readable state', async () => {
  const other = `${NAME}-x`;
  const plan = lab.context.state.plan;
  const state = {
    ...lab.context.state,
    name: other,
    phase: 'building',
    builder: { pid: 1, started: 'never' },
  } as const;
  writeState(state);
  const half = new Lab(state);
  makeCgroup(labCgroup(state.cgroupRoot, half.context.names));
  await buildTopology(half.context.names, plan);
  await buildMachine(other, 'n1');
  half.spawn('n1', ['sleep', '1000'], { stdio: 'ignore' });
  writeFileSync(`${nodePaths(other, 'n1').directory}/../../state.json`, '{"version":');
  const report = await destroyLab(other);
  assert.equal(report.existed, true);
  assert.equal(report.namespaces, plan.places.length);
  assert.deepEqual(
    readdirSync('/run/netns').filter((name) => name.includes(other)),
    [],
  );
  assert.equal(existsSync(labCgroup(state.cgroupRoot, half.context.names)), false);
  assert.equal((await destroyLab(other)).existed, false);
  assert.equal((await lab.exec('n1', ['true'])).code, 0, 'the other lab is untouched');
});
