/**
 * The adapter against the real neutron-server, nova-api and RabbitMQ of Debian's packages, on loopback.
 * Of Nova, only what makes and ends instances is a stand-in (see `testing/nova-compute-stand-in.py`).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { absences, Followed, fast, often, rarely } from './testing/follow.ts';
import { Link } from './testing/link.ts';
import { Neutron } from './testing/neutron.ts';
import { Nova } from './testing/nova.ts';
import { freePort, until } from './testing/process.ts';
import { Rabbit } from './testing/rabbit.ts';

let rabbit: Rabbit;
let neutron: Neutron;
let liberal: Neutron;
let nova: Nova;

const programs = new AsyncDisposableStack();

/** What started ends, also when what starts beside it fails. */
async function together<T extends readonly AsyncDisposable[]>(
  ...starting: { [K in keyof T]: Promise<T[K]> }
): Promise<T> {
  const results = await Promise.allSettled(starting);
  for (const result of results) if (result.status === 'fulfilled') programs.use(result.value);
  return Promise.all(starting) as unknown as Promise<T>;
}

before(async () => {
  [rabbit, liberal] = await together(Rabbit.start(), Neutron.start({ filterValidation: false }));
  const { transport } = rabbit;
  const port = await freePort();
  [neutron, nova] = await together(
    Neutron.start({ transport, port, pageSize: 2 }),
    Nova.start({ transport, network: `http://127.0.0.1:${port}` }),
  );
});

after(() => programs.disposeAsync());

for (const [how, server] of [
  ['by roll calls where Neutron refuses changed_since, page by page', () => neutron],
  ['by changed_since where Neutron allows it', () => liberal],
] as const) {
  test(`follows ports of a real Neutron ${how}`, async () => {
    const site = server();
    const project = `polled-${how.length}`;
    const network = await site.network(project, '10.71.0.0/24', 'fd71::/64');
    const base = { network_id: network, tenant_id: project, device_owner: 'compute:nova' };
    const first = await site.port({ ...base, name: 'db-1' });
    const stays = await site.port({ ...base, name: 'stays' });
    const others = [
      await site.port({ ...base, device_owner: 'network:dhcp' }),
      await site.port({ ...base, device_owner: '' }),
      await site.port({ ...base, tenant_id: 'somebody-else' }),
    ];
    await site.retag(first, ['app=db', 'blue']);
    await using source = new Followed({
      auth: { method: 'none' },
      endpoints: { network: site.url },
      compute: false,
      projects: [project],
      poll: often,
      limits: fast,
    });
    const { sink } = source;

    const db = await source.item(first, 'the first port is listed');
    assert.equal(sink.snapshots, 1);
    assert.deepEqual([...db.addresses].sort(), await site.addressesOf(first));
    assert.equal(db.addresses.length, 2);
    assert.equal(db.platform, 'vm');
    assert.equal(db.name, 'db-1');
    assert.deepEqual(db.labels, {
      app: 'db',
      blue: '',
      'openstack.causeway.io/project': project,
    });
    assert.equal(db.attributes?.['network-name'], `net-of-${project}`);
    for (const id of others) assert.equal(sink.items.has(id), false);

    const late = await site.port({ ...base, name: 'late' });
    await source.item(late, 'a new port is seen');
    await site.retag(first, ['app=web']);
    await source.item(first, 'new tags are seen', (each) => each.labels.app === 'web');
    await site.update(first, { name: 'renamed' });
    await source.item(first, 'a new name is seen', (each) => each.name === 'renamed');
    await site.delete(late);
    await until('a deleted port goes', () => !sink.items.has(late));
    assert.deepEqual([...sink.items.keys()].sort(), [first, stays].sort());
    assert.equal(absences(sink, stays), 0);
    assert.equal(absences(sink, first), 0);
    assert.equal(sink.lastReport?.state, 'following');
  });
}

test('follows servers of a real Nova and the ports of Neutron behind them, by changes-since', async () => {
  const server = '0a000000-0000-4000-8000-000000000001';
  const network = await neutron.network('nova-polled', '10.72.0.0/24', 'fd72::/64');
  await nova.create(server, {
    name: 'web-1',
    project: 'nova-polled',
    metadata: { role: 'web', 'openstack.causeway.io/project': 'stolen' },
  });
  await nova.retag(server, ['tier=front']);
  const port = await neutron.port({
    network_id: network,
    tenant_id: 'nova-polled',
    device_owner: 'compute:nova',
    device_id: server,
  });
  await using source = new Followed({
    auth: { method: 'none', user: 'admin', project: 'admin' },
    endpoints: { network: neutron.url, compute: nova.url },
    projects: ['nova-polled'],
    poll: often,
    limits: fast,
  });
  const { sink } = source;
  const web = await source.item(port, 'the port is listed');
  assert.equal(web.name, 'web-1');
  assert.deepEqual(web.labels, {
    role: 'web',
    tier: 'front',
    'openstack.causeway.io/project': 'nova-polled',
  });
  assert.equal(web.attributes?.['server-status'], 'ACTIVE');
  assert.equal(web.attributes?.['metadata/role'], 'web');

  await nova.setMetadata(server, { role: 'api' });
  await source.item(port, 'new metadata is seen', (each) => each.labels.role === 'api');
  await nova.rename(server, 'api-1');
  await source.item(port, 'a new name is seen', (each) => each.name === 'api-1');

  const second = '0a000000-0000-4000-8000-000000000002';
  const early = await neutron.port({
    network_id: network,
    tenant_id: 'nova-polled',
    device_owner: 'compute:nova',
    device_id: second,
  });
  await nova.create(second, { name: 'late', project: 'nova-polled', metadata: { role: 'late' } });
  await source.item(
    early,
    'a port whose server comes after it',
    (each) => each.labels.role === 'late',
  );

  assert.equal(absences(sink, port), 0);
  await neutron.delete(port);
  await nova.destroy(server);
  await until('a destroyed server is gone', () => !sink.items.has(port));
});

test('follows notifications over a real RabbitMQ, and finds after a cut what it missed', async () => {
  const server = '0b000000-0000-4000-8000-000000000001';
  const network = await neutron.network('notified', '10.73.0.0/24', 'fd73::/64');
  await nova.create(server, { name: 'vm', project: 'notified', metadata: {} });
  const base = { network_id: network, tenant_id: 'notified', device_owner: 'compute:nova' };
  const stays = await neutron.port({ ...base, device_id: server });
  await using link = await Link.to(rabbit.host);
  await using source = new Followed({
    auth: { method: 'none', user: 'admin', project: 'admin' },
    endpoints: { network: neutron.url, compute: nova.url },
    projects: ['notified'],
    // Nothing is asked by the clock: whatever is seen was notified, or asked for after a reconnection.
    poll: rarely,
    limits: fast,
    notifications: {
      hosts: [link.host],
      username: 'guest',
      password: 'guest',
      heartbeatSeconds: 2,
    },
  });
  const { sink } = source;
  await source.item(stays, 'the port is listed');
  await until(
    'both exchanges are bound',
    () => sink.lastReport?.state === 'following' && sink.lastReport.message === undefined,
  );

  const port = await neutron.port({ ...base, name: 'p' });
  await source.item(port, 'a new port is notified');
  await neutron.retag(port, ['app=db']);
  await source.item(port, 'new tags are notified', (each) => each.labels.app === 'db');
  await neutron.delete(port);
  await until('a deletion is notified', () => !sink.items.has(port));
  await nova.rename(server, 'renamed');
  await source.item(stays, 'a new name is notified', (each) => each.name === 'renamed');

  link.cut();
  await until('the loss is told', () => /broker/.test(sink.lastReport?.message ?? ''));
  assert.equal(sink.lastReport?.state, 'following');
  const missed = await neutron.port({ ...base, name: 'missed' });
  await neutron.retag(stays, ['while=away']);
  link.mend();
  await source.item(missed, 'what was missed is found');
  await source.item(stays, 'changes that were missed too', (each) => each.labels.while === 'away');
  assert.equal(absences(sink, stays), 0);
  assert.equal(sink.snapshots, 1);
});
