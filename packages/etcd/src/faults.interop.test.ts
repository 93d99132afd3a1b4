/** A real etcd that stands still, is cut off, fills up or asks for certificates; and a client that stays well. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Database } from '@causeway/tables';
import { EtcdProcess, type TlsFiles } from '../testing/etcd-process.ts';
import { eventually, Watcher } from '../testing/watcher.ts';
import { systemClock } from './clock.ts';
import { connectKv } from './connect.ts';
import { KvError } from './errors.ts';
import { SharedStore } from './shared-store.ts';

const code =
  (...expected: string[]) =>
  (error: unknown) =>
    error instanceof KvError && expected.includes(error.code);

test('an etcd that stands still costs a deadline, not the loop, and is caught up with', async () => {
  await using etcd = await EtcdProcess.start();
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 10_000 });
  await eventually('the store is reachable', () => kv.health().connected);
  await using watcher = new Watcher(kv, 'f/');
  await eventually('the list', () => watcher.log.includes('synced'));
  etcd.signal('SIGSTOP');
  let beats = 0;
  const beat = setInterval(() => beats++, 10);
  const started = Date.now();
  await assert.rejects(kv.put('f/1', 'x', { deadline: 400 }), code('deadline', 'unavailable'));
  const took = Date.now() - started;
  clearInterval(beat);
  assert.ok(took >= 350 && took < 5_000, `${took} ms, where its own deadline is 400`);
  assert.ok(beats > 5, `${beats} beats while the store stood still`);
  assert.equal(kv.health().connected, false);
  assert.ok(kv.health().lastError);
  etcd.signal('SIGCONT');
  await eventually('a write', () =>
    kv.put('f/2', 'y').then(
      () => true,
      () => false,
    ),
  );
  await eventually('the watch has it', () => watcher.state.has('f/2'));
  assert.equal(kv.health().connected, true);
});

test('a store that is away at the start is connected to when it comes', async () => {
  await using etcd = await EtcdProcess.start();
  await etcd.stop();
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 500 });
  await using watcher = new Watcher(kv, 'late/');
  await assert.rejects(kv.get('late/1'), code('unavailable'));
  assert.equal(kv.health().connected, false);
  etcd.start();
  await eventually('the watch is in step', () => watcher.log.includes('synced'));
  await kv.put('late/1', 'x');
  await eventually('and tells changes', () => watcher.state.has('late/1'));
});

test('of several endpoints the one that answers is used, and changed when it dies', async () => {
  await using first = await EtcdProcess.start();
  await using kv = connectKv({
    endpoints: ['http://127.0.0.1:1', first.endpoint, 'http://[::1]:1'],
    deadline: 3000,
  });
  await eventually('connected', () => kv.health().connected);
  assert.equal(kv.health().endpoint, first.endpoint);
  await kv.put('a', 'b');
  await first.stop();
  await assert.rejects(kv.put('a', 'c', { deadline: 600 }), code('unavailable', 'deadline'));
  first.start();
  await eventually('a write', () =>
    kv.put('a', 'c').then(
      () => true,
      () => false,
    ),
  );
});

test('values too large for a page of the usual size come in smaller pages', async () => {
  await using etcd = await EtcdProcess.start();
  await using kv = connectKv({ endpoints: [etcd.endpoint], pageSize: 1000, deadline: 30_000 });
  const big = 'x'.repeat(1_400_000);
  await eventually('connected', () => kv.health().connected);
  for (let i = 0; i < 60; i++) await kv.put(`big/${String(i).padStart(2, '0')}`, big);
  await using watcher = new Watcher(kv, 'big/', { maxPending: 8 });
  await eventually('the whole list', () => watcher.log.includes('synced'), 90_000);
  assert.equal(watcher.state.size, 60);
});

/** A TCP relay that can go silent in both directions without closing anything, as a cut cable does. */
async function relay(port: number, path?: string) {
  const sockets = new Set<Socket>();
  let cut = false;
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => {
        if (!cut) to.write(data);
      });
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  const address = server.address();
  return {
    endpoint: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    cut: (silent: boolean) => {
      cut = silent;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test('a cut link without a reset is noticed by its silence', async () => {
  await using etcd = await EtcdProcess.start();
  const link = await relay(Number(new URL(etcd.endpoint).port));
  try {
    await using kv = connectKv({
      endpoints: [link.endpoint],
      deadline: 800,
      probeInterval: 1000,
      keepAlive: 1000,
    });
    await using direct = connectKv({ endpoints: [etcd.endpoint] });
    await using watcher = new Watcher(kv, 'l/');
    await eventually('the list', () => watcher.log.includes('synced'));
    link.cut(true);
    await direct.put('l/1', 'unseen');
    await eventually('the watch knows', () => watcher.watch.status().state !== 'watching');
    await eventually('health says so', () => !kv.health().connected);
    link.cut(false);
    await eventually('it is caught up', () => watcher.state.has('l/1'));
  } finally {
    link.close();
  }
});

test('a full store refuses writes by name and is read on', async () => {
  await using etcd = await EtcdProcess.start(undefined, ['--quota-backend-bytes', '2000000']);
  await using kv = connectKv({ endpoints: [etcd.endpoint] });
  await eventually('connected', () => kv.health().connected);
  const big = 'x'.repeat(900_000);
  const failures: unknown[] = [];
  for (let i = 0; failures.length < 3; i++) {
    assert.ok(i < 100, 'the quota is never enforced');
    await kv.put(`big/${i}`, big).catch((error) => failures.push(error));
  }
  assert.ok(failures.every(code('no-space')), String(failures[0]));
  assert.equal((await kv.get('big/0'))?.value.length, big.length);
  assert.equal(kv.health().connected, true, 'a refusal is an answer');
});

function certificates(directory: string): {
  server: TlsFiles;
  client: TlsFiles;
  stranger: TlsFiles;
} {
  const openssl = (...words: string[]) =>
    execFileSync('/usr/bin/openssl', words, { cwd: directory, stdio: 'ignore' });
  writeFileSync(join(directory, 'san'), 'subjectAltName=IP:127.0.0.1,DNS:etcd.test\n');
  const authority = (name: string) => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.crt`,
    );
  };
  const issue = (name: string, by: string): TlsFiles => {
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
    );
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${by}.crt`,
      '-CAkey',
      `${by}.key`,
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      'san',
      '-out',
      `${name}.crt`,
    );
    return {
      ca: join(directory, 'ca.crt'),
      cert: join(directory, `${name}.crt`),
      key: join(directory, `${name}.key`),
    };
  };
  authority('ca');
  authority('other');
  return {
    server: issue('server', 'ca'),
    client: issue('client', 'ca'),
    stranger: issue('stranger', 'other'),
  };
}

test('TLS with client certificates, whose files may be renewed under a running client', async () => {
  await using scratch = await EtcdProcess.scratch();
  const files = certificates(scratch.directory);
  await using etcd = await EtcdProcess.start(files.server);
  const own = {
    ca: files.client.ca,
    cert: join(scratch.directory, 'own.crt'),
    key: join(scratch.directory, 'own.key'),
  };
  copyFileSync(files.stranger.cert, own.cert);
  copyFileSync(files.stranger.key, own.key);
  const tls = { caFile: own.ca, certFile: own.cert, keyFile: own.key };
  await using kv = connectKv({
    endpoints: [etcd.endpoint],
    tls,
    deadline: 700,
    probeInterval: 200,
  });
  await assert.rejects(kv.get('x'), code('unavailable', 'deadline'));
  copyFileSync(files.client.cert, own.cert);
  copyFileSync(files.client.key, own.key);
  await eventually('the renewed certificate is used', () => kv.health().connected);
  await kv.put('x', 'y');

  await using missing = connectKv({
    endpoints: [etcd.endpoint],
    tls: { caFile: join(scratch.directory, 'none') },
    deadline: 500,
  });
  await assert.rejects(missing.get('x'), (error: KvError) =>
    /TLS file .*none cannot be read/.test(error.message),
  );
  await using distrust = connectKv({
    endpoints: [etcd.endpoint],
    tls: { ...tls, caFile: join(scratch.directory, 'other.crt') },
    deadline: 500,
  });
  await assert.rejects(distrust.get('x'), code('unavailable'));
});

test('a table is written again after the store was emptied under it', async () => {
  await using etcd = await EtcdProcess.start();
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 1000 });
  const table = new Database().table({ name: 't', key: (row: { id: string }) => row.id });
  for (let i = 0; i < 300; i++) table.put({ id: String(i) });
  await using store = new SharedStore({
    name: 'shared',
    kv,
    clock: systemClock,
    random: Math.random,
    table,
    encode: ({ id }) => ({ key: `own/${id}`, value: id }),
    scopes: [{ prefix: 'own/', owns: () => true }],
    ttl: 2,
  });
  await store.settled(AbortSignal.timeout(25_000));
  assert.equal((await kv.list('own/')).entries.length, 300);
  await etcd.wipe();
  await eventually('all of it', async () => {
    const listed = await kv.list('own/').catch(() => undefined);
    return (
      listed?.entries.length === 300 &&
      listed.entries.every((entry) => entry.lease === store.status().lease?.id)
    );
  });
  assert.equal(store.status().leasesLost, 1);
});

test('endpoints that are none are refused by name', () => {
  for (const endpoint of [
    '',
    'ftp://x',
    'http://',
    'http://h:1/path',
    'host:port',
    'http://h:1?x',
  ]) {
    assert.throws(() => connectKv({ endpoints: [endpoint] }), code('invalid'), endpoint);
  }
  assert.throws(() => connectKv({ endpoints: [] }), code('invalid'));
});

test('a Unix socket is an endpoint too', async () => {
  await using etcd = await EtcdProcess.start();
  const path = join(etcd.directory, 'sock');
  const link = await relay(Number(new URL(etcd.endpoint).port), path);
  try {
    await using kv = connectKv({ endpoints: [`unix:${path}`] });
    await eventually('connected', () => kv.health().connected);
    await kv.put('u', 'v');
  } finally {
    link.close();
  }
});
