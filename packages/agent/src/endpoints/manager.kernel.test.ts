import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { StateDirectory, silentLog } from '@causeway/daemon';
import { Prefix } from '@causeway/ip';
import { Netns, RtSocket, request, writeSysctl } from '@causeway/linux';
import { Database } from '@causeway/tables';
import { AgentError } from '../errors.ts';
import { FakeEnforcement, FakeIdentities, FakePrograms } from '../testing/fakes.ts';
import { isolated } from '../testing/isolated.ts';
import { LinuxEndpointKernel } from './linux-kernel.ts';
import { EndpointManager } from './manager.ts';
import { NodeAddressPool } from './pool.ts';
import { endpointRecord } from './record.ts';
import { restoreEndpoints } from './restore.ts';
import { endpointTable } from './table.ts';

const code = (wanted: string) => (error: unknown) =>
  error instanceof AgentError && error.code === wanted;

isolated(import.meta.filename, () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-endpoints-${process.pid}-`));
  const names: string[] = [];
  after(() => {
    for (const name of names) Netns.remove(name);
    fs.rmSync(directory, { recursive: true });
  });
  before(() => {
    using socket = RtSocket.open();
    socket.apply(request.setLink({ name: 'lo' }, { up: true }));
  });

  let made = 0;
  function namespace(): string {
    const name = `cwt-${process.pid}-${made++}`;
    Netns.create(name).close();
    names.push(name);
    return `/run/netns/${name}`;
  }

  /** One life of an agent: everything in memory is new, the kernel and the directory are what they were. */
  function life(dir = directory) {
    const table = endpointTable(new Database({ freeze: true }));
    const state = new StateDirectory(path.join(dir, 'endpoints'), endpointRecord);
    const kernel = new LinuxEndpointKernel();
    const parts = {
      programs: new FakePrograms(),
      enforcement: new FakeEnforcement(),
      identities: new FakeIdentities(),
      addresses: new NodeAddressPool(['ipv4', 'ipv6'], () => performance.now()),
    };
    parts.addresses.setCidrs([
      { prefix: Prefix.parse('10.5.0.0/24') },
      { prefix: Prefix.parse('fd00:5::/64') },
    ]);
    const manager = new EndpointManager({
      node: 'a',
      table,
      state,
      kernel,
      ...parts,
      podMtu: () => 1450,
      assertReady: () => {},
      maxEndpoints: 1000,
      now: () => performance.now(),
      log: silentLog,
    });
    const restore = () =>
      restoreEndpoints({
        state,
        kernel,
        ...parts,
        manager,
        recover: () => undefined,
        log: silentLog,
      });
    return { table, state, kernel, manager, restore, ...parts };
  }

  const devices = (kernel: LinuxEndpointKernel) =>
    kernel
      .hostLinks()
      .filter(({ name }) => name.startsWith('cw'))
      .map(({ name }) => name);

  test('ADD makes a whole interface, says the same again, and CHECK finds what is missing', async () => {
    const { manager, kernel, programs } = life();
    const netns = namespace();
    using pod = Netns.open(netns);
    // As container runtimes leave it.
    writeSysctl('net/ipv6/conf/all/disable_ipv6', 1, pod);
    writeSysctl('net/ipv6/conf/default/disable_ipv6', 1, pod);
    const body = { containerId: 'one', ifname: 'eth0', netns };
    const { endpoint, created } = await manager.attach(body);
    assert.equal(created, true);
    assert.equal(endpoint.addresses.ipv4, '10.5.0.2');
    assert.equal(endpoint.gateways.ipv6, 'fd00:5::1');
    assert.equal(endpoint.mtu, 1450);
    assert.equal(endpoint.state, 'ready');
    assert.deepEqual(await manager.attach(body), { endpoint, created: false });
    assert.equal((await manager.check(body)).id, endpoint.id);

    using ns = Netns.open(netns);
    using inside = RtSocket.open(ns);
    const link = inside.link({ name: 'eth0' })!;
    inside.apply(request.setLink({ index: link.index }, { mtu: 1300 }));
    await assert.rejects(manager.check(body), /MTU 1300, not 1450/);
    programs.detach(endpoint.hostIfname);
    await assert.rejects(manager.check(body), /programs are not attached/);
    await assert.rejects(manager.check({ ...body, containerId: 'other' }), code('not-found'));

    assert.deepEqual(await manager.detach(body), { removed: true });
    assert.deepEqual(await manager.detach(body), { removed: false });
    assert.deepEqual(devices(kernel), []);
  });

  test('what cannot be is refused and leaves nothing', async () => {
    const { manager, kernel, programs, table, state } = life();
    const netns = namespace();
    await assert.rejects(
      manager.attach({ containerId: 'x', ifname: 'eth0', netns: '/no/such' }),
      code('netns-missing'),
    );
    await assert.rejects(
      manager.attach({ containerId: 'x', ifname: 'eth0', netns: '/etc/hostname' }),
      code('netns-missing'),
    );
    await assert.rejects(
      manager.attach({ containerId: 'x', ifname: 'eth0', netns: '/proc/self/ns/net' }),
      code('netns-is-node'),
    );
    await assert.rejects(
      manager.attach({ containerId: 'x', ifname: 'lo', netns }),
      code('interface-exists'),
    );
    programs.failNext = new Error('verifier says no');
    await assert.rejects(
      manager.attach({ containerId: 'x', ifname: 'eth0', netns }),
      code('attach-failed'),
    );
    assert.equal(table.size, 0);
    assert.deepEqual([...state.load().records], []);
    assert.deepEqual(devices(kernel), []);
  });

  test('chained: the interface of another plugin is followed, and left behind', async () => {
    const { manager, kernel, programs, enforcement } = life();
    const netns = namespace();
    using pod = Netns.open(netns);
    using socket = RtSocket.open();
    socket.apply(
      request.createVeth({
        name: 'vethptp',
        up: true,
        peer: { name: 'eth0', up: true, namespace: pod },
      }),
    );
    using inside = RtSocket.open(pod);
    const link = inside.link({ name: 'eth0' })!;
    inside.apply(
      request.addAddress({
        ifindex: link.index,
        address: Uint8Array.of(10, 88, 0, 5),
        prefixLength: 24,
      }),
    );
    const body = {
      containerId: 'chain',
      ifname: 'eth0',
      netns,
      chained: { hostIfname: 'vethptp', addresses: { ipv4: '10.88.0.5' } },
    };
    const wrong = { ...body, chained: { ...body.chained, addresses: { ipv4: '10.88.0.6' } } };
    await assert.rejects(manager.attach(wrong), code('bad-request'));
    await assert.rejects(manager.attach({ ...body, ifname: 'lo' }), code('interface-missing'));
    const { endpoint } = await manager.attach(body);
    assert.equal(endpoint.hostIfname, 'vethptp');
    assert.deepEqual(endpoint.addresses, { ipv4: '10.88.0.5' });
    assert.equal(programs.at.get('vethptp'), endpoint.hostIfindex);
    assert.equal((await manager.check(body)).id, endpoint.id);
    await manager.detach(body);
    assert.equal(
      kernel.hostLink('vethptp')?.index,
      endpoint.hostIfindex,
      'it is the other plugin that removes it',
    );
    assert.deepEqual([programs.at.size, enforcement.rows.size], [0, 0]);
    socket.apply(request.deleteLink({ name: 'vethptp' }));
  });

  test('a restart takes up what stands, and takes apart what does not', async () => {
    const first = life();
    const bodies = ['keep', 'gone', 'half', 'cut', 'swapped'].map((containerId) => ({
      containerId,
      ifname: 'eth0',
      netns: namespace(),
    }));
    const endpoints = [];
    for (const body of bodies) endpoints.push((await first.manager.attach(body)).endpoint);
    const [keep, gone, half, cut, swapped] = endpoints as [
      never,
      never,
      never,
      never,
      never,
    ] as (typeof endpoints)[number][];
    // The pod of one went with its interface while nobody looked.
    await first.kernel.removeInterface(gone!.hostIfname);
    // One ADD broke off before its answer.
    await first.state.write(String(half!.id), {
      ...first.table.get(half!.id)!.record,
      step: 'allocated',
    });
    // The file of one was cut short: nothing else knows of it here.
    fs.truncateSync(path.join(directory, 'endpoints', `${cut!.id}.json`), 20);
    // Another device has the name and not the index.
    await first.kernel.removeInterface(swapped!.hostIfname);
    using socket = RtSocket.open();
    socket.apply(request.createVeth({ name: swapped!.hostIfname, peer: { name: 'stranger' } }));

    const second = life();
    const report = await second.restore();
    assert.equal(report.restored, 1);
    assert.equal(report.refused.length, 1);
    assert.deepEqual(
      second.manager.list().map(({ id, state, addresses }) => ({ id, state, addresses })),
      [{ id: keep!.id, state: 'ready', addresses: keep!.addresses }],
    );
    assert.deepEqual(devices(second.kernel).sort(), [keep!.hostIfname, swapped!.hostIfname].sort());
    assert.deepEqual(second.programs.devices(), [keep!.hostIfname]);
    const added = await second.manager.attach({ ...bodies[1]!, containerId: 'new' });
    assert.notEqual(added.endpoint.addresses.ipv4, keep!.addresses.ipv4);
    assert.notEqual(added.endpoint.id, keep!.id);
    assert.deepEqual(
      (await second.manager.collectGarbage([{ containerId: 'new', ifname: 'eth0' }])).removed,
      [{ containerId: 'keep', ifname: 'eth0' }],
    );
    socket.apply(request.deleteLink({ name: 'stranger' }));
    await second.manager.detach({ containerId: 'new', ifname: 'eth0' });
    assert.deepEqual(devices(second.kernel), []);
  });

  test('a burst of 100', async (t) => {
    const dir = fs.mkdtempSync(`/dev/shm/cw-endpoints-${process.pid}-`);
    const { manager, kernel } = life(dir);
    try {
      const bodies = Array.from({ length: 100 }, (_, i) => ({
        containerId: `burst-${i}`,
        ifname: 'eth0',
        netns: namespace(),
      }));
      const results = await Promise.all(bodies.map((body) => manager.attach(body)));
      assert.equal(new Set(results.map(({ endpoint }) => endpoint.addresses.ipv4)).size, 100);
      t.diagnostic(`add ${JSON.stringify(manager.latency.add)}`);
      await Promise.all(bodies.map((body) => manager.detach(body)));
      t.diagnostic(`del ${JSON.stringify(manager.latency.del)}`);
      assert.deepEqual(devices(kernel), []);
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  });
});
