/** What the adapter does when the services do not: against a stand-in, for the real ones fail at their own times. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Authority } from '@causeway/pki';
import { Scratch, until } from '../../../testing/process.ts';
import { absences, clockAt, Followed, fast, often, rarely } from './testing/follow.ts';
import { SmallSite, send } from './testing/small-site.ts';

const clock = clockAt(20);

const follow = (site: SmallSite, config: object = {}): Followed =>
  new Followed(
    {
      auth: {
        method: 'password',
        url: `${site.url}/v3`,
        username: 'reader',
        password: 'right',
        project: 'all',
      },
      region: 'one',
      poll: { ...often, changesSeconds: 2, rollCallSeconds: 2, resyncSeconds: 86_400 },
      limits: fast,
      ...config,
    },
    clock,
  );

test('finds services in the catalogue, names of projects, and servers page by page', async () => {
  await using site = await SmallSite.start();
  site.pageSize = 2;
  site.projects = [{ id: 'p1', name: 'Shop' }];
  site.networks = [{ id: 'n1', name: 'front' }];
  for (let i = 0; i < 5; i++) {
    site.server(`server-${i}`, { metadata: { role: `r${i}` }, tags: ['t=1'] });
    site.port(`port-${i}`, { device_id: `server-${i}`, project_id: 'p1', network_id: 'n1' });
  }
  await using followed = follow(site, { projectAsNamespace: true });
  await until('all are listed', () => followed.sink.items.size === 5);
  assert.equal(followed.sink.snapshots, 1);
  const item = followed.sink.items.get('port-3');
  assert.equal(item?.name, 'server-3');
  assert.equal(item?.namespace, 'shop');
  assert.deepEqual(item?.labels, {
    role: 'r3',
    t: '1',
    'openstack.causeway.io/project': 'p1',
    'openstack.causeway.io/project-name': 'Shop',
  });
  assert.equal(item?.attributes?.['network-name'], 'front');
});

test('takes application credentials, and says of wrong ones no secret', async () => {
  await using site = await SmallSite.start();
  site.port('port');
  const auth = { method: 'application-credential', url: `${site.url}/v3`, id: 'id' };
  await using right = follow(site, { auth: { ...auth, secret: 'right' } });
  await right.item('port', 'the port is listed');
  await using wrong = follow(site, { auth: { ...auth, secret: 'a-wrong-one' } });
  await wrong.reported('the refusal is told', /refuses the credentials/);
  assert.equal(JSON.stringify(wrong.sink.words).includes('a-wrong-one'), false);
  assert.equal(wrong.sink.snapshots, 0);
});

test('asks for another token when one is refused', async () => {
  await using site = await SmallSite.start();
  site.port('port');
  await using followed = follow(site);
  await followed.item('port', 'the port is listed');
  const before = site.count(/auth\/tokens/);
  site.tokens.clear();
  site.port('port', { tags: ['new=1'] });
  await followed.item('port', 'a change is seen', (item) => item.labels.new === '1');
  assert.equal(site.count(/auth\/tokens/), before + 1);
  assert.equal(
    followed.sink.words.some((word) => word.type === 'report' && word.report.state === 'failed'),
    false,
  );
});

test('rests as long as a service asks, then goes on', async () => {
  await using site = await SmallSite.start();
  site.port('port');
  await using followed = follow(site);
  await followed.item('port', 'the port is listed');
  for (const status of [429, 503, 413]) {
    let refused = 0;
    let restFrom = 0;
    let again = 0;
    site.fault = ({ path }, response) => {
      if (!path.startsWith('/network')) return false;
      if (refused > 0) {
        again ||= clock.now();
        return false;
      }
      refused++;
      restFrom = clock.now();
      response.setHeader('retry-after', '5');
      send(response, status, {});
      return true;
    };
    await until('it asks again', () => again > 0);
    assert.ok(again - restFrom >= 4950, `asked again after ${again - restFrom} ms`);
  }
  assert.equal(absences(followed.sink, 'port'), 0);
  assert.equal(followed.sink.lastReport?.state, 'following');
});

test('takes nothing but a whole answer for a list', async () => {
  await using site = await SmallSite.start();
  site.pageSize = 2;
  for (let i = 0; i < 5; i++) site.port(`port-${i}`);
  await using followed = follow(site, {
    poll: { ...rarely, resyncSeconds: 4 },
    limits: { ...fast, answerBytes: 4096, timeoutSeconds: 1 },
  });
  await until('all are listed', () => followed.sink.items.size === 5);
  const faults: Record<string, typeof site.fault> = {
    'cut off': (_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"ports":[');
      response.destroy();
      return true;
    },
    'no JSON': (_, response) => {
      response.end('{"ports":[');
      return true;
    },
    'no list': (_, response) => {
      send(response, 200, { ports: null });
      return true;
    },
    'an entry without id': (_, response) => {
      send(response, 200, { ports: [{ name: 'x' }] });
      return true;
    },
    'a page that fails': ({ query }, response) => {
      if (!query.has('marker')) return false;
      send(response, 403, {});
      return true;
    },
    'pages without end': ({ query }, response) => {
      send(response, 200, {
        ports: [{ id: 'a', fixed_ips: [] }],
        ports_links: [{ rel: 'next', href: `?marker=${query.get('marker') ?? ''}x`.slice(0, 12) }],
      });
      return true;
    },
    'more than is read': (_, response) => {
      send(response, 200, { ports: [], more: 'x'.repeat(5000) });
      return true;
    },
    'no answer': () => true,
    'a redirection': (_, response) => {
      response.writeHead(302, { location: 'http://elsewhere.invalid/' });
      response.end();
      return true;
    },
  };
  for (const [name, fault] of Object.entries(faults)) {
    const snapshots = followed.sink.snapshots;
    let met = 0;
    site.fault = (request, response) => {
      if (!request.path.endsWith('/ports')) return false;
      const hit = fault(request, response);
      if (hit) met++;
      return hit;
    };
    await until(`it is met: ${name}`, () => met > 0);
    site.fault = () => false;
    await until(`a whole list comes after: ${name}`, () => followed.sink.snapshots > snapshots);
    await followed.reported(`all is well after: ${name}`, undefined, 'following');
  }
  for (let i = 0; i < 5; i++) assert.equal(absences(followed.sink, `port-${i}`), 0);
});

test('takes a server away only for a 404 of its own, as lists leave out cells out of reach', async () => {
  await using site = await SmallSite.start();
  site.server('vm', { metadata: { role: 'db' } });
  site.port('port', { device_id: 'vm' });
  await using followed = follow(site, { poll: { ...often, resyncSeconds: 4 } });
  await followed.item('port', 'the port is listed', (item) => item.labels.role === 'db');
  site.servers.set('vm', { id: 'vm', status: 'UNKNOWN' });
  const before = followed.sink.snapshots;
  await until('two lists later', () => followed.sink.snapshots >= before + 2);
  assert.equal(followed.sink.items.get('port')?.labels.role, 'db');

  // A new port of a server that nobody can tell of is not told of, nor anything deleted meanwhile.
  site.servers.set('dark', { id: 'dark', status: 'UNKNOWN' });
  site.port('unknown', { device_id: 'dark' });
  site.port('known');
  await followed.item('known', 'others are told of');
  await followed.reported('the reason is told', /1 servers, whose cells are out of reach/);
  assert.equal(followed.sink.items.has('unknown'), false);
  // What can be known is followed all the same.
  site.ports.delete('known');
  await until('a deletion is seen', () => !followed.sink.items.has('known'));
  site.server('dark', { metadata: { role: 'dark' } });
  await followed.item('unknown', 'it comes with its server', (item) => item.labels.role === 'dark');
  assert.equal(absences(followed.sink, 'port'), 0);
});

test('lets many deletions go by a snapshot, which the guard sees, and few by themselves', async () => {
  await using site = await SmallSite.start();
  for (let i = 0; i < 40; i++) site.port(`port-${i}`);
  await using followed = follow(site);
  await until('all are listed', () => followed.sink.items.size === 40);
  for (let i = 0; i < 3; i++) site.ports.delete(`port-${i}`);
  await until('three are gone', () => followed.sink.items.size === 37);
  assert.equal(followed.sink.words.filter((word) => word.type === 'delete').length, 3);
  assert.equal(followed.sink.snapshots, 1);
  // As of a user who has lost the right to see others' ports: 200, and an empty list.
  const kept = [...site.ports.values()];
  site.ports.clear();
  await until('an empty snapshot', () => followed.sink.snapshots >= 2);
  assert.equal(followed.sink.words.filter((word) => word.type === 'delete').length, 3);
  for (const port of kept) site.ports.set(port.id, port);
  await until('they are back', () => followed.sink.items.size === 37);
});

test('speaks to a Nova that is too old for microversions', async () => {
  await using site = await SmallSite.start();
  site.microversions = [];
  site.server('vm', { metadata: { role: 'db' }, tags: undefined });
  site.port('port', { device_id: 'vm' });
  await using followed = follow(site);
  await followed.item('port', 'the port is listed', (item) => item.labels.role === 'db');
});

test('keeps the rate it is given', async () => {
  await using site = await SmallSite.start();
  for (let i = 0; i < 30; i++) site.port(`port-${i}`, { device_id: `no-server-${i}` });
  const began = clock.now();
  await using followed = follow(site, { limits: { requestsPerSecond: 10 } });
  await until('all are listed', () => followed.sink.items.size === 30);
  const seconds = (clock.now() - began) / 1000;
  // A burst of one second's worth, then the rate; Keystone's own is not counted.
  assert.ok(site.asked.length - 1 <= 10 + 10 * seconds + 1, `${site.asked.length} in ${seconds} s`);
});

test('asks for others one by one when one of many cannot be asked for', async () => {
  await using site = await SmallSite.start();
  await using followed = follow(site);
  await until('the empty site is listed', () => followed.sink.snapshots === 1);
  site.fault = ({ query, path }, response) => {
    if (!query.getAll('id').includes('bad') && !path.endsWith('/bad')) return false;
    send(response, 414, {});
    return true;
  };
  site.port('bad');
  for (let i = 0; i < 8; i++) site.port(`good-${i}`);
  await until('the others are told of', () => followed.sink.items.size === 8);
  await followed.reported('the reason is told', /414/);
  site.fault = () => false;
  await followed.item('bad', 'it comes at last');
});

test('speaks TLS by an authority of the site, with a certificate of its own, and to no other', async () => {
  using scratch = new Scratch('openstack');
  const validity = { now: new Date(), days: 1 };
  const { authority } = await Authority.create('site', validity);
  const other = await Authority.create('other', validity);
  const server = await authority.issueServer(['127.0.0.1'], validity);
  const client = await authority.issueClient('inventory', validity);
  await using site = await SmallSite.start({
    ca: authority.certificate,
    cert: server.certificate,
    key: server.key,
  });
  site.port('port');
  const files = {
    ca: authority.certificate,
    other: other.authority.certificate,
    cert: client.certificate,
    key: client.key,
    password: 'right\n',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(scratch.file(name), text);
  const config = (ca: string) => ({
    auth: {
      method: 'password',
      url: `${site.url}/v3`,
      username: 'reader',
      passwordFile: scratch.file('password'),
      project: 'all',
    },
    tls: {
      caFile: scratch.file(ca),
      certFile: scratch.file('cert'),
      keyFile: scratch.file('key'),
    },
  });
  await using right = follow(site, config('ca'));
  await right.item('port', 'the port is listed');
  await using wrong = follow(site, config('other'));
  await wrong.reported('the refusal is told', /certificate/);
  assert.equal(wrong.sink.snapshots, 0);
});
