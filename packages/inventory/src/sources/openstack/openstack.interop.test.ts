/**
 * The adapter against the real neutron-server, nova-api and RabbitMQ of Debian's packages, on loopback.
 * Of Nova, only what makes and ends instances is a stand-in (see `testing/nova-compute-stand-in.py`).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { freePort } from '@causeway/etcd/testing';
import { instanceOn, Reader } from '../../../testing/index.ts';
import { Link } from '../../../testing/link.ts';
import { until } from '../../../testing/process.ts';
import { absences, Followed, fast, often, rarely } from './testing/follow.ts';
import { RealKeystone } from './testing/keystone.ts';
import { Neutron } from './testing/neutron.ts';
import { Nova } from './testing/nova.ts';
import { Rabbit } from './testing/rabbit.ts';

let rabbit: Rabbit;
let neutron: Neutron;
let guarded: Neutron;
let keystone: RealKeystone;
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
  const [port, guardedPort] = [await freePort(), await freePort()];
  const at = (of: number) => `http://127.0.0.1:${of}`;
  [rabbit, keystone] = await together(
    Rabbit.start(),
    RealKeystone.start({ network: at(guardedPort) }),
  );
  const { transport } = rabbit;
  [neutron, nova, guarded] = await together(
    Neutron.start({ transport, port, pageSize: 2 }),
    Nova.start({ transport, network: at(port) }),
    Neutron.start({ port: guardedPort, keystone, filterValidation: false }),
  );
});

after(() => programs.disposeAsync());

/** What every Neutron shows, however it is asked. */
async function followPorts(site: Neutron, project: string, config: object): Promise<void> {
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
    compute: false,
    projects: [project],
    poll: often,
    limits: fast,
    ...config,
  });
  const { sink } = source;

  const db = await source.item(first, 'the first port is listed');
  assert.equal(sink.snapshots, 1);
  assert.deepEqual([...db.addresses].sort(), await site.addressesOf(first));
  assert.equal(db.addresses.length, 2);
  assert.equal(db.platform, 'vm');
  assert.equal(db.name, 'db-1');
  assert.equal(db.labels.app, 'db');
  assert.equal(db.labels.blue, '');
  assert.equal(db.labels['openstack.causeway.io/project'], project);
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
}

test('follows ports of a real Neutron by roll calls where it refuses changed_since, page by page', () =>
  followPorts(neutron, 'polled', {
    auth: { method: 'none' },
    endpoints: { network: neutron.url },
  }));

test('follows ports by changed_since where Neutron allows it, as a real Keystone lets it', async () => {
  const project = await keystone.project('Web Shop');
  const { id, secret } = await keystone.applicationCredential();
  await followPorts(guarded, project, {
    auth: { method: 'application-credential', url: keystone.url, id, secret },
    region: keystone.region,
  });
});

test('takes a password that a real Keystone takes, and says when it refuses one', async () => {
  const auth = {
    method: 'password',
    url: keystone.url,
    username: 'admin',
    password: 'secret',
    project: 'admin',
  };
  const project = await keystone.project('Long Lived');
  const network = await guarded.network(project, '10.74.0.0/24', 'fd74::/64');
  const port = await guarded.port({
    network_id: network,
    tenant_id: project,
    device_owner: 'compute:nova',
  });
  const config = { auth, compute: false, projects: [project], poll: rarely, limits: fast };
  await using source = new Followed(config);
  const item = await source.item(port, 'the port is listed');
  assert.equal(item.labels['openstack.causeway.io/project-name'], 'Long Lived');
  await using wrong = new Followed({ ...config, auth: { ...auth, password: 'guessed' } });
  await wrong.reported('the refusal is told', /Keystone refuses the credentials \(401\)/);
  assert.equal(wrong.sink.snapshots, 0);
});

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

test('ports become endpoints that another cluster’s reader takes from the inventory’s store', async () => {
  const network = await neutron.network('mesh', '10.75.0.0/24', 'fd75::/64');
  const base = { network_id: network, tenant_id: 'mesh', device_owner: 'compute:nova' };
  const first = await neutron.port({ ...base, name: 'db' });
  await neutron.retag(first, ['app=db']);
  await using etcd = memoryEtcd({ clock: systemClock });
  await using reader = new Reader(etcd.connect());
  await using _instance = instanceOn(etcd.connect(), {
    identities: { lingerSeconds: 0.1, restSeconds: 0.2 },
    sources: [
      {
        type: 'openstack',
        name: 'cloud',
        auth: { method: 'none' },
        endpoints: { network: neutron.url },
        compute: false,
        projects: ['mesh'],
        poll: often,
        limits: fast,
      },
    ],
  });
  const addresses = await neutron.addressesOf(first);
  assert.equal(addresses.length, 2);
  const labelled = (of: readonly string[], app: string | undefined) =>
    until(`${of.join(' and ')} are ${app ?? 'nobody'}`, () =>
      of.every((address) => reader.label(address, 'app') === app),
    );
  await labelled(addresses, 'db');
  assert.ok(reader.labels(addresses[0] ?? '')?.includes('k8s:causeway.io/platform=vm'));

  const second = await neutron.port({ ...base, name: 'web' });
  await neutron.retag(second, ['app=web']);
  const others = await neutron.addressesOf(second);
  await labelled(others, 'web');
  await neutron.retag(second, ['app=api']);
  await labelled(others, 'api');
  await neutron.delete(second);
  await until('its addresses are nobody’s', () =>
    others.every((address) => reader.labels(address) === undefined),
  );
  await labelled(addresses, 'db');
  assert.deepEqual(
    reader.gone.filter((key) => addresses.some((address) => key.endsWith(`/${address}`))),
    [],
  );
  assert.deepEqual(reader.rejected, []);
});
