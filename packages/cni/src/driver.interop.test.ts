// The driver against plugins that are not ours: what it asks of ptp, host-local, loopback, portmap and tuning must be
// what they understand, and what they make must work.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { execPlugin } from '../testing/exec.ts';
import { must, TestNetns } from '../testing/netns.ts';
import { CniRuntime } from './driver.ts';
import { RuntimeError } from './network-list.ts';

const plugins = '/usr/lib/cni';
const run = fs.mkdtempSync(path.join(os.tmpdir(), `cw-driver-${process.pid}-`));
const node = withoutDad('node');
after(() => {
  node[Symbol.dispose]();
  fs.rmSync(run, { recursive: true, force: true });
});

const ptp = (name: string, more: object = {}) => ({
  type: 'ptp',
  ipam: {
    type: 'host-local',
    dataDir: path.join(run, 'host-local', name),
    ranges: [[{ subnet: '10.91.0.0/24' }], [{ subnet: 'fd91::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
  ...more,
});

function runtime(list: object): CniRuntime {
  return new CniRuntime({
    list,
    pluginDirs: [plugins],
    cacheDir: path.join(run, 'cache'),
    exec: execPlugin('ip', 'netns', 'exec', node.name),
  });
}

const failsWith = (cniCode: number | undefined, text: RegExp) => (error: unknown) =>
  error instanceof RuntimeError &&
  text.test(error.message) &&
  (cniCode === undefined || error.cni?.code === cniCode);

for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0']) {
  test(`a chain of ptp, tuning and portmap lives and dies, version ${cniVersion}`, async () => {
    using pod = withoutDad('pod');
    const name = `chain-${cniVersion}`;
    const list = {
      cniVersion,
      name,
      // The portmap of plugins 1.1.1 (Debian 12) looks for IPv4 rules in the IPv6 table when it checks.
      disableCheck: true,
      plugins: [
        ptp(name),
        { type: 'tuning', sysctl: { 'net.core.somaxconn': '321' } },
        { type: 'portmap', capabilities: { portMappings: true }, snat: false },
      ],
    };
    const cni = runtime(list);
    const where = {
      containerId: pod.name,
      ifname: 'eth0',
      netns: pod.path,
      args: { IgnoreUnknown: '1', K8S_POD_NAME: 'x' },
      capabilityArgs: {
        portMappings: [{ hostPort: 8099, containerPort: 80, protocol: 'tcp' }],
        mac: '02:00:00:00:00:01',
      },
    };
    const result = (await cni.add(where)) as { ips: { address: string }[]; cniVersion: string };
    assert.equal(result.cniVersion, cniVersion);
    for (const { address } of result.ips) {
      const bare = address.slice(0, address.indexOf('/'));
      must('ip', 'netns', 'exec', node.name, 'busybox', 'ping', '-c1', '-W2', bare);
    }
    assert.equal(
      must('ip', 'netns', 'exec', pod.name, 'sysctl', '-n', 'net.core.somaxconn').trim(),
      '321',
    );
    const nat = () => must('ip', 'netns', 'exec', node.name, 'iptables-save', '-t', 'nat');
    assert.match(nat(), /--dport 8099/);
    assert.deepEqual(cni.attachments(), [{ containerId: pod.name, ifname: 'eth0' }]);
    if (cniVersion !== '0.3.1') {
      await cni.check(where);
      const checking = runtime({ ...list, disableCheck: false, plugins: list.plugins.slice(0, 2) });
      await checking.check(where);
      must('ip', '-n', pod.name, 'addr', 'flush', 'dev', 'eth0');
      await assert.rejects(checking.check(where), failsWith(undefined, /CHECK by ptp/));
    }
    await cni.del(where);
    await cni.del(where);
    assert.doesNotMatch(nat(), /--dport 8099/);
    assert.deepEqual(cni.attachments(), []);
    assert.doesNotMatch(must('ip', '-n', pod.name, 'link'), /eth0/);
    const leases = fs.readdirSync(path.join(run, 'host-local', name, name));
    assert.deepEqual(
      leases.filter((file) => /^\d/.test(file)),
      [],
    );
  });
}

test('loopback, and what versions plugins speak', async () => {
  using pod = withoutDad('pod');
  const cni = runtime({ cniVersion: '1.0.0', name: 'lo', plugins: [{ type: 'loopback' }] });
  await cni.add({ containerId: pod.name, ifname: 'lo', netns: pod.path });
  assert.match(must('ip', '-n', pod.name, 'addr', 'show', 'lo'), /127\.0\.0\.1/);
  const [versions] = await cni.versions();
  assert.equal(versions?.type, 'loopback');
  assert.ok(versions?.supported.includes('1.0.0'));
});

test('a plugin that fails in the middle of a chain leaves nothing behind', async () => {
  using pod = withoutDad('pod');
  const name = 'halfway';
  const cni = runtime({
    cniVersion: '1.0.0',
    name,
    plugins: [ptp(name), { type: 'tuning', sysctl: { 'net.no.such': '1' } }],
  });
  const where = { containerId: pod.name, ifname: 'eth0', netns: pod.path };
  await assert.rejects(cni.add(where), failsWith(undefined, /ADD by tuning/));
  assert.doesNotMatch(must('ip', '-n', pod.name, 'link'), /eth0/);
  assert.deepEqual(cni.attachments(), []);
});

test('garbage collection deletes what is cached and no longer valid', async () => {
  using first = withoutDad('pod');
  using second = withoutDad('pod');
  const name = 'gc';
  const cni = runtime({ cniVersion: '1.0.0', name, plugins: [ptp(name)] });
  const at = (pod: TestNetns) => ({ containerId: pod.name, ifname: 'eth0', netns: pod.path });
  await cni.add(at(first));
  await cni.add(at(second));
  first[Symbol.dispose]();
  await cni.gc([at(second)]);
  assert.deepEqual(cni.attachments(), [{ containerId: second.name, ifname: 'eth0' }]);
  await cni.check(at(second));
  await cni.del(at(second));
});

test('the newest version that both speak is taken, and errors carry what the plugin said', async () => {
  using pod = withoutDad('pod');
  const list = (versions: object) => ({ ...versions, name: 'v', plugins: [ptp('v')] });
  const both = runtime(list({ cniVersion: '0.4.0', cniVersions: ['1.0.0', '7.0.0', '0.3.1'] }));
  assert.equal(both.list.version, '1.0.0');
  assert.throws(() => runtime(list({ cniVersion: '7.0.0' })), { code: 'config-invalid' });
  // Debian's ptp does not speak 1.1.0.
  const newer = runtime(list({ cniVersion: '1.1.0' }));
  const where = { containerId: pod.name, ifname: 'eth0', netns: pod.path };
  await assert.rejects(newer.add(where), failsWith(1, /incompatible/i));
});

test('lists that make no sense are refused by field', () => {
  const good = { cniVersion: '1.0.0', name: 'n', plugins: [{ type: 'ptp' }] };
  for (const [change, field] of [
    [{ name: '' }, 'name'],
    [{ name: '../n' }, 'name'],
    [{ plugins: [] }, 'plugins'],
    [{ plugins: [7] }, 'plugins[0]'],
    [{ plugins: [{ type: '../../bin/sh' }] }, 'plugins[0].type'],
    [{ disableCheck: 'no' }, 'disableCheck'],
    [{ cniVersions: '1.0.0' }, 'cniVersions'],
  ] as const) {
    assert.throws(
      () => runtime({ ...good, ...change }),
      (error) => error instanceof RuntimeError && error.message.startsWith(field),
      field,
    );
  }
});

/** Without duplicate address detection, for which ptp would wait more than a second. */
function withoutDad(label: string): TestNetns {
  const netns = new TestNetns(label);
  must('ip', 'netns', 'exec', netns.name, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0');
  return netns;
}
