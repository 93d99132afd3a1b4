import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { EmptyStoreGuard, etcdStore } from '@causeway/resources';
import { OWN, PeerWorld } from '../../testing/peer-world.ts';
import { parsePeerFile } from './config-file.ts';
import { PeerDirectory } from './directory.ts';
import { PeerObjects } from './objects.ts';
import { type PeerList, Peers } from './peers.ts';

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("files: Cilium's form, and why one is not taken", () => {
  const file = `endpoints:
- https://east.mesh.cilium.io:2379
- https://[2001:db8::1]:2379
trusted-ca-file: /c/ca.crt
cert-file: /c/own.crt
key-file: /c/own.key
ca-file: ignored
`;
  const spec = parsePeerFile('east', file);
  assert.ok(spec !== undefined && !('reason' in spec), JSON.stringify(spec));
  assert.deepEqual(spec.endpoints.length, 2);
  assert.deepEqual(spec.tls, {
    caFile: '/c/ca.crt',
    certFile: '/c/own.crt',
    keyFile: '/c/own.key',
  });
  assert.equal(parsePeerFile('readme', 'nothing of ours'), undefined);
  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['east', 'endpoints: []', /endpoints must name at least one/],
    ['east', 'endpoints: ["ftp://x"]', /endpoints\.0 must be an http or https URL/],
    ['east', 'endpoints: ["https://x/path"]', /endpoints\.0/],
    ['east', 'endpoints: ["https://x"]\ncert-file: /a', /cert-file and key-file/],
    ['east', 'endpoints: ["http://x"]\ntrusted-ca-file: /a', /without the TLS/],
    ['east', 'endpoints: ["https://x"]\ninsecure-skip-tls-verify: true', /any identity/],
    ['east', 'endpoints: [', /not YAML/],
    ['East_1', 'endpoints: ["https://x"]', /no cluster name/],
  ];
  for (const [name, text, reason] of refused) {
    const bad = parsePeerFile(name, text);
    assert.ok(bad !== undefined && 'reason' in bad, text);
    assert.match(bad.reason, reason, text);
  }
});

test('files: one caught half written, or away in one look, is still a peer; one that is gone in two is none', async () => {
  const base = mkdtempSync(path.join(tmpdir(), `causeway-peers-${process.pid}-`));
  const directory = path.join(base, 'peers');
  mkdirSync(directory);
  const east = path.join(directory, 'east');
  const whole = 'endpoints: ["https://192.0.2.1:2379"]\n';
  writeFileSync(east, whole);
  let list: PeerList = { peers: [], bad: [] };
  let looks = 0;
  let next = () => {};
  // A look happens whenever the test asks for one.
  const clock = {
    ...systemClock,
    now: () => 0,
    sleep: (_: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        looks++;
        next = resolve;
        signal?.addEventListener('abort', () => resolve(), { once: true });
      }),
  };
  const look = async () => {
    const before = looks;
    next();
    await until('a look', () => looks > before);
    return {
      peers: list.peers.map(({ name }) => name),
      bad: list.bad.map(({ name, reason }) => `${name}: ${reason}`),
    };
  };
  try {
    await using _directory = new PeerDirectory({
      directory,
      clock,
      onList: (now) => {
        list = now;
      },
    });
    await until('the first look', () => looks === 1);
    assert.deepEqual(await look(), { peers: ['east'], bad: [] });
    for (const part of ['', '# a', 'endpoi']) {
      writeFileSync(east, part);
      for (let i = 0; i < 3; i++) {
        const { peers, bad } = await look();
        assert.deepEqual(peers, []);
        assert.match(
          bad.join(),
          /^east: the file names no endpoints any more/,
          'doubted, not gone',
        );
      }
    }
    writeFileSync(east, whole);
    assert.deepEqual(await look(), { peers: ['east'], bad: [] });
    // As long as before, with the time of before, by renaming and in place.
    for (const [way, host] of [
      ['renamed', '192.0.2.2'],
      ['in place', '192.0.2.3'],
    ] as const) {
      const { atime, mtime } = statSync(east);
      const target = way === 'renamed' ? `${east}.next` : east;
      writeFileSync(target, whole.replace('192.0.2.1', host));
      utimesSync(target, atime, mtime);
      if (target !== east) renameSync(target, east);
      await look();
      assert.deepEqual(list.peers[0]?.endpoints, [`https://${host}:2379`], way);
    }
    renameSync(directory, `${directory}-away`);
    assert.deepEqual(await look(), { peers: ['east'], bad: [] });
    renameSync(`${directory}-away`, directory);
    assert.deepEqual(await look(), { peers: ['east'], bad: [] });
    rmSync(east);
    assert.deepEqual(await look(), { peers: ['east'], bad: [] });
    assert.deepEqual(await look(), { peers: [], bad: [] });
    writeFileSync(east, '# none of ours');
    assert.deepEqual(await look(), { peers: [], bad: [] });
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});

test('objects: a MeshPeer with its Secret, followed; what is wrong with one is told', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  const store = etcdStore(etcd.connect());
  const meshPeer = (name: string, spec: object) => ({
    apiVersion: 'causeway.io/v1',
    kind: 'MeshPeer',
    metadata: { name },
    spec,
  });
  const secret = (cert: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'mesh-east', namespace: 'kube-system' },
    stringData: { 'ca.crt': 'CA', 'tls.crt': cert, 'tls.key': 'KEY' },
  });
  const endpoints = ['https://192.0.2.1:2379'];
  await store.apply([
    meshPeer('east', { id: 7, endpoints, secretName: 'mesh-east', serverName: 'etcd.east' }),
    meshPeer('west', { endpoints, secretName: 'mesh-west' }),
    meshPeer(OWN.name, { endpoints }),
    meshPeer('plain', { endpoints: ['http://192.0.2.1:2379'], secretName: 'mesh-east' }),
    secret('CERT'),
  ]);
  const stop = new AbortController();
  let list: PeerList = { peers: [], bad: [] };
  const log = { debug: () => {}, warn: () => {} };
  await using _objects = new PeerObjects({
    store,
    guard: new EmptyStoreGuard(systemClock, stop.signal),
    own: OWN.name,
    log,
    onList: (now) => {
      list = now;
    },
  });
  await until('the list', () => list.peers.length === 1 && list.bad.length === 3);
  const [east] = list.peers;
  assert.deepEqual(east?.tls, { ca: 'CA', cert: 'CERT', key: 'KEY', serverName: 'etcd.east' });
  assert.equal(east?.id, 7);
  const reason = (name: string) => list.bad.find((each) => each.name === name)?.reason ?? '';
  assert.match(reason('west'), /Secret kube-system\/mesh-west \(spec\.secretName\) is not there/);
  assert.match(reason(OWN.name), /this is the own cluster/);
  assert.match(reason('plain'), /without the TLS of Secret/);
  await store.apply([secret('RENEWED')]);
  await until('the renewed one', () => list.peers[0]?.tls?.cert === 'RENEWED');
  assert.notEqual(list.peers[0]?.stamp, east?.stamp, 'the connection is made anew');
  stop.abort();
});

test('a peer that a file and an object describe is read as the file says; one of nobody is given up', async () => {
  await using t = new PeerWorld();
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  let used: string | undefined;
  const peers = new Peers({
    own: OWN.name,
    sources: ['file', 'object'],
    initial: [t.tables.identities.source('peers')],
    syncTimeout: 60_000,
    connect: (spec) => {
      used = spec.source;
      const kv = east.etcd.connect();
      return { kv, close: async () => kv[Symbol.asyncDispose]() };
    },
    target: (name) => t.target(name),
    table: t.peers,
    times: { grace: 900_000, withdraw: 60_000 },
    clock: t.clock,
    random: () => 0.5,
    onLog: () => {},
  });
  const object = t.spec('east', { source: 'object', stamp: 'o' });
  const file = t.spec('east', { source: 'file', stamp: 'f' });
  peers.set('object', { peers: [object], bad: [] });
  await t.until('ready', () => t.peers.get('east')?.state === 'ready', 10_000);
  assert.equal(used, 'object');
  assert.equal(t.tables.identities.initialized, false, 'files have yet to be looked at');
  peers.set('file', { peers: [file, t.spec(OWN.name)], bad: [] });
  await t.until('read anew', () => used === 'file' && t.row('east').state === 'ready', 10_000);
  assert.equal(t.row('east').losses, 0);
  assert.equal(t.peers.size, 1, 'the own name is no peer');
  assert.match(peers.problems().join(), /its MeshPeer is not used/);
  await t.until('nobody waits', () => t.tables.identities.initialized, 1000);
  peers.set('file', { peers: [], bad: [{ name: 'east', source: 'file', reason: 'broken' }] });
  await t.until('told', () => /last good .*: broken/.test(t.row('east').reason ?? ''), 1000);
  assert.equal(t.have('east').services, 20);
  peers.set('file', { peers: [], bad: [] });
  await t.until(
    'the object again',
    () => used === 'object' && t.row('east').state === 'ready',
    10_000,
  );
  peers.set('object', { peers: [], bad: [] });
  await t.until('gone', () => t.peers.size === 0 && t.have('east').nodes === 0, 10_000);
  const closing = peers[Symbol.asyncDispose]();
  await t.pass(10_000);
  await closing;
});
