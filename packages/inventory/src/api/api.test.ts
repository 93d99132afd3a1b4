import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { test } from 'node:test';
import { ApiClient, silentLog } from '@causeway/daemon';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { Authority } from '@causeway/pki';
import { Reader, Scratch, settings, until } from '../../testing/index.ts';
import { host } from '../daemon.ts';
import { Instance } from '../instance.ts';
import { Admission } from './admission.ts';
import { inventoryApi } from './api.ts';
import { apiConfig } from './config.ts';

const validity = { now: new Date(), days: 1 };
const spec = (address: string, more: object = {}) => ({
  spec: { addresses: [address], platform: 'vm', labels: { app: 'web' }, ...more },
});

function world(more: object = {}) {
  const etcd = memoryEtcd({ clock: systemClock });
  const instance = new Instance(host(settings({ ...more }), silentLog, etcd.connect()));
  const api = inventoryApi({ instance, about: () => ({}), onError: () => {}, wall: Date.now });
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await api.request(path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as never as Record<string, never> };
  };
  return {
    etcd,
    instance,
    api,
    ask,
    async [Symbol.asyncDispose]() {
      await instance[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
}

test('objects by HTTP become endpoints: put, get, list, bulk, delete', async () => {
  await using it = world();
  await using reader = new Reader(it.etcd.connect());
  assert.equal((await it.ask('PUT', '/v1/outside-endpoints/a', spec('192.0.2.1'))).status, 201);
  assert.equal(
    (await it.ask('PUT', '/v1/outside-endpoints/a', spec('192.0.2.1', { site: 'north' }))).status,
    200,
  );
  await until('it is an endpoint', () => reader.label('192.0.2.1', 'causeway.io/site') === 'north');
  const bulk = {
    put: ['b', 'c'].map((name, i) => ({ metadata: { name }, ...spec(`192.0.2.${10 + i}`) })),
    delete: ['a', 'nobody'],
  };
  const { body } = await it.ask('POST', '/v1/outside-endpoints/bulk', bulk);
  assert.deepEqual(body, {
    put: [
      { name: 'b', action: 'created' },
      { name: 'c', action: 'created' },
    ],
    deleted: [
      { name: 'a', found: true },
      { name: 'nobody', found: false },
    ],
    atomic: false,
  });
  await until(
    'the bulk is in',
    () => reader.entries === 2 && reader.labels('192.0.2.1') === undefined,
  );
  const list = (await it.ask('GET', '/v1/outside-endpoints')).body as unknown as {
    items: { metadata: { name: string } }[];
  };
  assert.deepEqual(
    list.items.map(({ metadata }) => metadata.name),
    ['b', 'c'],
  );
  const why = (await it.ask('GET', '/v1/why?address=192.0.2.10')).body as unknown as {
    verdict: string;
  };
  assert.match(why.verdict, /^192\.0\.2\.10 is b of source objects, identity \d+$/);
  assert.equal((await it.ask('GET', '/v1/endpoints?label=app=web&limit=1')).body.length, 1);
  assert.equal((await it.ask('DELETE', '/v1/outside-endpoints/b')).status, 200);
  assert.equal((await it.ask('DELETE', '/v1/outside-endpoints/b')).status, 404);
  await until('one is left', () => reader.entries === 1);
  assert.deepEqual(reader.rejected, []);
});

test('bad input is refused with field and value, and nothing of it is written', async () => {
  await using it = world();
  for (const [method, path, given, field, value] of [
    ['PUT', '/v1/outside-endpoints/a', spec('192.0.2.256'), 'spec.addresses[0]', '192.0.2.256'],
    ['PUT', '/v1/outside-endpoints/a', spec('fe80::1'), 'spec.addresses[0]', 'fe80::1'],
    ['PUT', '/v1/outside-endpoints/a', spec('192.0.2.1', { platform: 'x' }), 'spec.platform', 'x'],
    [
      'PUT',
      '/v1/outside-endpoints/a',
      spec('192.0.2.1', { labels: { 'a b': 'c' } }),
      'spec.labels["a b"]',
      undefined,
    ],
    ['PUT', '/v1/outside-endpoints/a', spec('192.0.2.1', { ttlSeconds: 0 }), 'spec.ttlSeconds', 0],
    ['PUT', '/v1/outside-endpoints/a', spec('192.0.2.1', { adress: 1 }), undefined, undefined],
    [
      'PUT',
      '/v1/outside-endpoints/a',
      { metadata: { name: 'b' }, ...spec('192.0.2.1') },
      'metadata.name',
      'b',
    ],
    [
      'POST',
      '/v1/outside-endpoints/bulk',
      {
        put: [
          { metadata: { name: 'good' }, ...spec('192.0.2.1') },
          { metadata: { name: 'bad' }, ...spec('x') },
        ],
      },
      'spec.addresses[0]',
      'x',
    ],
    [
      'POST',
      '/v1/outside-endpoints/bulk',
      { put: [{ metadata: { name: 'a' }, ...spec('192.0.2.1') }], delete: ['a'] },
      'delete[0]',
      'a',
    ],
    ['POST', '/v1/accept', { source: 'nobody' }, 'source', 'nobody'],
    ['GET', '/v1/why?address=x', undefined, 'address', 'x'],
    ['GET', '/v1/outside-endpoints?watch=perhaps', undefined, 'watch', 'perhaps'],
  ] as const) {
    await until('it leads', () => it.instance.status().counts !== undefined);
    const { status, body } = await it.ask(method, path, given);
    const error = body.error as unknown as { field?: string; value?: unknown };
    assert.ok(
      status >= 400 && status < 500,
      `${method} ${path} ${JSON.stringify(given)}: ${status}`,
    );
    if (field !== undefined) assert.equal(error.field, field, JSON.stringify(error));
    if (value !== undefined) assert.deepEqual(error.value, value);
  }
  const { entries } = await it.etcd.connect().list('causeway/registry/');
  assert.equal(entries.length, 0);
});

test('who may write endpoints writes no other kind: refused by field, alone and among good ones', async () => {
  await using it = world();
  const foreign = { endpoints: ['https://192.0.2.66:2379'] };
  for (const [more, field, value] of [
    [{ kind: 'MeshPeer' }, 'kind', 'MeshPeer'],
    [{ kind: 'MeshPeer', spec: foreign }, 'kind', 'MeshPeer'],
    [{ apiVersion: 'v1', kind: 'Node' }, 'apiVersion', 'v1'],
    [{ apiVersion: 'causeway.io/v2' }, 'apiVersion', 'causeway.io/v2'],
    [{ kind: null }, 'kind', null],
  ] as const) {
    const given = { apiVersion: 'causeway.io/v1', ...spec('192.0.2.1'), ...more };
    const alone = await it.ask('PUT', '/v1/outside-endpoints/evil', given);
    const put = [
      { metadata: { name: 'good' }, ...spec('192.0.2.2') },
      { metadata: { name: 'evil' }, ...given },
    ];
    const among = await it.ask('POST', '/v1/outside-endpoints/bulk', { put });
    for (const [{ status, body }, at] of [
      [alone, field],
      [among, `put.1.${field}`],
    ] as const) {
      const error = body.error as unknown as { field?: string; value?: unknown };
      assert.deepEqual([status, error.field, error.value], [400, at, value]);
    }
  }
  const { entries } = await it.etcd.connect().list('causeway/registry/');
  assert.deepEqual(entries, []);
  const named = { apiVersion: 'causeway.io/v1', kind: 'OutsideEndpoint', ...spec('192.0.2.1') };
  assert.equal((await it.ask('PUT', '/v1/outside-endpoints/a', named)).status, 201);
});

test('an object that somebody spoilt in the store is shown, and stays as it was', async () => {
  await using it = world();
  await using reader = new Reader(it.etcd.connect());
  await it.ask('PUT', '/v1/outside-endpoints/a', spec('192.0.2.1'));
  await until('it is in', () => reader.entries === 1);
  const kv = it.etcd.connect();
  const [entry] = (await kv.list('causeway/registry/')).entries;
  await kv.put(entry!.key, '{"spec": "what"}');
  await until('it is shown', () => {
    const [source] = it.instance.status().sources;
    return source?.refused.newest[0]?.id === 'a';
  });
  assert.equal(reader.entries, 1);
});

test('an endpoint that is not renewed expires, and its object goes with it', async () => {
  await using it = world();
  await using reader = new Reader(it.etcd.connect());
  await it.ask('PUT', '/v1/outside-endpoints/brief', spec('192.0.2.1', { ttlSeconds: 1 }));
  await it.ask('PUT', '/v1/outside-endpoints/long', spec('192.0.2.2', { ttlSeconds: 3600 }));
  const { body } = await it.ask(
    'PUT',
    '/v1/outside-endpoints/brief',
    spec('192.0.2.1', { ttlSeconds: 1 }),
  );
  assert.ok(
    JSON.stringify(body).includes('causeway.io/renewed-at'),
    'the same words are a renewal',
  );
  await until('it was in and has gone', () =>
    reader.gone.some((key) => key.endsWith('/192.0.2.1')),
  );
  await until('the other is in', () => reader.labels('192.0.2.2') !== undefined);
  await until(
    'its object too',
    async () => (await it.ask('GET', '/v1/outside-endpoints/brief')).status === 404,
  );
  assert.equal((await it.ask('GET', '/v1/outside-endpoints/long')).status, 200);
});

test('a watch tells the list, then what happens, and ends when its reader goes', async () => {
  await using it = world();
  await it.ask('PUT', '/v1/outside-endpoints/a', spec('192.0.2.1'));
  const answer = await it.api.request('/v1/outside-endpoints?watch=true');
  const stream = answer.body!.getReader();
  const line = async () =>
    JSON.parse(new TextDecoder().decode((await stream.read()).value)) as {
      type: string;
      name?: string;
      object?: { metadata: { name: string } };
    };
  assert.equal((await line()).type, 'snapshot');
  assert.equal((await line()).object?.metadata.name, 'a');
  assert.equal((await line()).type, 'synced');
  await it.ask('PUT', '/v1/outside-endpoints/b', spec('192.0.2.2'));
  assert.equal((await line()).object?.metadata.name, 'b');
  await it.ask('DELETE', '/v1/outside-endpoints/a');
  assert.deepEqual(await line(), { type: 'delete', name: 'a' });
  await stream.cancel();
});

test('over TLS only those are answered who show a token or a certificate, each by his rights', async () => {
  using scratch = new Scratch();
  const { authority } = await Authority.create('inventory', validity);
  const { certificate, key } = await authority.issueServer(['127.0.0.1'], validity);
  const files = {
    cert: certificate,
    key,
    ca: authority.certificate,
    write: 'w'.repeat(32),
    read: 'r'.repeat(32),
    short: 'x',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(scratch.file(name), `${text}\n`);
  const tls = {
    certFile: scratch.file('cert'),
    keyFile: scratch.file('key'),
    clientCaFile: scratch.file('ca'),
  };
  const given = {
    address: '127.0.0.1',
    port: 0,
    tls,
    tokens: [
      { name: 'ci', tokenFile: scratch.file('write'), rights: 'write' },
      { name: 'board', tokenFile: scratch.file('read') },
    ],
    clients: [{ commonName: 'robot', rights: 'write' }],
  };
  const { runInventory } = await import('../daemon.ts');
  const stop = new AbortController();
  const at = Promise.withResolvers<{ port: number | undefined; socket: string }>();
  const running = runInventory(
    {
      cluster: { name: 'outside', id: 37 },
      runDir: scratch.path,
      etcd: { endpoints: ['http://127.0.0.1:1'] },
      api: given as never,
    },
    { signal: stop.signal, log: silentLog, onListening: at.resolve },
  );
  const { port, socket } = await Promise.race([
    at.promise,
    running.then(() => assert.fail('it ended')),
  ]);
  const ask = (method: string, headers: object, more: object = {}) =>
    new Promise<number>((resolve, reject) => {
      const call = request({
        host: '127.0.0.1',
        port,
        method,
        path: '/v1/status',
        ca: authority.certificate,
        agent: false,
        headers: headers as never,
        ...more,
      });
      call.on('response', (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      call.on('error', reject);
      call.end();
    });
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const robot = await authority.issueClient('robot', validity);
  const stranger = await authority.issueClient('stranger', validity);
  const forged = await (await Authority.create('other', validity)).authority.issueClient(
    'robot',
    validity,
  );
  const shown = ({ certificate: cert, key: its }: typeof robot) => ({ cert, key: its });
  try {
    assert.equal(await ask('GET', {}), 401);
    assert.equal(await ask('GET', bearer('z'.repeat(32))), 401);
    assert.equal(await ask('GET', bearer(files.read)), 200);
    assert.equal(await ask('PUT', bearer(files.read)), 403);
    assert.equal(
      await ask('PUT', bearer(files.write)),
      404,
      'let in, to a route that is not there',
    );
    assert.equal(await ask('PUT', {}, shown(robot)), 404);
    assert.equal(await ask('GET', {}, shown(stranger)), 401);
    assert.equal(await ask('GET', {}, shown(forged)), 401);
    writeFileSync(scratch.file('read'), `${'n'.repeat(40)}\n`);
    assert.equal(
      await ask('GET', bearer(files.read)),
      401,
      'a token that was changed is no longer taken',
    );
    assert.equal(await ask('GET', bearer('n'.repeat(40))), 200);
    await assert.doesNotReject(new ApiClient('inventory', socket).ask('GET', '/v1/status'));
  } finally {
    stop.abort();
    await running;
  }
  const config = (api: object) => apiConfig.safeParse({ ...given, ...api }).success;
  assert.deepEqual(
    [
      config({}),
      config({ tokens: [], clients: [] }),
      config({ tls: { ...tls, clientCaFile: undefined } }),
      config({ address: '192.0.2.1', tls: undefined, clients: [] }),
    ],
    [true, false, false, false],
  );
  const short = apiConfig.parse({
    ...given,
    tokens: [{ name: 'x', tokenFile: scratch.file('short') }],
  });
  assert.throws(() => new Admission(short), /at least 16 characters/);
});
