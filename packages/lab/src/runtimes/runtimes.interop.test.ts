// containerd and podman run real containers with the ptp plugin: what the lab later asks of them with ours, proved
// without ours. Everything is in a namespace and a directory of the test's own.
import assert from 'node:assert/strict';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { must, run } from '../host/process.ts';
import { until } from '../host/wait.ts';
import { removeCgroups } from './cgroups.ts';
import { CONTAINERD_IMAGE, Containerd } from './containerd.ts';
import { Podman } from './podman.ts';

const netns = `cw${process.pid}-runtimes`;
const directory = mkdtempSync(join(tmpdir(), `cw${process.pid}-`));
/** Below this in every hierarchy, so that a node's hooks would see its containers. */
const cgroupParent = `/cw${process.pid}/pods`;
const enter = ['nsenter', `--net=/run/netns/${netns}`];
const list = {
  cniVersion: '1.0.0',
  name: `ptp${process.pid}`,
  plugins: [
    {
      type: 'ptp',
      ipam: {
        type: 'host-local',
        dataDir: join(directory, 'host-local'),
        ranges: [[{ subnet: '10.93.0.0/24' }], [{ subnet: 'fd93::/64' }]],
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    },
  ],
};

before(async () => {
  await must(['ip', 'netns', 'add', netns]);
  await must([...enter, 'ip', 'link', 'set', 'lo', 'up']);
});
after(async () => {
  await must(['ip', 'netns', 'del', netns]);
  rmSync(directory, { recursive: true, force: true });
  removeCgroups(`/cw${process.pid}`);
  const left = globSync(`/sys/fs/cgroup/*/cw${process.pid}`);
  assert.deepEqual(left, []);
});

/** ptp's side of the pair looks for duplicates of its IPv6 address first, for a second or two. */
const reaches = (address: string) =>
  until(
    `an answer of ${address}`,
    async () => {
      const { code, stdout } = await run([...enter, 'busybox', 'ping', '-c1', '-W1', address]);
      return code === 0 ? undefined : stdout;
    },
    { timeoutMs: 10_000 },
  );

const links = () => must(['ip', '-n', netns, '-br', 'link']);

test('containerd: a pod with a container, through CRI', async () => {
  const options = {
    directory: join(directory, 'c'),
    cniBinDir: '/usr/lib/cni',
    cniList: list,
    enter,
  };
  {
    await using containerd = await Containerd.start(options);
    const { cri } = containerd;
    assert.match(await cri.version(), /^containerd 1\./);
    const spec = { namespace: 'shop', name: 'db-0', uid: '1234', cgroupParent };
    const sandbox = await cri.runSandbox(spec);
    const addresses = await cri.sandboxAddresses(sandbox);
    assert.equal(addresses.length, 2);
    const container = await cri.startContainer(sandbox, spec, {
      name: 'main',
      image: CONTAINERD_IMAGE,
    });
    for (const address of addresses) await reaches(address);
    const inside = await cri.exec(container, ['/bin/ping', '-c1', '-W3', '10.93.0.1']);
    assert.equal(inside.code, 0, inside.stdout + inside.stderr);
    assert.equal((await cri.exec(container, ['/bin/sh', '-c', 'exit 7'])).code, 7);
    const cgroups = await cri.exec(container, ['/bin/cat', '/proc/self/cgroup']);
    assert.ok(cgroups.stdout.includes(`0::${cgroupParent}/`), cgroups.stdout);
    await cri.stopSandbox(sandbox);
    await cri.stopSandbox(sandbox);
    await cri.removeSandbox(sandbox);
    assert.doesNotMatch(await links(), /veth/);
    // One that is left to the disposal.
    await cri.runSandbox({ ...spec, name: 'db-1', uid: '1235' });
    assert.match(await links(), /veth/);
  }
  assert.doesNotMatch(await links(), /veth/);
  const processes = await must(['ps', '-eo', 'args']);
  assert.ok(!processes.includes(options.directory), processes);
});

test('podman: a container on a CNI network', async () => {
  const options = {
    directory: join(directory, 'p'),
    cniBinDirs: ['/usr/lib/cni'],
    cniList: list,
    enter,
    cgroupParent,
  };
  {
    await using podman = await Podman.prepare(options);
    const name = `cw${process.pid}-a`;
    await podman.run(name);
    const addresses = await podman.addresses(name);
    assert.equal(addresses.length, 2);
    for (const address of addresses) await reaches(address);
    const inside = await podman.exec(name, ['/bin/ping', '-c1', '-W3', '10.93.0.1']);
    assert.equal(inside.code, 0, inside.stdout + inside.stderr);
    const cgroups = await podman.exec(name, ['/bin/cat', '/proc/self/cgroup']);
    assert.ok(cgroups.stdout.includes(`0::${cgroupParent}/`), cgroups.stdout);
    await podman.remove(name);
    assert.doesNotMatch(await links(), /veth/);
    await podman.run(`${name}b`);
  }
  assert.doesNotMatch(await links(), /veth/);
});
