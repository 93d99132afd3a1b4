import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { connectKv, systemClock } from '@causeway/etcd';
import { clusterConfigKey, openToken, PeerDirectory, type PeerList } from '@causeway/mesh';
import { type Secret, secretValue } from '@causeway/resources';
import { MeshSide } from '../../testing/mesh-side.ts';

let east: MeshSide;
let west: MeshSide;

before(async () => {
  [east, west] = await Promise.all([MeshSide.start('east', 1), MeshSide.start('west', 2)]);
  for (const [side, second] of [
    [east, 1],
    [west, 2],
  ] as const) {
    await side.store.apply([
      {
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumPodIPPool',
        metadata: { name: 'default' },
        spec: { ipv4: { cidrs: [`10.${second}.0.0/16`], maskSize: 24 } },
      },
    ]);
  }
  await Promise.all([east.startOperator(), west.startOperator()]);
});

after(async () => {
  await east?.[Symbol.asyncDispose]();
  await west?.[Symbol.asyncDispose]();
});

interface Token {
  readonly token: string;
  readonly code: string;
}

const invite = async (...more: string[]): Promise<Token> =>
  JSON.parse(await east.done('token', '--for', 'west', '--json', ...more)) as Token;

const join = ({ token, code }: Token, ...more: string[]) =>
  west.run('join', token, '--code', code, ...more);

/** What a side holds about another, by key and user. */
async function about(side: MeshSide): Promise<string[]> {
  await using auth = side.auth();
  const { entries } = await side.kv.list('causeway/', { keysOnly: true });
  const keys = entries
    .map(({ key }) => key)
    .filter((key) => /meshpeers|secrets|mesh\/(peers|joins|left)/.test(key));
  return [...keys, ...(await auth.users()).filter((user) => user.startsWith('remote-'))];
}

function tlsOf(secret: Secret) {
  const text = (name: string) => secretValue(secret, name) ?? '';
  return { ca: text('ca.crt'), cert: text('tls.crt'), key: text('tls.key') };
}

test('a newer invitation takes back what came with the one before', async () => {
  const offered = ({ token, code }: Token) => openToken(token, code).offer;
  const first = offered(await invite());
  const second = offered(await invite());
  const connect = ({ ca, certificate: cert, key }: typeof first) =>
    connectKv({ endpoints: [east.etcd.endpoint], tls: { ca, cert, key }, deadline: 3_000 });
  await using taken = connect(first);
  await assert.rejects(taken.get(clusterConfigKey('east')));
  await using good = connect(second);
  assert.ok(await good.get(clusterConfigKey('east')));
});

test('an invitation is taken once, and both sides read each other by what they got', async () => {
  const token = await invite();
  const wrong = await join({ ...token, code: 'AAAAA-AAAAA-AAAAA-AAAAA' });
  assert.equal(wrong.code, 2, wrong.err);
  assert.match(wrong.err, /code is not the right one/);
  const at = Math.floor(token.token.length / 2);
  const letter = token.token[at] === 'x' ? 'y' : 'x';
  const tampered = `${token.token.slice(0, at)}${letter}${token.token.slice(at + 1)}`;
  assert.match((await join({ ...token, token: tampered })).err, /cannot be opened/);
  assert.deepEqual(await about(west), []);

  const { code, out, err } = await join(token);
  assert.equal(code, 0, `${err}${out}`);
  assert.match(out, /east as west sees it:.*west as east sees it:.*west and east are joined/s);
  for (const [own, peer] of [
    [east, west],
    [west, east],
  ] as const) {
    const object = await own.store.get('MeshPeer', { name: peer.name });
    assert.deepEqual(object.spec.endpoints, [peer.etcd.endpoint]);
    const ref = { namespace: 'kube-system', name: object.spec.secretName ?? '' };
    const secret = await own.store.get('Secret', ref);
    await using kv = connectKv({ endpoints: object.spec.endpoints, tls: tlsOf(secret) });
    assert.ok(await kv.get(clusterConfigKey(peer.name)));
    await assert.rejects(kv.list('causeway/registry/'), /permission denied/);
  }
  assert.deepEqual(
    (await about(west)).filter((key) => key.includes('/joins/')),
    [],
  );

  const again = await join(token);
  assert.equal(again.code, 4, again.err);
  assert.match(again.err, /used the token already/);
  assert.equal((await east.run('token', '--for', 'west')).code, 4);
  const resumed = await west.done('join', '--resume');
  assert.match(resumed, /no join was interrupted/);
});

test('renewed, the former certificates are taken back once the new ones are in use', async () => {
  const held = () => west.store.get('Secret', { namespace: 'kube-system', name: 'mesh-east' });
  const before = await held();
  const renewed = JSON.parse((await join(await invite('--renew'), '--json')).out);
  assert.deepEqual([renewed.type, renewed.told], ['joined', { type: 'told' }]);
  const after = await held();
  assert.notEqual(secretValue(after, 'tls.crt'), secretValue(before, 'tls.crt'));
  for (const [secret, good] of [
    [before, false],
    [after, true],
  ] as const) {
    await using kv = connectKv({
      endpoints: [east.etcd.endpoint],
      tls: tlsOf(secret),
      deadline: 3000,
    });
    const asked = kv.get(clusterConfigKey('east'));
    if (good) assert.ok(await asked);
    else await assert.rejects(asked);
  }
});

test('leave takes it back on both sides', async () => {
  const report = JSON.parse(await west.done('leave', 'east', '--json'));
  assert.deepEqual(report, { peer: 'east', told: { type: 'told' }, userRemoved: true });
  assert.deepEqual(await about(west), []);
  // East's operator has the authority's key: nothing is left for the next command.
  assert.deepEqual(await about(east), []);
  const { store } = JSON.parse(await east.done('expose', '--json'));
  assert.deepEqual(store.removed, []);
  assert.equal((await west.run('leave', 'east')).code, 3);
});

test('what does not fit is a table, and neither side has written anything', async () => {
  const users = await about(west);
  const taken = {
    apiVersion: 'causeway.io/v1',
    kind: 'MeshPeer',
    metadata: { name: 'north' },
    spec: { id: 2, endpoints: ['https://127.0.0.1:1'] },
  };
  // East alone knows that the id is another's.
  await east.store.apply([taken]);
  const clash = await join(await invite());
  assert.equal(clash.code, 4);
  assert.match(clash.out, /id +failed +1 +2 +id 2 is north's, and west has it too/);
  await east.store.delete('MeshPeer', { name: 'north' });

  await west.store.apply([
    {
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumPodIPPool',
      metadata: { name: 'second' },
      spec: { ipv4: { cidrs: ['10.1.128.0/18'], maskSize: 24 } },
    },
  ]);
  const overlap = await join(await invite(), '--json');
  assert.equal(overlap.code, 4);
  const rows = JSON.parse(overlap.out).mine as { check: string; state: string; reason: string }[];
  const failed = rows.filter(({ state }) => state === 'failed');
  assert.deepEqual(
    failed.map(({ check }) => check),
    ['addresses'],
  );
  assert.match(failed[0]?.reason ?? '', /10\.1\.0\.0\/16 .*of east.*10\.1\.128\.0\/18 .*of west/);
  await west.store.delete('CiliumPodIPPool', { name: 'second' });

  // West's way to east works; east's to west does not.
  const noWay = await join(await invite(), '--endpoints', 'https://127.0.0.1:1');
  assert.equal(noWay.code, 4);
  assert.match(noWay.out, /west as east sees it:.*reachable +failed .*ECONNREFUSED/s);
  assert.deepEqual(await about(west), users);
  assert.deepEqual(
    (await about(east)).filter((key) => !key.startsWith('remote-')),
    [],
  );
});

test('a cluster that runs Cilium is given files, which our own reader of such files takes', async () => {
  const out = joinPath(east.directory, 'for-north');
  const first = JSON.parse(await east.done('invite', 'north', '--out', out, '--at', out, '--json'));
  assert.deepEqual(first.files, [
    'east',
    'east.etcd-client-ca.crt',
    'east.etcd-client.crt',
    'east.etcd-client.key',
  ]);
  const read = async () => {
    const { promise, resolve } = Promise.withResolvers<PeerList>();
    await using _source = new PeerDirectory({
      directory: out,
      clock: systemClock,
      onList: resolve,
    });
    const { peers, bad } = await promise;
    assert.deepEqual([bad, peers.map(({ name }) => name)], [[], ['east']]);
    const { endpoints, tls = {} } = peers[0]!;
    const [ca, cert, key] = [tls.caFile, tls.certFile, tls.keyFile].map((file) =>
      readFileSync(file ?? '', 'utf8'),
    );
    return connectKv({ endpoints, tls: { ca: ca!, cert: cert!, key: key! }, deadline: 3000 });
  };
  await using before = await read();
  assert.ok(await before.get(clusterConfigKey('east')));
  await assert.rejects(before.list('causeway/registry/'), /permission denied/);

  await east.done('invite', 'north', '--out', out, '--at', out);
  const { revoked } = JSON.parse(await east.done('revoke', 'north', '--json'));
  assert.equal(revoked.length, 1);
  await using after = await read();
  assert.ok(await after.get(clusterConfigKey('east')));
  {
    await using proxy = await east.proxy('north');
    const offer = ['invite', 'north', '--out', out, '--at', out];
    // It is out of reach until it listens: then it is only said that nobody has looked at it.
    const told = async () => east.run(...offer, '--endpoints', proxy.endpoint);
    let refused = await told();
    for (let i = 0; i < 20 && refused.code === 0; i++) refused = await told();
    assert.equal(refused.code, 2, refused.out);
    assert.match(refused.err, /is etcd's grpc-proxy.*name the store itself/s);
    const away = await east.done(
      ...offer,
      '--endpoints',
      `${east.etcd.endpoint},https://127.0.0.1:1`,
    );
    assert.match(away, /^https:\/\/127\.0\.0\.1:1 was not reached from here/m);
  }
  await east.done('leave', 'north');
  assert.equal((await east.run('revoke', 'north')).code, 3);
});

test('by hand, renewed, and left while the other side is gone', async () => {
  await east.stopOperator();
  const token = await invite();
  const unreachable = await join(token);
  assert.equal(unreachable.code, 5, unreachable.err);
  assert.match(unreachable.err, /--one-way/);
  assert.deepEqual(await about(west), []);
  const half = await join(token, '--one-way', '--json');
  assert.equal(half.code, 0, half.err);
  const back = JSON.parse(half.out) as Token;
  const whole = await east.done('join', back.token, '--code', back.code);
  assert.match(whole, /east and west are joined/);
  assert.equal((await east.run('join', back.token, '--code', back.code)).code, 4);

  const before = await west.store.get('Secret', { namespace: 'kube-system', name: 'mesh-east' });
  const renewed = await join(await invite('--renew'));
  assert.equal(renewed.code, 0, renewed.err);
  const now = await west.store.get('Secret', { namespace: 'kube-system', name: 'mesh-east' });
  assert.notEqual(secretValue(now, 'tls.crt'), secretValue(before, 'tls.crt'));
  // East's operator is away and did not hear of it: somebody says it there.
  assert.match(renewed.out, /east was not told .*"causeway mesh revoke west" there/);
  const { revoked } = JSON.parse(await east.done('revoke', 'west', '--json'));
  assert.equal(revoked.length, 1);

  await east.etcd.stop();
  const { code, out, err } = await west.run('leave', 'east');
  assert.equal(code, 0, err);
  assert.match(out, /east was not told .*run "causeway mesh leave west" there/);
  assert.deepEqual(await about(west), []);
});

test('wrong options are refused by name', async () => {
  const refusals: [string[], number, RegExp][] = [
    [['token', '--for', 'north', '--minutes', '0'], 2, /1 to 10080 minutes/],
    [['token', '--for', 'north', '--accept', 'tunnel'], 2, /"tunnel" cannot be accepted/],
    [['expose', '--endpoints', 'http://x'], 2, /not https:\/\/HOST:PORT/],
    [['expose', '--proxy', 'north'], 2, /not PEER=HOST:PORT/],
    [['expose', '--cluster', 'other'], 4, /certificates of cluster west/],
    [['join'], 2, /which token/],
    [['join', 'x', '--code', 'y'], 2, /not a token/],
    [['token', '--for', 'West'], 2, /must be 1 to 32/],
    [['invite', 'north'], 2, /--out/],
    [['invite', 'north', '--out', '/tmp/x', '--at', 'here'], 2, /not an absolute path/],
    [['invite', 'west', '--out', '/tmp/x'], 2, /is this cluster itself/],
  ];
  for (const [words, code, text] of refusals) {
    const result = await west.run(...words);
    assert.equal(result.code, code, `${words.join(' ')}: ${result.err}`);
    assert.match(result.err, text);
  }
});
