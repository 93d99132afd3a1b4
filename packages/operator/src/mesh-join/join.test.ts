import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JoinToken } from '@causeway/mesh';
import { inspectCertificate } from '@causeway/pki';
import { secretValue } from '@causeway/resources';
import { TestCluster, uid } from '../../testing/join-world.ts';
import { OperatorError } from '../errors.ts';
import { acceptReturn, renewPeer, returnToken } from './by-hand.ts';
import { type JoiningOptions, type JoinStep, joinMesh, joinOneWay } from './joining.ts';
import { forgetPeer, leaveMesh, sweepPeers } from './leaving.ts';
import { recoverJoins } from './recovery.ts';
import { forgetTokens } from './tokens.ts';

const refusedWith = (code: string) => (error: unknown) => {
  assert.equal((error as { code?: unknown }).code, code, String(error));
  return true;
};

interface World extends AsyncDisposable {
  readonly east: TestCluster;
  readonly west: TestCluster;
  readonly token: JoinToken;
}

/** East invites, west joins. */
async function world(eastId = 1, westId = 2): Promise<World> {
  const east = await TestCluster.open('east', eastId);
  const west = await TestCluster.open('west', westId);
  const token = await east.invite('west');
  return {
    east,
    west,
    token,
    async [Symbol.asyncDispose]() {
      await east[Symbol.asyncDispose]();
      await west[Symbol.asyncDispose]();
    },
  };
}

/** Joins until this step, where the program stands still for ever. */
const dieAt = (step: JoinStep, token: JoinToken, options: JoiningOptions): Promise<void> =>
  new Promise((died, failed) => {
    const at = async (reached: JoinStep) => {
      if (reached !== step) return;
      died();
      await new Promise(() => {});
    };
    joinMesh(token, { ...options, at }).then(
      ({ type }) => failed(new Error(`it ended: ${type}`)),
      failed,
    );
  });

async function assertPeers({ east, west }: World): Promise<void> {
  for (const [own, peer] of [
    [east, west],
    [west, east],
  ] as const) {
    const object = await own.store.get('MeshPeer', { name: peer.name });
    assert.equal(object.spec.secretName, `mesh-${peer.name}`);
    const secret = await own.store.get('Secret', {
      namespace: 'kube-system',
      name: `mesh-${peer.name}`,
    });
    assert.equal(secretValue(secret, 'ca.crt'), peer.directory.trust);
    assert.match(secretValue(secret, 'tls.key') ?? '', /PRIVATE KEY/);
    const left = await own.kv.list('causeway/mesh/joins/');
    assert.equal(left.entries.length, 0);
    assert.deepEqual(await peer.etcd.auth.rolesOf(`remote-${own.name}`), [`remote-${own.name}`]);
  }
}

test('two clusters that fit become each other’s peers, once for a token', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const inviting = east.inviting(west);
  const report = await joinMesh(token, west.joining(east, inviting));
  assert.equal(report.type, 'joined');
  assert.equal(report.mine.length, 12);
  assert.equal(report.theirs?.length, 12);
  await assertPeers(all);
  const [eastAfter, westAfter] = [await east.dump(), await west.dump()];
  await assert.rejects(joinMesh(token, west.joining(east, inviting)), refusedWith('token-used'));
  const bearer = { tokenId: token.id, secret: token.secret };
  await assert.rejects(inviting.check(bearer, token.from), refusedWith('token-used'));
  // What was answered and lost may be asked again.
  await inviting.commit(bearer, []);
  assert.deepEqual([await east.dump(), await west.dump()], [eastAfter, westAfter]);
});

test('what one side alone sees wrong keeps both from writing', async () => {
  // West sees it at once; east when it is told who west is; east only when it has looked at west's store.
  const cases: [string, (all: World) => Promise<unknown>][] = [
    [
      'mine',
      ({ east, west, token }) =>
        joinMesh(
          token,
          west.joining(east, east.inviting(west), { view: west.view(east, { mtus: [9000] }) }),
        ),
    ],
    [
      'theirs',
      async ({ east, west, token }) => {
        await east.store.apply([
          {
            apiVersion: 'causeway.io/v1',
            kind: 'MeshPeer',
            metadata: { name: 'north' },
            spec: { id: 2, endpoints: ['https://192.0.2.9:2379'] },
          },
        ]);
        return joinMesh(token, west.joining(east, east.inviting(west)));
      },
    ],
    [
      'theirs',
      ({ east, west, token }) =>
        joinMesh(token, west.joining(east, east.inviting(west, { tunnelPorts: [4789] }))),
    ],
  ];
  for (const [side, join] of cases) {
    await using all = await world();
    const before = await all.west.dump();
    const report = (await join(all)) as Awaited<ReturnType<typeof joinMesh>>;
    assert.equal(report.type, 'refused');
    const rows = side === 'mine' ? report.mine : report.theirs;
    assert.equal(rows?.filter(({ state }) => state === 'failed').length, 1, side);
    assert.deepEqual(await all.west.dump(), before);
    const { keys } = (await all.east.dump()) as { keys: Record<string, string> };
    const written = Object.keys(keys).filter((key) =>
      /meshpeers\/-\/west|secrets|mesh\/joins/.test(key),
    );
    assert.deepEqual(written, []);
  }
});

test('a token of a wrong secret, another cluster or past its time does nothing', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const before = [await east.dump(), await west.dump()];
  const inviting = east.inviting(west);
  const options = west.joining(east, inviting);
  await assert.rejects(
    joinMesh({ ...token, secret: 'B'.repeat(43) }, options),
    refusedWith('unknown-token'),
  );
  await assert.rejects(joinMesh({ ...token, for: 'north' }, options), refusedWith('bad-token'));
  const { facts } = { facts: { ...token.from, name: 'north' } };
  await assert.rejects(
    inviting.check({ tokenId: token.id, secret: token.secret }, facts),
    refusedWith('unknown-token'),
  );
  west.now = new Date(west.now.getTime() + 61 * 60_000);
  await assert.rejects(joinMesh(token, options), refusedWith('bad-token'));
  west.now = new Date();
  east.now = new Date(east.now.getTime() + 61 * 60_000);
  await assert.rejects(joinMesh(token, options), refusedWith('token-expired'));
  east.now = new Date();
  assert.deepEqual([await east.dump(), await west.dump()], before);
  // A newer token makes the older one void.
  await east.invite('west');
  await assert.rejects(joinMesh(token, options), refusedWith('unknown-token'));
});

const outcome: Record<JoinStep, 'undone' | 'finished'> = {
  checked: 'undone',
  begun: 'undone',
  admitted: 'undone',
  prepared: 'undone',
  decided: 'finished',
  committed: 'finished',
};

for (const [step, expected] of Object.entries(outcome) as [JoinStep, 'undone' | 'finished'][]) {
  test(`who dies when it is ${step}: the join is ${expected}, on both sides`, async () => {
    await using all = await world();
    const { east, west, token } = all;
    const before = [await east.dump(), await west.dump()];
    const inviting = east.inviting(west);
    // The program stands still at this step for ever; its leases run out.
    await dieAt(step, token, west.joining(east, inviting));
    // While it is at work nobody else meddles.
    if (step !== 'checked') assert.deepEqual(await recoverJoins(west.recovery(() => inviting)), []);
    west.etcd.expireLeases();
    // The other side is away at first: nothing is decided that it would not agree with.
    const away = {
      commit: () => Promise.reject(new OperatorError('unreachable', 'away')),
      abort: () => Promise.reject(new OperatorError('unreachable', 'away')),
    };
    if (expected === 'finished') {
      const [waits] = await recoverJoins(west.recovery(() => away));
      assert.equal(waits?.what, 'waits');
    }
    const recovered = await recoverJoins(west.recovery(() => inviting));
    if (step !== 'checked')
      assert.deepEqual(
        recovered.map(({ what }) => what),
        [expected],
      );
    assert.deepEqual(await recoverJoins(west.recovery(() => inviting)), []);
    if (expected === 'finished') {
      await assertPeers(all);
      return;
    }
    assert.deepEqual([await east.dump(), await west.dump()], before);
    assert.equal((await joinMesh(token, west.joining(east, inviting))).type, 'joined');
    await assertPeers(all);
  });
}

test('an invitation that was prepared and never decided is forgotten when its time ends', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const before = await east.dump();
  const inviting = east.inviting(west);
  const dead = { ...inviting, commit: () => Promise.reject(new Error('cut')) };
  await dieAt('prepared', token, west.joining(east, inviting));
  assert.equal((await recoverJoins(east.recovery(() => dead as never)))[0]?.what, 'waits');
  east.now = new Date(east.now.getTime() + 61 * 60_000);
  assert.equal((await recoverJoins(east.recovery(() => dead as never)))[0]?.what, 'undone');
  assert.deepEqual(await east.dump(), before);
  // West decided nothing, and finds it so.
  west.etcd.expireLeases();
  assert.equal((await recoverJoins(west.recovery(() => inviting)))[0]?.what, 'undone');
});

test('a decided join that the other side has forgotten is undone', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const before = await west.dump();
  const inviting = east.inviting(west);
  await dieAt('decided', token, west.joining(east, inviting));
  await east.kv.deletePrefix('causeway/mesh/joins/');
  west.etcd.expireLeases();
  assert.equal((await recoverJoins(west.recovery(() => inviting)))[0]?.what, 'undone');
  const after = await west.dump();
  const tokens = (dump: Record<string, unknown>) =>
    Object.keys(dump.keys as object).filter((key) => !key.includes('/mesh/tokens/'));
  assert.deepEqual(tokens(after), tokens(before));
  assert.deepEqual(after.users, before.users);
});

test('who undoes a join without the rights to end its user leaves that to who has them', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const before = await west.dump();
  const inviting = east.inviting(west);
  await dieAt('decided', token, west.joining(east, inviting));
  await east.kv.deletePrefix('causeway/mesh/joins/');
  west.etcd.expireLeases();
  const operator = { ...west.recovery(() => inviting), auth: undefined, directory: undefined };
  assert.equal((await recoverJoins(operator))[0]?.what, 'undone');
  const { kv, directory } = west;
  const swept = await sweepPeers({ kv, auth: west.etcd.auth, directory, now: () => west.now });
  assert.deepEqual(swept.removed, ['east']);
  assert.deepEqual((await west.dump()).users, before.users);
  const given = directory.issued.filter(({ user }) => user === 'remote-east');
  assert.ok(given.length > 0 && given.every(({ revoked }) => revoked !== undefined));
});

test('what came with an invitation that nobody took goes when its time ends', async () => {
  await using east = await TestCluster.open('east', 1);
  const { kv, directory } = east;
  const { auth } = east.etcd;
  await east.invite('west');
  const minutes = (count: number) => new Date(east.now.getTime() + count * 60_000);
  await forgetTokens(kv, auth, minutes(59));
  assert.ok(await auth.rolesOf('remote-west'));
  await forgetTokens(kv, auth, minutes(61));
  assert.equal(await auth.rolesOf('remote-west'), undefined);
  const sweeping = { kv, auth, directory, now: () => minutes(62) };
  assert.deepEqual((await sweepPeers(sweeping)).removed, ['west']);
  assert.ok(directory.issued.every(({ user, revoked }) => user !== 'remote-west' || revoked));
  // Once is enough, and a new invitation is another.
  await forgetTokens(kv, auth, minutes(63));
  assert.deepEqual((await sweepPeers(sweeping)).removed, []);
  await east.invite('west');
  await forgetTokens(kv, auth, minutes(59));
  assert.ok(await auth.rolesOf('remote-west'));
});

test('a peer that joined keeps what came with its invitation, whatever else was not taken', async () => {
  await using all = await world();
  const { east, west, token } = all;
  await joinMesh(token, west.joining(east, east.inviting(west)));
  await east.invite('west');
  const now = new Date(east.now.getTime() + 61 * 60_000);
  await forgetTokens(east.kv, east.etcd.auth, now);
  const { kv, directory } = east;
  const swept = await sweepPeers({ kv, auth: east.etcd.auth, directory, now: () => now });
  assert.deepEqual(swept.removed, []);
  await assertPeers(all);
});

test('leave undoes it on both sides, and here when the other is gone', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const before = await west.dump();
  await joinMesh(token, west.joining(east, east.inviting(west)));
  const leaving = (client: () => { leave(name: string): Promise<{ userRemoved: boolean }> }) => ({
    kv: west.kv,
    cluster: 'west',
    auth: west.etcd.auth,
    directory: west.directory,
    now: () => west.now,
    client,
  });
  const told = await leaveMesh(
    'east',
    leaving(() => ({ leave: async (name) => ({ userRemoved: await east.forget(name) }) })),
  );
  assert.deepEqual(told.told, { type: 'told' });
  for (const own of [east, west]) {
    const { keys, users } = (await own.dump()) as { keys: object; users: string[] };
    const about = Object.keys(keys).filter((key) =>
      /meshpeers|secrets|mesh\/(peers|joins)/.test(key),
    );
    assert.deepEqual(about, []);
    assert.deepEqual(
      users.filter((user) => user.startsWith('remote-')),
      [],
    );
  }
  assert.deepEqual((await west.dump()).users, before.users);
  await assert.rejects(
    leaveMesh(
      'east',
      leaving(() => ({ leave: () => Promise.reject() })),
    ),
    refusedWith('unknown-peer'),
  );

  const again = await east.invite('west');
  await joinMesh(again, west.joining(east, east.inviting(west)));
  const alone = await leaveMesh(
    'east',
    leaving(() => ({ leave: () => Promise.reject(new OperatorError('unreachable', 'gone')) })),
  );
  assert.deepEqual(alone.told, { type: 'not-told', why: 'gone' });
  assert.ok(alone.userRemoved);
  assert.deepEqual((await west.store.list('MeshPeer')).items, []);
});

test('what a leave could not take back is noted until somebody has', async () => {
  await using all = await world();
  const { east, west, token } = all;
  await joinMesh(token, west.joining(east, east.inviting(west)));
  const { kv, directory } = west;
  const { auth } = west.etcd;
  const now = () => west.now;
  const noted = async () => (await kv.list('causeway/mesh/left/')).entries.map(({ key }) => key);
  const failing = { removePeer: () => Promise.reject(new Error('the disk is full')) };
  await assert.rejects(forgetPeer('east', { kv, auth, directory: failing, now }), /disk is full/);
  assert.deepEqual(await noted(), ['causeway/mesh/left/east']);
  assert.deepEqual((await sweepPeers({ kv, auth, directory, now })).removed, ['east']);
  assert.equal(await auth.rolesOf('remote-east'), undefined);
  assert.deepEqual(directory.clientsOf('east', west.now), []);
  assert.ok(await east.forget('west'));
  for (const own of [east, west])
    assert.deepEqual((await own.kv.list('causeway/mesh/left/')).entries, []);
});

test('by hand: one side, a token back, the other side; and new certificates later', async () => {
  await using all = await world();
  const { east, west, token } = all;
  const options = west.joining(east, east.inviting(west));
  const half = await joinOneWay(token, options);
  assert.equal(half.type, 'joined');
  assert.deepEqual((await east.store.list('MeshPeer')).items, []);
  assert.ok(half.offer);
  const back = returnToken(token, half.side, half.offer, [], west.now);
  const byHand = {
    kv: east.kv,
    store: east.store,
    cluster: 'east',
    now: () => east.now,
    uid,
    view: east.view(west),
    client: () => west.inviting(east),
  };
  const report = await acceptReturn(back, byHand);
  assert.equal(report.type, 'joined');
  await assertPeers(all);
  await assert.rejects(acceptReturn(back, byHand), refusedWith('token-used'));

  const before = await west.store.get('Secret', { namespace: 'kube-system', name: 'mesh-east' });
  const renew = await east.invite('west', 60, 'renew');
  const here = {
    ...byHand,
    kv: west.kv,
    store: west.store,
    cluster: 'west',
    view: west.view(east),
    client: () => east.inviting(west),
  };
  const renewed = await renewPeer(renew, here);
  assert.deepEqual([renewed.type, renewed.told?.type], ['joined', 'told']);
  const after = await west.store.get('Secret', { namespace: 'kube-system', name: 'mesh-east' });
  assert.notEqual(secretValue(after, 'tls.crt'), secretValue(before, 'tls.crt'));
  await assert.rejects(renewPeer(renew, here), refusedWith('token-used'));

  // Now that the new one is in use, the giver takes those before it back: its operator, or the next command there.
  const { kv, directory } = east;
  const sweeping = { kv, auth: east.etcd.auth, directory, now: () => east.now };
  assert.equal(directory.clientsOf('west', east.now).length, 2);
  assert.deepEqual(await sweepPeers(sweeping), { removed: [], renewed: ['west'] });
  const { serial } = inspectCertificate(secretValue(after, 'tls.crt') ?? '');
  assert.deepEqual(
    directory.clientsOf('west', east.now).map((each) => each.serial),
    [serial],
  );
  assert.deepEqual(await sweepPeers(sweeping), { removed: [], renewed: [] });
});

test('a renewal of which the giver hears nothing takes nothing back, neither old nor new', async () => {
  await using all = await world();
  const { east, west, token } = all;
  await joinMesh(token, west.joining(east, east.inviting(west)));
  const renew = await east.invite('west', 60, 'renew');
  const { kv, store, name: cluster } = west;
  const report = await renewPeer(renew, {
    ...{ kv, store, cluster, uid, now: () => west.now, view: west.view(east) },
    client: () => ({ renewed: () => Promise.reject(new Error('no way there')) }),
  });
  assert.deepEqual(report.told, { type: 'not-told', why: 'no way there' });
  const later = new Date(east.now.getTime() + 61 * 60_000);
  await forgetTokens(east.kv, east.etcd.auth, later);
  const { auth } = east.etcd;
  const swept = await sweepPeers({ ...east, auth, now: () => later });
  assert.deepEqual(swept, { removed: [], renewed: [] });
  assert.equal(east.directory.clientsOf('west', later).length, 2);
});
