/** What every implementation of users and roles does: run over the memory store and over a real etcd. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type StoreAuth, settleAuth } from '../src/auth-types.ts';
import { KvError } from '../src/errors.ts';
import type { Kv } from '../src/types.ts';

export interface GuardedStore extends AsyncDisposable {
  readonly auth: StoreAuth;
  connect(user: 'root' | 'reader' | 'writer' | 'nobody'): Kv;
}

const code =
  (...expected: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof KvError && expected.includes(error.code), String(error));
    return true;
  };
const denied = code('permission-denied');

const roles = [
  {
    name: 'reader',
    permissions: [
      { access: 'read', range: { type: 'prefix', prefix: 'shared/' } },
      { access: 'read', range: { type: 'prefix', prefix: 'shared0' } },
      { access: 'read', range: { type: 'key', key: 'config/own' } },
    ],
  },
  {
    name: 'writer',
    permissions: [
      { access: 'write', range: { type: 'prefix', prefix: 'inbox/' } },
      { access: 'readwrite', range: { type: 'prefix', prefix: 'own/' } },
    ],
  },
] as const;

const users = [
  { name: 'root', roles: ['root'] },
  { name: 'reader', roles: ['reader'] },
  { name: 'writer', roles: ['writer'] },
  { name: 'nobody', roles: [] },
];

export function authSuite(name: string, open: () => Promise<GuardedStore>): void {
  test(`${name}: users, roles and their ranges`, async () => {
    await using store = await open();
    const { auth } = store;
    await assert.rejects(auth.enable(), code('invalid'));
    await auth.addRole('root');
    await settleAuth(auth, { roles, users });
    await settleAuth(auth, { roles, users });
    assert.deepEqual([...(await auth.users())].sort(), ['nobody', 'reader', 'root', 'writer']);
    assert.deepEqual([...(await auth.roles())].sort(), ['reader', 'root', 'writer']);
    assert.deepEqual(await auth.rolesOf('reader'), ['reader']);
    assert.equal(await auth.rolesOf('unknown'), undefined);
    assert.equal(await auth.permissionsOf('unknown'), undefined);
    const texts = (await auth.permissionsOf('writer'))?.map((each) => JSON.stringify(each)).sort();
    assert.deepEqual(texts, roles[1].permissions.map((each) => JSON.stringify(each)).sort());
    await assert.rejects(auth.giveRole('unknown', 'reader'), KvError);
    await assert.rejects(auth.giveRole('reader', 'unknown'), KvError);
    await auth.deleteUser('unknown');
    await auth.deleteRole('unknown');
    await auth.takeRole('nobody', 'reader');
    await auth.withdraw('writer', { type: 'key', key: 'unknown' });
    await auth.enable();
    await auth.enable();

    await using root = store.connect('root');
    await using reader = store.connect('reader');
    await using writer = store.connect('writer');
    await using nobody = store.connect('nobody');
    for (const key of ['shared/a', 'shared0/b', 'config/own', 'config/other', 'own/x'])
      await root.put(key, key);

    assert.equal((await reader.list('shared/')).entries.length, 1);
    assert.equal((await reader.get('config/own'))?.text, 'config/own');
    // Ranges that touch are one.
    assert.equal((await reader.list('shared0/')).entries.length, 1);
    await assert.rejects(reader.list('shared'), denied);
    await assert.rejects(reader.list(''), denied);
    await assert.rejects(reader.list('config/own'), denied);
    await assert.rejects(reader.get('config/other'), denied);
    await assert.rejects(reader.put('shared/a', ''), denied);
    await assert.rejects(reader.deletePrefix('shared/'), denied);
    await assert.rejects(nobody.get('shared/a'), denied);

    await writer.put('inbox/1', '');
    await assert.rejects(writer.get('inbox/1'), denied);
    assert.equal((await writer.get('own/x'))?.text, 'own/x');
    // Both branches of a transaction count, and what it compares is read.
    const put = { type: 'put', key: 'own/y', value: '' } as const;
    const foreign = { type: 'put', key: 'shared/a', value: '' } as const;
    const never = { type: 'version', key: 'own/x', operator: '<', revision: 0 } as const;
    await assert.rejects(
      writer.txn({ compare: [never], success: [foreign], failure: [put] }),
      denied,
    );
    await assert.rejects(
      writer.txn({ compare: [{ ...never, key: 'shared/a' }], success: [put] }),
      denied,
    );
    assert.equal(await root.get('own/y'), undefined);
    assert.equal((await root.get('shared/a'))?.text, 'shared/a');

    const seen = async (kv: Kv, prefix: string): Promise<string> => {
      for await (const event of kv.watch(prefix)) {
        if (event.type === 'synced') return 'synced';
        if (event.type === 'disconnected') return event.error.code;
      }
      return 'ended';
    };
    assert.equal(await seen(reader, 'shared/'), 'synced');
    assert.equal(await seen(reader, 'own/'), 'permission-denied');
  });

  test(`${name}: rights change under who uses them, and are exactly what was said last`, async () => {
    await using store = await open();
    const { auth } = store;
    await auth.addRole('root');
    await settleAuth(auth, { roles, users });
    await auth.enable();
    await using root = store.connect('root');
    await using reader = store.connect('reader');
    await root.put('shared/a', '1');

    // While roles change, calls of others are answered, or may be tried again.
    let ended = false;
    const calling = (async () => {
      let answered = 0;
      while (!ended) {
        try {
          await reader.get('shared/a');
          answered++;
        } catch (error) {
          assert.ok(error instanceof KvError && error.retryable, String(error));
        }
      }
      return answered;
    })();
    for (let i = 0; i < 10; i++) {
      await auth.grant('writer', { access: 'read', range: { type: 'key', key: `extra/${i}` } });
    }
    ended = true;
    assert.ok((await calling) > 0);

    await auth.grant('reader', {
      access: 'readwrite',
      range: { type: 'prefix', prefix: 'shared/' },
    });
    await reader.put('shared/b', '1');
    await settleAuth(auth, { roles, users });
    await assert.rejects(reader.put('shared/b', '2'), denied);
    assert.equal((await auth.permissionsOf('writer'))?.length, 2);
    await auth.giveRole('reader', 'writer');
    await reader.put('own/z', '');
    await settleAuth(auth, { roles, users });
    await assert.rejects(reader.put('own/z', ''), denied);

    // A watch is judged when it begins: one that runs outlives its user.
    await using watch = reader.watch('shared/');
    let dismissed = false;
    for await (const event of watch) {
      // The list is in before the stream stands: what comes by the stream shows that it does.
      if (event.type === 'synced' && !dismissed) await root.put('shared/early', '1');
      if (event.type !== 'put') continue;
      if (event.entry.key === 'shared/early' && !dismissed) {
        dismissed = true;
        await auth.deleteUser('reader');
        await root.put('shared/late', '1');
      }
      if (event.entry.key === 'shared/late') break;
    }
    await assert.rejects(
      reader.get('shared/a'),
      code('permission-denied', 'unauthenticated', 'internal'),
    );
  });
}
