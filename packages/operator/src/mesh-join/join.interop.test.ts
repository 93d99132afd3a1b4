import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { GuardedListener } from '@causeway/daemon';
import type { Kv, StoreAuth } from '@causeway/etcd';
import { admitPeer, clusterConfigKey, type JoinToken } from '@causeway/mesh';
import { ExposedStore } from '@causeway/mesh/testing';
import { etcdStore } from '@causeway/resources';
import { uid } from '../../testing/join-world.ts';
import { JoinClient } from './client.ts';
import { joinApi, listenForJoins } from './endpoint.ts';
import { readOwnSide } from './facts.ts';
import { Inviting } from './inviting.ts';
import { type JoiningOptions, type JoinStep, joinMesh } from './joining.ts';
import { forgetPeer, leaveMesh } from './leaving.ts';
import { recoverJoins } from './recovery.ts';
import { giveToken } from './tokens.ts';
import { viewPeer } from './view.ts';

/** East invites, west joins: real etcds with TLS, certificates and users, and a real join endpoint before east's. */
let east: ExposedStore;
let west: ExposedStore;
let endpoint: GuardedListener;
let url: string;
const now = () => new Date();
const open: AsyncDisposable[] = [];

const asRoot = (store: ExposedStore): { kv: Kv; auth: StoreAuth } => {
  const made = { kv: store.connect('root'), auth: store.auth() };
  open.push(made.kv, made.auth);
  return made;
};

before(async () => {
  east = await ExposedStore.start('east');
  west = await ExposedStore.start('west');
  for (const [store, id] of [
    [east, 1],
    [west, 2],
  ] as const) {
    const { kv } = asRoot(store);
    const config = { id, capabilities: { maxConnectedClusters: 255 } };
    await kv.put(clusterConfigKey(store.cluster), JSON.stringify(config));
  }
  // As our own user, which has no rights over users.
  const kv = east.connect('causeway-east');
  open.push(kv);
  const inviting = new Inviting({
    kv,
    store: etcdStore(kv),
    cluster: 'east',
    now,
    uid,
    view: viewPeer,
  });
  const leave = async (peer: string) => {
    await using auth = east.auth();
    return { userRemoved: await forgetPeer(peer, { kv, auth, directory: east.directory, now }) };
  };
  const renewed: typeof inviting.renewed = (bearer) => inviting.renewed(bearer);
  const onError = (error: unknown) => assert.fail(String(error));
  const api = joinApi({ inviting, leave, renewed, onError });
  const { server, trust, revoked } = east.directory.serverFiles();
  endpoint = await listenForJoins(api, {
    address: '127.0.0.1',
    port: 0,
    advertise: [],
    certFile: server.certificate,
    keyFile: server.key,
    caFile: trust,
    revokedFile: revoked,
  });
  url = `https://127.0.0.1:${endpoint.port}`;
});

after(async () => {
  for (const each of open) await each[Symbol.asyncDispose]();
  await endpoint?.[Symbol.asyncDispose]();
  await east?.[Symbol.asyncDispose]();
  await west?.[Symbol.asyncDispose]();
});

async function invite(): Promise<JoinToken> {
  const { kv, auth } = asRoot(east);
  await admitPeer(auth, 'east', 'west');
  const { certificate, key } = await east.directory.issuePeer('west', now());
  const { facts } = await readOwnSide(kv, etcdStore(kv), 'east');
  const offer = { endpoints: [east.endpoint], ca: east.directory.trust, certificate, key };
  const accept = new Set<never>();
  const about = { type: 'invite', peer: 'west', join: [url], minutes: 10, accept } as const;
  return giveToken(kv, { ...about, from: facts, offer, now: now() });
}

function joining(at?: JoiningOptions['at']): JoiningOptions {
  const { kv, auth } = asRoot(west);
  return {
    kv,
    store: etcdStore(kv),
    auth,
    directory: west.directory,
    own: { endpoints: [west.endpoint], join: [] },
    accept: new Set(),
    now,
    uid,
    view: viewPeer,
    client: (options) => new JoinClient(options),
    ...(at === undefined ? {} : { at }),
  };
}

/** Everything that stands in a store and its users, but the tokens. */
async function dump(store: ExposedStore): Promise<unknown> {
  const { kv, auth } = asRoot(store);
  const { entries } = await kv.list('');
  const keys = entries.map(({ key }) => key).filter((key) => !/mesh\/(tokens|at-work)\//.test(key));
  return { keys, users: await auth.users(), roles: await auth.roles() };
}

const outcomes: [JoinStep, 'undone' | 'finished'][] = [
  ['begun', 'undone'],
  ['admitted', 'undone'],
  ['prepared', 'undone'],
  ['decided', 'finished'],
  ['committed', 'finished'],
];

for (const [step, expected] of outcomes) {
  test(`real stores: who dies when it is ${step} leaves a join that is ${expected}`, async () => {
    const token = await invite();
    const before = [await dump(east), await dump(west)];
    await new Promise<void>((died, failed) => {
      const at = async (reached: JoinStep) => {
        if (reached !== step) return;
        died();
        await new Promise(() => {});
      };
      joinMesh(token, joining(at)).catch(failed);
    });
    const { kv, auth } = asRoot(west);
    const client = (options: ConstructorParameters<typeof JoinClient>[0]) =>
      new JoinClient(options);
    const recovery = { kv, auth, directory: west.directory, now, client, join: [] };
    assert.deepEqual(await recoverJoins(recovery), []);
    // Its lease runs out.
    await kv.deletePrefix('causeway/mesh/at-work/');
    const [recovered] = await recoverJoins(recovery);
    assert.equal(recovered?.what, expected, String(recovered?.why));
    if (expected === 'undone') {
      assert.deepEqual([await dump(east), await dump(west)], before);
      return;
    }
    const { kv: eastKv } = asRoot(east);
    for (const each of [eastKv, kv]) {
      assert.equal((await etcdStore(each).list('MeshPeer')).items.length, 1);
      assert.equal((await each.list('causeway/mesh/joins/')).entries.length, 0);
    }
    // West's certificate says who leaves; east forgets it too.
    const left = await leaveMesh('east', { ...recovery, cluster: 'west' });
    assert.deepEqual(left, { peer: 'east', told: { type: 'told' }, userRemoved: true });
    for (const each of [eastKv, kv])
      assert.equal((await etcdStore(each).list('MeshPeer')).items.length, 0);
  });
}

test('only the peer itself can say that it leaves', async () => {
  const old = await east.directory.issuePeer('west', now());
  await east.directory.revokeClients('west', now());
  const token = await invite();
  assert.equal((await joinMesh(token, joining())).type, 'joined');
  const { kv, auth } = asRoot(west);
  const stranger = await east.admit('north');
  const asStranger = new JoinClient({ urls: [url], ca: east.directory.trust, ...stranger });
  await assert.rejects(asStranger.leave('west'), /only west itself/);
  const nobody = new JoinClient({ urls: [url], ca: east.directory.trust });
  await assert.rejects(nobody.leave('west'), /only west itself/);
  const asBefore = new JoinClient({ urls: [url], ca: east.directory.trust, ...old });
  await assert.rejects(asBefore.leave('west'), /only west itself/);
  const unknownCa = new JoinClient({ urls: [url], ca: west.directory.trust });
  await assert.rejects(unknownCa.leave('west'), /does not answer/);
  const { kv: eastKv } = asRoot(east);
  assert.equal((await etcdStore(eastKv).list('MeshPeer')).items.length, 1);
  const client = (options: ConstructorParameters<typeof JoinClient>[0]) => new JoinClient(options);
  const base = { kv, auth, directory: west.directory, now, client, cluster: 'west' };
  const left = await leaveMesh('east', base);
  assert.deepEqual(left, { peer: 'east', told: { type: 'told' }, userRemoved: true });
  assert.equal((await etcdStore(eastKv).list('MeshPeer')).items.length, 0);
});
