/**
 * The adapter against the real neutron-server, nova-api and RabbitMQ of Debian's packages, on loopback.
 * Of Nova, only what makes and ends instances is a stand-in (see `testing/nova-compute-stand-in.py`).
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { clockFrom } from '@causeway/tables';
import { RecordingSink } from '../../../testing/index.ts';
import type { SourceItem } from '../../source.ts';
import { openstackSource } from './config.ts';
import { OpenStackSource } from './source.ts';
import { Link } from './testing/link.ts';
import { Neutron } from './testing/neutron.ts';
import { Nova } from './testing/nova.ts';
import { freePort, until } from './testing/process.ts';
import { Rabbit } from './testing/rabbit.ts';

const clock = clockFrom<NodeJS.Timeout>({
  now: () => performance.now() + performance.timeOrigin,
  start: setTimeout,
  stop: clearTimeout,
});

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

/** A source at work; ends with its test. */
function follow(config: object): { readonly sink: RecordingSink } & AsyncDisposable {
  const sink = new RecordingSink();
  const source = new OpenStackSource(
    openstackSource.parse({ name: 'site', type: 'openstack', ...config }),
    { clock, random: Math.random, log: silentLog },
  );
  const ending = new AbortController();
  const running = source.run(sink, ending.signal);
  running.catch(() => {});
  return {
    sink,
    async [Symbol.asyncDispose]() {
      ending.abort();
      await running;
    },
  };
}

const often = { changesSeconds: 0.2, rollCallSeconds: 0.2, rollCallShare: 0.5 };
const rarely = { changesSeconds: 3600, rollCallSeconds: 3600, resyncSeconds: 86_400 };
const fast = { requestsPerSecond: 200 };

/** The item as soon as it fits. */
async function item(
  sink: RecordingSink,
  id: string,
  what: string,
  fits: (item: SourceItem) => boolean,
): Promise<SourceItem> {
  let found: SourceItem | undefined;
  await until(what, () => {
    found = sink.items.get(id);
    return found !== undefined && fits(found);
  });
  assert.ok(found);
  return found;
}

/** Items only ever appear, change and go for a reason: what a test expects to stay was never away. */
function neverDeleted(sink: RecordingSink, id: string): void {
  let seen = false;
  for (const word of sink.words) {
    if (word.type === 'delete') assert.notEqual(word.id, id);
    if (word.type === 'put' && word.item.id === id) seen = true;
    if (word.type !== 'snapshot') continue;
    const named = word.items.some((each) => each.id === id);
    assert.ok(named || !seen, `${id} is missing in a snapshot`);
    seen ||= named;
  }
}

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
    await using source = follow({
      auth: { method: 'none' },
      endpoints: { network: site.url },
      compute: false,
      projects: [project],
      poll: often,
      limits: fast,
    });
    const { sink } = source;

    const db = await item(sink, first, 'the first port is listed', () => true);
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
    await item(sink, late, 'a new port is seen', () => true);
    await site.retag(first, ['app=web']);
    await item(sink, first, 'new tags are seen', (each) => each.labels.app === 'web');
    await site.update(first, { name: 'renamed' });
    await item(sink, first, 'a new name is seen', (each) => each.name === 'renamed');
    await site.delete(late);
    await until('a deleted port goes', () => !sink.items.has(late));
    assert.deepEqual([...sink.items.keys()].sort(), [first, stays].sort());
    neverDeleted(sink, stays);
    neverDeleted(sink, first);
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
  await using source = follow({
    auth: { method: 'none', user: 'admin', project: 'admin' },
    endpoints: { network: neutron.url, compute: nova.url },
    projects: ['nova-polled'],
    poll: often,
    limits: fast,
  });
  const { sink } = source;
  const web = await item(sink, port, 'the port is listed', () => true);
  assert.equal(web.name, 'web-1');
  assert.deepEqual(web.labels, {
    role: 'web',
    tier: 'front',
    'openstack.causeway.io/project': 'nova-polled',
  });
  assert.equal(web.attributes?.['server-status'], 'ACTIVE');
  assert.equal(web.attributes?.['metadata/role'], 'web');

  await nova.setMetadata(server, { role: 'api' });
  await item(sink, port, 'new metadata is seen', (each) => each.labels.role === 'api');
  await nova.rename(server, 'api-1');
  await item(sink, port, 'a new name is seen', (each) => each.name === 'api-1');

  const second = '0a000000-0000-4000-8000-000000000002';
  const early = await neutron.port({
    network_id: network,
    tenant_id: 'nova-polled',
    device_owner: 'compute:nova',
    device_id: second,
  });
  await nova.create(second, { name: 'late', project: 'nova-polled', metadata: { role: 'late' } });
  await item(
    sink,
    early,
    'a port whose server comes after it',
    (each) => each.labels.role === 'late',
  );

  neverDeleted(sink, port);
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
  await using source = follow({
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
  await item(sink, stays, 'the port is listed', () => true);
  await until(
    'both exchanges are bound',
    () => sink.lastReport?.state === 'following' && sink.lastReport.message === undefined,
  );

  const port = await neutron.port({ ...base, name: 'p' });
  await item(sink, port, 'a new port is notified', () => true);
  await neutron.retag(port, ['app=db']);
  await item(sink, port, 'new tags are notified', (each) => each.labels.app === 'db');
  await neutron.delete(port);
  await until('a deletion is notified', () => !sink.items.has(port));
  await nova.rename(server, 'renamed');
  await item(sink, stays, 'a new name is notified', (each) => each.name === 'renamed');

  link.cut();
  await until('the loss is told', () => /broker/.test(sink.lastReport?.message ?? ''));
  assert.equal(sink.lastReport?.state, 'following');
  const missed = await neutron.port({ ...base, name: 'missed' });
  await neutron.retag(stays, ['while=away']);
  link.mend();
  await item(sink, missed, 'what was missed is found', () => true);
  await item(sink, stays, 'changes that were missed too', (each) => each.labels.while === 'away');
  neverDeleted(sink, stays);
  assert.equal(sink.snapshots, 1);
});
