import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { test } from 'node:test';
import { joinsWatches, type Kv, KvError } from '@causeway/etcd';
import { Authority } from '@causeway/pki';
import { ExposedStore } from '../../testing/exposed-store.ts';
import { peerUser, rightsToTry } from '../join/roles.ts';
import { clusterConfigKey } from '../keys.ts';
import { dismissPeer } from './auth.ts';

const refused = async (what: Promise<unknown>, codes = ['permission-denied']): Promise<void> => {
  await assert.rejects(what, (error: unknown) => {
    assert.ok(error instanceof KvError, String(error));
    assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
    return true;
  });
};

/** The handshake fails, however often it is tried. */
const turnedAway = (kv: Kv): Promise<void> =>
  refused(kv.get('cilium/.heartbeat', { deadline: 2500 }), ['unavailable', 'deadline']);

async function connected(kv: Kv): Promise<void> {
  for (let i = 0; i < 600 && !kv.health().connected; i++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(kv.health().connected, String(kv.health().lastError?.message));
}

const watchOnce = async (kv: Kv, prefix: string): Promise<string> => {
  for await (const event of kv.watch(prefix)) {
    if (event.type === 'synced') return 'synced';
    if (event.type === 'disconnected') return event.error.code;
  }
  return 'ended';
};

test('a peer reads what peers may, directly and by the proxy, and nothing beyond', async () => {
  await using store = await ExposedStore.start('east');
  await using own = store.connect('causeway-east');
  await connected(own);
  await own.put(clusterConfigKey('east'), '{"id":1}');
  await own.put(clusterConfigKey('north'), '{"id":3}');
  await own.put('cilium/state/nodes/v1/east/a', '{}');
  await own.put('causeway/registry/core/secrets/kube-system/x', 'secret');
  await refused(own.put('elsewhere/x', '1'));
  const west = await store.admit('west');
  const { endpoint } = await store.proxy('west');
  for (const at of [store.endpoint, endpoint]) {
    await using kv = store.connectAs(west, at);
    await connected(kv);
    const { readable, unreadable, unwritable } = rightsToTry('east');
    for (const range of readable)
      await (range.type === 'key' ? kv.get(range.key) : kv.list(range.prefix));
    assert.equal((await kv.get(clusterConfigKey('east')))?.text, '{"id":1}');
    for (const range of unreadable)
      await refused(range.type === 'key' ? kv.get(range.key) : kv.list(range.prefix));
    for (const prefix of ['cilium/state', 'cilium/', 'cilium/synced/east', 'cilium/synced/north/'])
      await refused(kv.list(prefix));
    await refused(kv.get(clusterConfigKey('north')));
    await refused(kv.get('causeway/registry/core/secrets/kube-system/x'));
    for (const key of unwritable) {
      await refused(kv.put(key, '1'));
      await refused(kv.delete(key));
    }
    // A second watch shows which of the two the proxy is: Cilium's readers must not be behind it.
    const tls = { ca: store.directory.trust, cert: west.certificate, key: west.key };
    const reached = { endpoints: [at], tls, deadline: 20_000 };
    assert.equal(await joinsWatches(reached, 'cilium/state/nodes/v1/east/'), at === endpoint);
    assert.equal(await watchOnce(kv, 'cilium/state/nodes/v1/east/'), 'synced', at);
    assert.equal(await watchOnce(kv, 'causeway/registry/'), 'permission-denied', at);
    // What is written is seen at once by who watches through either.
    await using watch = kv.watch('cilium/state/nodes/v1/east/');
    for await (const event of watch) {
      if (event.type === 'synced') await own.put('cilium/state/nodes/v1/east/b', at);
      if (event.type === 'put' && event.entry.text === at) break;
    }
  }
  // The proxy takes this peer's clients only: not another peer's, and not the store's own.
  const north = await store.admit('north');
  await using stranger = store.connectAs(north, endpoint);
  await turnedAway(stranger);
});

/** Watches that the store itself serves, by its metrics. */
function watchers(store: ExposedStore): Promise<number> {
  const { caFile, certFile, keyFile } = store.directory.userFiles('root');
  const [ca, cert, key] = [caFile, certFile, keyFile].map((file) => readFileSync(file, 'utf8'));
  return new Promise((resolve, reject) => {
    const options = { ca, cert, key, agent: false } as const;
    get(new URL('/metrics', store.endpoint), options, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += String(chunk);
      resolve(Number(/^etcd_debugging_mvcc_watcher_total (\d+)/m.exec(text)?.[1]));
    }).on('error', reject);
  });
}

test('however many nodes of a peer watch through its proxy, the store sees one', async () => {
  await using store = await ExposedStore.start('east');
  const west = await store.admit('west');
  const { endpoint } = await store.proxy('west');
  const readers: Kv[] = [];
  const join = async () => {
    const kv = store.connectAs(west, endpoint);
    readers.push(kv);
    await connected(kv);
    const watch = kv.watch('cilium/state/ip/v1/default/')[Symbol.asyncIterator]();
    for (let event = await watch.next(); event.value?.type !== 'synced'; )
      event = await watch.next();
  };
  try {
    await join();
    const one = await watchers(store);
    assert.ok(one >= 1);
    for (let i = 0; i < 11; i++) await join();
    // A watch that begins behind the others stands alone until it has caught up.
    for (let i = 0; i < 200 && (await watchers(store)) > one; i++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(await watchers(store), one);
  } finally {
    for (const kv of readers) await kv[Symbol.asyncDispose]();
  }
});

test('revoked, expired and unknown certificates are refused, and a dismissed user is', async () => {
  await using store = await ExposedStore.start('east');
  const now = new Date();
  const west = await store.admit('west');
  await using kv = store.connectAs(west);
  await kv.get('cilium/.heartbeat');

  // Rights are taken at once, from connections that stand too.
  {
    await using auth = store.auth();
    await dismissPeer(auth, 'west');
    assert.equal(await auth.rolesOf(peerUser('west')), undefined);
    assert.equal(await auth.permissionsOf(peerUser('west')), undefined);
  }
  await refused(kv.get('cilium/.heartbeat'), ['permission-denied', 'unauthenticated', 'invalid']);
  await store.admit('west');
  await kv.get('cilium/.heartbeat');

  // A new handshake with what was revoked fails, without a restart of etcd.
  await store.directory.revokeClients('west', now);
  await using again = store.connectAs(west);
  await turnedAway(again);
  await using renewed = store.connectAs(await store.directory.issuePeer('west', now));
  await renewed.get('cilium/.heartbeat');

  // The peer's proxy is no holder of what was taken back.
  const given = await store.directory.issuePeer('west', now);
  const { endpoint } = await store.proxy('west');
  await using through = store.connectAs(given, endpoint);
  await connected(through);
  await through.get('cilium/.heartbeat');
  await using shut = store.connectAs(west, endpoint);
  await turnedAway(shut);

  const past = new Date(now.getTime() - 398 * 86_400_000);
  const elsewhere = await Authority.create('elsewhere', { now, days: 1 });
  const other = await elsewhere.authority.issueClient(peerUser('west'), { now, days: 1 });
  await using expired = store.connectAs(await store.directory.issuePeer('west', past));
  await turnedAway(expired);
  await using foreign = store.connectAs(other);
  await turnedAway(foreign);
});

test('a change of authority keeps those who know the old one until it is retired', async () => {
  await using store = await ExposedStore.start('east');
  const now = new Date();
  const trustBefore = store.directory.trust;
  const before = await store.admit('west');
  await store.directory.rotate(now);
  const after = await store.directory.issuePeer('west', now);
  assert.deepEqual(store.directory.behind(now), []);
  // Authorities are read when etcd starts: until then it takes the old one's certificates only.
  {
    await using early = store.connectAs(after);
    await turnedAway(early);
    await using still = store.connectAs(before);
    await still.get('cilium/.heartbeat', { deadline: 20_000 });
  }
  await store.etcd.stop();
  store.etcd.start();
  for (const credentials of [before, after]) {
    await using kv = store.connectAs(credentials);
    await kv.get('cilium/.heartbeat', { deadline: 20_000 });
  }
  // Who knows only the old authority still takes the server for what it is.
  await using old = store.connectAs(before, store.endpoint, trustBefore);
  await old.get('cilium/.heartbeat', { deadline: 20_000 });
  await store.directory.retire(now, { force: false });
  await store.etcd.stop();
  store.etcd.start();
  await using renewed = store.connectAs(after);
  await renewed.get('cilium/.heartbeat', { deadline: 20_000 });
  await using late = store.connectAs(before);
  await turnedAway(late);
});
