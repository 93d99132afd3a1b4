import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { connectKv, systemClock } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { identityLayout } from '@causeway/identity';
import { Authority } from '@causeway/pki';
import { Database } from '@causeway/tables';
import { ExposedStore } from '../../testing/exposed-store.ts';
import { OWN, PeerStoreInTest } from '../../testing/peer-world.ts';
import { dismissPeer } from '../expose/auth.ts';
import { identityKey, ipKey } from '../keys.ts';
import { meshTables } from '../rows.ts';
import { ClusterCounts } from './counts.ts';
import { PeerDirectory } from './directory.ts';
import { ClusterIds } from './ids.ts';
import { Peers } from './peers.ts';
import { Ranges } from './ranges.ts';
import { meshPeerTable } from './table.ts';
import { TableTarget } from './table-target.ts';

async function until(
  what: string,
  holds: () => boolean,
  more: () => unknown = () => '',
): Promise<void> {
  const end = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > end)
      throw new Error(`not within a minute: ${what}; ${JSON.stringify(more())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** An own cluster that reads peers from a directory, as an agent does. */
function reader(directory: string) {
  const database = new Database({ freeze: true });
  const tables = meshTables(database, OWN.name);
  const table = meshPeerTable(database);
  const [ids, ranges] = [new ClusterIds(OWN), new Ranges()];
  const counts = new ClusterCounts(tables);
  const peers = new Peers({
    own: OWN.name,
    sources: ['file'],
    initial: [tables.identities.source('peers')],
    syncTimeout: 60_000,
    connect: ({ endpoints, tls }) => {
      const kv = connectKv({ endpoints, deadline: 2000, ...(tls === undefined ? {} : { tls }) });
      return { kv, close: async () => kv[Symbol.asyncDispose]() };
    },
    target: (name) =>
      new TableTarget({
        name,
        expectedId: () => undefined,
        maxConnectedClusters: 255,
        layout: identityLayout(255),
        ...{ tables, ids, ranges, counts, clock: systemClock },
      }),
    table,
    times: { grace: 900_000, withdraw: 60_000 },
    checkInterval: 300,
    clock: systemClock,
    random: Math.random,
    onLog: () => {},
  });
  const files = new PeerDirectory({
    directory,
    clock: systemClock,
    interval: 50,
    onList: (list) => peers.set('file', list),
  });
  const state = (name: string) => table.get(name)?.state;
  return {
    tables,
    table,
    peers,
    state,
    rows: () => [...table.rows()],
    async [Symbol.asyncDispose]() {
      await files[Symbol.asyncDispose]();
      await peers[Symbol.asyncDispose]();
    },
  };
}

/** Whole or not at all, as mounts change. */
function write(file: string, text: string): void {
  writeFileSync(`${file}.part`, text);
  renameSync(`${file}.part`, file);
}

test("certificates: a stranger's, an expired one, a renewed one, and a user that is shut out", async () => {
  await using east = await ExposedStore.start('east');
  await using own = east.connect('causeway-east');
  await until('the store answers', () => own.health().connected);
  const content = new PeerStoreInTest('east', 7, own);
  await content.fill();
  await using scratch = await EtcdProcess.scratch();
  const directory = path.join(scratch.directory, 'peers');
  mkdirSync(directory);
  const at = (name: string) => path.join(scratch.directory, name);
  const show = ({ certificate, key }: { certificate: string; key: string }) => {
    write(at('key'), key);
    write(at('cert'), certificate);
  };
  const now = new Date();
  const { authority } = await Authority.create('somebody', { now, days: 1 });
  show(await authority.issueClient('remote-own', { now, days: 1 }));
  write(at('ca'), east.directory.trust);
  write(
    path.join(directory, 'east'),
    `endpoints: ["${east.endpoint}"]\ntrusted-ca-file: ${at('ca')}\ncert-file: ${at('cert')}\nkey-file: ${at('key')}\n`,
  );
  write(path.join(directory, 'own'), `endpoints: ["${east.endpoint}"]\n`);
  await using t = reader(directory);
  await until('a stranger is refused', () => t.table.get('east')?.reason !== undefined, t.rows);
  assert.equal(t.state('east'), 'connecting');
  assert.equal(
    t.state('own'),
    undefined,
    'the file that is named as the own cluster describes none',
  );

  // The store's own authority for this peer, long ago.
  const credentials = await east.admit('own');
  const past = await Authority.open({
    certificate: await text(east.directory.file('ca.crt')),
    key: await text(east.directory.file('ca.key')),
  });
  const long = new Date(Date.now() - 60 * 86_400_000);
  show(await past.issueClient('remote-own', { now: long, days: 1 }));
  await until(
    'an expired one is refused',
    () => /expire/i.test(t.table.get('east')?.reason ?? ''),
    t.rows,
  );

  show(credentials);
  await until('the renewed one is taken without a word', () => t.state('east') === 'ready', t.rows);
  assert.equal(t.table.get('east')?.counts.services, 20);
  assert.equal(t.tables.ipEntries.get('east', '10.7.0.9')?.identity, (7 << 16) | 300);

  await east.directory.revokeClients('own', new Date());
  await east.etcd.stop();
  east.etcd.start();
  await until('a revoked one is refused', () => t.state('east') === 'stale', t.rows);
  await until('others are not', () => own.health().connected);
  const { since } = t.table.get('east')!;
  await until('it is tried again', () => t.table.get('east')?.reason !== undefined, t.rows);
  assert.equal(t.table.get('east')?.since, since);
  show(await east.admit('own'));
  await until('another one is taken', () => t.state('east') === 'ready', t.rows);

  await using auth = east.auth();
  await dismissPeer(auth, 'own');
  await until('whoever is shut out loses contact', () => t.state('east') === 'stale', t.rows);
  assert.equal(t.tables.services.size, 20, 'and what was known stays for the grace');
});

test("a peer's etcd killed, standing still, emptied, and full of what hurts; and files that change", async () => {
  await using etcd = await EtcdProcess.start();
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 10_000 });
  await until('the store answers', () => kv.health().connected);
  const east = new PeerStoreInTest('east', 7, kv);
  await east.fill();
  const directory = path.join(etcd.directory, 'peers');
  mkdirSync(directory);
  const file = path.join(directory, 'east');
  write(file, `endpoints: ["${etcd.endpoint}"]\ninsecure-transport: true\n`);
  await using t = reader(directory);
  const ready = () => t.state('east') === 'ready';
  await until('ready', ready, t.rows);
  const whole = () => t.tables.services.size === 20 && t.tables.ipEntries.count('east') === 1;
  assert.ok(whole());
  await t.tables.identities.whenInitialized(AbortSignal.timeout(60_000));

  await etcd.stop();
  await until('the loss', () => t.state('east') === 'stale', t.rows);
  etcd.start();
  await until('the return', ready, t.rows);
  assert.ok(whole());

  etcd.signal('SIGSTOP');
  await until('it stands still', () => t.state('east') === 'stale', t.rows);
  etcd.signal('SIGCONT');
  await until('it goes on', ready, t.rows);
  assert.ok(whole());

  // Malformed and hostile: every kind, every size that etcd takes, and more of it than one answer may hold.
  const huge = 'x'.repeat(1_400_000);
  for (let i = 0; i < 50; i++) await kv.put(`cilium/state/services/v1/east/shop/huge${i}`, huge);
  for (let i = 0; i < 400; i++) await kv.put(ipKey(`10.7.1.${i}`), `{"IP":"10.7.1.${i}"`);
  for (const value of ['', '[]', 'null', '{"IP":{}}', '\u0000', '{"ID":1e999}', '[[[[[[[['])
    await kv.put(`${ipKey('10.7.2.')}${value.length}`, value);
  await kv.put(identityKey(1), 'k8s:a=b;');
  await kv.put('cilium/state/identities/v1/id/4294967296000', 'k8s:a=b;');
  await kv.put('cilium/state/nodes/v1/east/a/b/c', '{}');
  await kv.put(ipKey('10.7.0.10'), `{"IP":"10.7.0.10","ID":${(7 << 16) | 300}}`);
  await until('the good among it', () => t.tables.ipEntries.get('east', '10.7.0.10') !== undefined);
  await etcd.stop();
  await until('the loss', () => t.state('east') === 'stale', t.rows);
  etcd.start();
  await until('all of it is read anew', ready, t.rows);
  assert.equal(t.tables.services.size, 20);
  assert.equal(t.tables.ipEntries.count('east'), 2);
  assert.ok(
    t.tables.rejected.size > 200 && t.tables.rejected.size < 1000,
    String(t.tables.rejected.size),
  );

  await etcd.wipe();
  await until('the loss', () => t.state('east') === 'stale', t.rows);
  await until('it answers again', () => kv.health().connected);
  await east.beat();
  await until(
    'its config is missed',
    () => /cluster-config/.test(t.table.get('east')?.reason ?? ''),
    t.rows,
  );
  assert.equal(t.tables.services.size, 20, 'an empty store takes nothing away');

  write(file, 'endpoints: 17\n');
  await until(
    'the fault is told',
    () => /endpoints/.test(t.table.get('east')?.reason ?? ''),
    t.rows,
  );
  assert.equal(t.tables.services.size, 20, 'and the last good file stays in force');
  rmSync(file);
  await until('the peer is given up', () => t.table.size === 0, t.rows);
  assert.equal(t.tables.services.size + t.tables.ipEntries.size, 0);
});

const text = async (file: string): Promise<string> =>
  (await import('node:fs/promises')).readFile(file, 'utf8');
