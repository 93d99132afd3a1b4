import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BfdEngine, type SessionSpec } from '@causeway/bfd';
import { type ApiError, DaemonError, type RecordStore } from '@causeway/daemon';
import { bfdApi, Feed } from './api.ts';
import { Owners } from './owners.ts';
import type { WantedSession } from './wanted.ts';

const timers = { txIntervalMs: 300, rxIntervalMs: 300, multiplier: 3 };
const b: WantedSession = { remote: '192.0.2.2', ...timers };
const c: WantedSession = { remote: 'fd00::3', ...timers };

/** A store in memory, which fails when told to. */
function memory(kept: Record<string, readonly WantedSession[]> = {}) {
  const records = new Map(Object.entries(kept));
  const store: RecordStore<readonly WantedSession[]> & { fail: boolean; records: typeof records } =
    {
      fail: false,
      records,
      async write(name, value) {
        if (store.fail) throw new DaemonError('state-write-failed', 'the disk is full');
        records.set(name, value);
      },
      async remove(name) {
        records.delete(name);
      },
      load: () => ({ records: new Map(records), refused: [] }),
    };
  return store;
}

/** The core in place of the thread. */
function fakeBfd() {
  const engine = new BfdEngine({
    random: () => (Math.random() * 2 ** 32) >>> 0,
    digest: () => new Uint8Array(20),
  });
  const seen: (readonly SessionSpec[])[] = [];
  return {
    seen,
    spec: (key: string) => engine.session(key)?.spec,
    keys: () => [...engine.sessions()].map(({ key }) => key),
    async configure(specs: readonly SessionSpec[]) {
      seen.push(specs);
      const { results } = engine.configure(specs, seen.length);
      return { results: [...results].map(([key, result]) => ({ key, result })) };
    },
  };
}

const setUp = (store = memory(), limit = 100) => {
  const bfd = fakeBfd();
  return { bfd, store, owners: new Owners(store, bfd, limit) };
};

const refusal = async (promise: Promise<unknown>): Promise<ApiError> => {
  try {
    await promise;
  } catch (error) {
    return error as ApiError;
  }
  return assert.fail('it was not refused');
};

test('an owner has exactly what it put last, and is told what that did', async () => {
  const { owners, bfd, store } = setUp();
  assert.deepEqual(await owners.put('speaker', [b, c]), [
    { key: '192.0.2.2', change: 'added' },
    { key: 'fd00::3', change: 'added' },
  ]);
  const changes = await owners.put('speaker', [{ ...c, multiplier: 5 }]);
  assert.deepEqual(changes, [
    { key: '192.0.2.2', change: 'removed' },
    { key: 'fd00::3', change: 'updated' },
  ]);
  assert.deepEqual(bfd.keys(), ['fd00::3']);
  assert.deepEqual(store.records.get('speaker'), [{ ...c, multiplier: 5 }]);
  assert.deepEqual(await owners.put('speaker', [{ ...c, multiplier: 5 }]), [
    { key: 'fd00::3', change: 'unchanged' },
  ]);
  assert.deepEqual(await owners.remove('speaker'), [{ key: 'fd00::3', change: 'removed' }]);
  assert.equal(await owners.remove('speaker'), undefined);
  assert.deepEqual(bfd.keys(), []);
});

test('what two want is one session, as strict as the stricter of them, until one lets go', async () => {
  const { owners, bfd } = setUp();
  await owners.put('speaker', [b]);
  const answer = await owners.put('operator', [{ ...b, txIntervalMs: 50, multiplier: 5 }, c]);
  assert.deepEqual(answer, [
    { key: '192.0.2.2', change: 'updated' },
    { key: 'fd00::3', change: 'added' },
  ]);
  const spec = bfd.spec('192.0.2.2');
  assert.equal(spec?.desiredMinTx, 50_000);
  assert.equal(spec?.requiredMinRx, 300_000);
  assert.equal(spec?.multiplier, 3);
  await owners.remove('operator');
  assert.equal(bfd.spec('192.0.2.2')?.desiredMinTx, 300_000);
  assert.deepEqual(bfd.keys(), ['192.0.2.2']);
});

test('what cannot be is refused with its place, and changes neither the sessions nor the disk', async () => {
  const { owners, bfd, store } = setUp(memory(), 2);
  await owners.put('speaker', [b]);
  const cases: readonly [string, string | undefined, string, readonly WantedSession[]][] = [
    ['bad-session', '1.interface', 'x', [c, { remote: 'fe80::1', ...timers }]],
    ['bad-session', '0.minTtl', 'x', [{ ...c, minTtl: 3 }]],
    [
      'bad-session',
      '0.auth.key',
      'x',
      [{ ...c, auth: { type: 'simple', keyId: 1, key: 'seventeen bytes!!' } }],
    ],
    ['duplicate-session', '1.remote', 'x', [c, { ...c, multiplier: 9 }]],
    ['conflict', 'auth', 'x', [{ ...b, auth: { type: 'simple', keyId: 1, key: 'k' } }]],
    ['too-many-sessions', 'sessions', 'x', [c, { ...c, remote: 'fd00::4' }]],
  ];
  for (const [code, field, owner, wanted] of cases) {
    const error = await refusal(owners.put(owner, wanted));
    assert.equal(error.code, code);
    assert.equal(error.field, field);
    assert.ok(!JSON.stringify(error).includes('seventeen'), 'no key in a refusal');
  }
  store.fail = true;
  assert.equal((await refusal(owners.put('x', [c]))).code, 'state-write-failed');
  assert.deepEqual(bfd.keys(), ['192.0.2.2']);
  assert.deepEqual([...store.records.keys()], ['speaker']);
  store.fail = false;
  for (let i = 1; i < 64; i++) await owners.put(`o${i}`, []);
  assert.equal((await refusal(owners.put('one-more', []))).code, 'too-many-owners');
});

test('what was kept comes back; what does not fit is left out and said', async () => {
  const store = memory({
    agent: [{ ...b, auth: { type: 'simple', keyId: 1, key: 'one' } }],
    speaker: [{ ...b, auth: { type: 'simple', keyId: 1, key: 'two' } }, c],
    wrong: [{ ...c, remote: 'fe80::1' }],
  });
  const { owners, bfd } = setUp(store);
  const problems = await owners.restore();
  assert.deepEqual(
    problems.map(({ name, error }) => [name, error.code]),
    [
      ['speaker', 'conflict'],
      ['wrong', 'bad-session'],
    ],
  );
  assert.deepEqual(owners.names(), ['agent']);
  assert.deepEqual(bfd.keys(), ['192.0.2.2']);
});

test('changes that come at once are done one after the other', async () => {
  const { owners, bfd } = setUp();
  await Promise.all([
    owners.put('a', [b]),
    owners.put('b', [c]),
    owners.put('a', []),
    refusal(owners.put('a', [{ ...b, remote: 'fe80::1' }])),
    owners.put('b', [b, c]),
  ]);
  assert.deepEqual(bfd.keys().sort(), ['192.0.2.2', 'fd00::3']);
  assert.equal(bfd.seen.length, 4);
});

test('over HTTP: keys are not shown, and bad bodies and names are refused with the field', async () => {
  const { owners } = setUp();
  const app = bfdApi({
    bfd: { sessions: async () => [], status: async () => ({}) as never },
    owners,
    feed: new Feed({ eventBuffer: 16, eventReaders: 1 }),
    requestBytes: 4096,
    about: () => ({ ready: true }),
    onError: (error) => assert.fail(String(error)),
  });
  const put = async (path: string, body: unknown) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await app.request(path, { method: 'PUT', body: text });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const auth = { type: 'keyed-sha1', keyId: 3, key: 'a secret' };
  assert.equal((await put('/v1/sessions/me', [{ ...b, auth }])).status, 200);
  const shown = await (await app.request('/v1/sessions/me')).text();
  assert.ok(!shown.includes('a secret'));
  assert.match(shown, /"key":"\(set\)"/);

  const cases: readonly [
    path: string,
    body: unknown,
    code: string,
    field: string,
    status: number,
  ][] = [
    ['/v1/sessions/me', '{', 'bad-request', '(body)', 400],
    ['/v1/sessions/me', {}, 'bad-request', '(body)', 400],
    ['/v1/sessions/me', [{ ...b, remote: 'nowhere' }], 'bad-request', '0.remote', 400],
    ['/v1/sessions/me', [{ ...b, remote: '192.0.2.02' }], 'bad-request', '0.remote', 400],
    ['/v1/sessions/me', [b, { ...c, txInterval: 3 }], 'bad-request', '1.txInterval', 400],
    ['/v1/sessions/me', [{ ...b, multiplier: 2.5 }], 'bad-request', '0.multiplier', 400],
    ['/v1/sessions/me', [{ ...b, txIntervalMs: 1 }], 'bad-request', '0.txIntervalMs', 400],
    [
      '/v1/sessions/me',
      [{ ...b, auth: { ...auth, key: '(set)' } }],
      'bad-request',
      '0.auth.key',
      400,
    ],
    ['/v1/sessions/..%2fme', [], 'bad-request', 'owner', 400],
    ['/v1/sessions/ME', [], 'bad-request', 'owner', 400],
    ['/v1/sessions/me', [b, ...Array.from({ length: 100 }, () => c)], 'body-too-large', '', 413],
    ['/v1/nothing', [], 'unknown-route', 'path', 404],
  ];
  for (const [path, body, code, field, status] of cases) {
    const answer = await put(path, body);
    const { error } = answer.body as { error: { code: string; field?: string } };
    assert.deepEqual([error.code, error.field ?? '', answer.status], [code, field, status]);
  }
  assert.deepEqual(owners.names(), ['me']);
  assert.equal((await app.request('/v1/sessions/you')).status, 404);
  assert.equal((await app.request('/v1/sessions/you', { method: 'DELETE' })).status, 404);
  assert.equal((await app.request('/v1/sessions/me', { method: 'DELETE' })).status, 200);
});
