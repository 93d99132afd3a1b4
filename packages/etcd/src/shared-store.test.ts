import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database, flush, VirtualClock } from '@causeway/tables';
import { memoryEtcd } from './memory.ts';
import { SharedStore, type SharedStoreOptions } from './shared-store.ts';

interface IpRow {
  readonly ip: string;
  readonly host: string;
}

const prefix = 'cilium/state/ip/v1/default/';

/** Two nodes that write under one prefix; each knows its own entries by the host in the value. */
function site() {
  const clock = new VirtualClock();
  const etcd = memoryEtcd({ clock });
  const watcher = etcd.connect();
  const node = (host: string, options: Partial<SharedStoreOptions<IpRow, string>> = {}) => {
    const kv = etcd.connect();
    const table = new Database({ freeze: true }).table({
      name: 'ips',
      key: (row: IpRow) => row.ip,
    });
    const store = new SharedStore<IpRow>({
      name: 'ip',
      kv,
      clock,
      random: () => 0.5,
      table,
      encode: (row) => {
        if (row.host === 'bad')
          throw Object.assign(new Error('no such host'), { code: 'bad-host' });
        return { key: prefix + row.ip, value: JSON.stringify(row) };
      },
      scopes: [{ prefix, owns: (entry) => entry.text.includes(`"host":"${host}"`) }],
      ttl: 60,
      ...options,
    });
    return { kv, table, store };
  };
  const content = async () => {
    const listing = watcher.list('');
    await flush();
    return Object.fromEntries(
      (await listing).entries.map((entry) => [entry.key.replace(prefix, ''), entry.text]),
    );
  };
  const keys = async () => Object.keys(await content());
  return { clock, etcd, node, content, keys, watcher };
}

const row = (ip: string, host = 'n1'): IpRow => ({ ip, host });

test('a table stands in the store on a lease, and follows its changes', async () => {
  const { clock, etcd, node, content, keys, watcher } = site();
  const { table, store } = node('n1');
  table.put(row('10.0.0.1'));
  table.put(row('2001:db8::1'));
  await clock.advance(10);
  assert.deepEqual(await content(), {
    '10.0.0.1': '{"ip":"10.0.0.1","host":"n1"}',
    '2001:db8::1': '{"ip":"2001:db8::1","host":"n1"}',
  });
  const reading = watcher.get(`${prefix}10.0.0.1`);
  await flush();
  assert.equal((await reading)?.lease, store.status().lease?.id);
  table.delete('10.0.0.1');
  await clock.advance(10);
  assert.deepEqual(await keys(), ['2001:db8::1']);
  assert.equal(store.status().keys, 1);
  await clock.advance(200_000);
  assert.deepEqual(await keys(), ['2001:db8::1'], 'the lease is kept alive');
  await etcd[Symbol.asyncDispose]();
});

test('a restart leaves the keys, prunes what the new life does not want, and nobody else’s', async () => {
  const { clock, etcd, node, keys } = site();
  const first = node('n1');
  const other = node('n2');
  first.table.put(row('10.0.0.1'));
  first.table.put(row('10.0.0.2'));
  other.table.put(row('10.0.9.9', 'n2'));
  await clock.advance(10);
  await first.store[Symbol.asyncDispose]();
  await first.kv[Symbol.asyncDispose]();
  assert.deepEqual(await keys(), ['10.0.0.1', '10.0.0.2', '10.0.9.9']);

  const second = node('n1');
  const source = second.table.source('restore');
  second.table.put(row('10.0.0.2'));
  await clock.advance(30_000);
  assert.deepEqual(
    await keys(),
    ['10.0.0.1', '10.0.0.2', '10.0.9.9'],
    'not before the table is complete',
  );
  source.done();
  await clock.advance(10);
  assert.deepEqual(await keys(), ['10.0.0.2', '10.0.9.9']);
  await clock.advance(120_000);
  assert.deepEqual(
    await keys(),
    ['10.0.0.2', '10.0.9.9'],
    'the first life’s lease takes nothing of the second',
  );
  await etcd[Symbol.asyncDispose]();
});

test('everything comes back after the lease was lost or the store emptied', async () => {
  const { clock, etcd, node, keys } = site();
  const { table, store } = node('n1');
  for (let i = 0; i < 250; i++) table.put(row(`10.0.0.${i}`));
  await clock.advance(10);
  assert.equal((await keys()).length, 250);
  const first = store.status().lease?.id;
  etcd.expireLeases();
  assert.equal((await keys()).length, 0);
  await clock.advance(25_000);
  assert.equal((await keys()).length, 250);
  assert.notEqual(store.status().lease?.id, first);
  assert.equal(store.status().leasesLost, 1);
  etcd.wipe({ keepClusterId: true });
  await clock.advance(30_000);
  assert.equal((await keys()).length, 250);
  await etcd[Symbol.asyncDispose]();
});

test('a key deleted or spoilt by others is repaired, after a moment', async () => {
  const { clock, etcd, node, keys, content, watcher } = site();
  const { table, store } = node('n1');
  table.put(row('10.0.0.1'));
  await clock.advance(10);
  await watcher.delete(`${prefix}10.0.0.1`);
  await clock.advance(400);
  assert.deepEqual(await keys(), []);
  await clock.advance(200);
  assert.deepEqual(await keys(), ['10.0.0.1']);
  await watcher.put(`${prefix}10.0.0.1`, '{"ip":"10.0.0.1","host":"n1","extra":true}');
  await clock.advance(600);
  assert.equal((await content())['10.0.0.1'], '{"ip":"10.0.0.1","host":"n1"}');
  assert.equal(store.status().repairs, 2);
  await etcd[Symbol.asyncDispose]();
});

test('a key that another node has claimed is left to it, and taken again when it goes', async () => {
  const { clock, etcd, node, content } = site();
  const first = node('n1');
  const second = node('n2');
  first.table.put(row('10.0.0.1', 'n1'));
  await clock.advance(10);
  second.table.put(row('10.0.0.1', 'n2'));
  await clock.advance(60_000);
  assert.match((await content())['10.0.0.1'] ?? '', /n2/);
  assert.deepEqual(first.store.status().contested, [`${prefix}10.0.0.1`]);
  second.table.delete('10.0.0.1');
  await clock.advance(1000);
  assert.match((await content())['10.0.0.1'] ?? '', /n1/);
  assert.deepEqual(first.store.status().contested, []);

  second.table.put(row('10.0.0.1', 'n2'));
  await clock.advance(10);
  first.table.delete('10.0.0.1');
  await clock.advance(1000);
  assert.match((await content())['10.0.0.1'] ?? '', /n2/, 'we delete only what is still ours');
  await etcd[Symbol.asyncDispose]();
});

test('an outage is waited out: writes come when the store does', async () => {
  const { clock, etcd, node, keys } = site();
  etcd.stop();
  const { table, store } = node('n1');
  table.put(row('10.0.0.1'));
  await clock.advance(60_000);
  const status = store.reconciler.status('10.0.0.1');
  assert.equal(status?.type === 'error' && status.code, 'unavailable');
  etcd.start();
  await clock.advance(31_000);
  assert.deepEqual(await keys(), ['10.0.0.1']);
  etcd.stop();
  table.delete('10.0.0.1');
  table.put(row('10.0.0.2'));
  await clock.advance(40_000);
  etcd.start();
  await clock.advance(31_000);
  assert.deepEqual(await keys(), ['10.0.0.2']);
  await etcd[Symbol.asyncDispose]();
});

test('a row that the store or the encoder refuses fails alone', async () => {
  const { clock, etcd, node, keys } = site();
  const { table, store } = node('n1');
  table.put(row('10.0.0.1'));
  table.put(row('10.0.0.2', 'bad'));
  table.put(row(`10.0.0.3${' '.repeat(2_000_000)}`));
  table.put(row('10.0.0.4'));
  await clock.advance(20);
  assert.deepEqual(await keys(), ['10.0.0.1', '10.0.0.4']);
  const codes = [...table.keys()].map((key) => {
    const status = store.reconciler.status(key);
    return status?.type === 'error' ? status.code : status?.type;
  });
  assert.deepEqual(codes, ['done', 'bad-host', 'too-large', 'done']);
  await etcd[Symbol.asyncDispose]();
});

test('a row whose key moves leaves nothing at the old one', async () => {
  const { clock, etcd, node, keys } = site();
  const { table } = node('n1', {
    encode: ({ ip, host }) => ({ key: `${prefix}${host}/${ip}`, value: '"host":"n1"' }),
  });
  table.put(row('1', 'a'));
  await clock.advance(10);
  table.put(row('1', 'b'));
  await clock.advance(10);
  assert.deepEqual(await keys(), ['b/1']);
  await etcd[Symbol.asyncDispose]();
});

test('withdrawing takes the keys away, with a lease and without', async () => {
  const { clock, etcd, node, keys } = site();
  for (const ttl of [60, false] as const) {
    const { table, store } = node('n1', { ttl });
    table.put(row('10.0.0.1'));
    await clock.advance(10);
    assert.deepEqual(await keys(), ['10.0.0.1']);
    const withdrawing = store.withdraw();
    await clock.advance(10);
    await withdrawing;
    assert.deepEqual(await keys(), [], `ttl ${ttl}`);
  }
  await etcd[Symbol.asyncDispose]();
});

test('closing leaves no timer, watch or lease behind', async () => {
  const { clock, etcd, node, watcher } = site();
  const { table, store, kv } = node('n1');
  table.put(row('10.0.0.1'));
  await clock.advance(10);
  await watcher.delete(`${prefix}10.0.0.1`);
  await flush();
  await store[Symbol.asyncDispose]();
  const { leases, watches } = kv.health();
  assert.deepEqual([leases, watches.length], [0, 0]);
  await etcd[Symbol.asyncDispose]();
  await flush();
  assert.equal(clock.sleeping, 0);
});
