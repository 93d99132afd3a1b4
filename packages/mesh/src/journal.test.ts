import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { Database } from '@causeway/tables';
import { CLUSTER, eventually, ipAnnouncement, LAYOUT, labelsOf } from '../testing/test-cluster.ts';
import { type Journal, MeshReader } from './reader.ts';
import { meshTables } from './rows.ts';
import type { Guard } from './sinks.ts';

class Noted implements Journal {
  readonly puts: string[] = [];
  readonly deletes: string[] = [];
  timesOutdated = 0;
  readonly #fails: (rest: string) => boolean;

  constructor(fails: (rest: string) => boolean = () => false) {
    this.#fails = fails;
  }

  put(_kind: string, rest: string): void {
    this.puts.push(rest);
  }

  delete(_kind: string, rest: string): void {
    if (this.#fails(rest)) throw new Error(`no room for ${rest}`);
    this.deletes.push(rest);
  }

  outdated(): void {
    this.timesOutdated++;
  }
}

/** @param guard what is believed; by default all. */
async function setUp(journal: Journal, guard?: Guard) {
  const etcd = memoryEtcd({ clock: systemClock });
  const kv = etcd.connect();
  const tables = meshTables(new Database({ freeze: true }), 'own');
  for (const id of [65792, 65793]) {
    await kv.put(`cilium/state/identities/v1/id/${id}`, labelsOf('a').text);
  }
  for (const address of ['10.1.0.5', '10.1.0.6']) {
    const { key, value } = ipAnnouncement(address, 65792, '192.0.2.1');
    await kv.put(key, value);
  }
  const options = { kv, cluster: CLUSTER, layout: LAYOUT, tables, journal };
  const reader = new MeshReader({ ...options, ...(guard === undefined ? {} : { guard }) });
  for (const table of [tables.identities, tables.ipEntries]) await table.whenInitialized();
  return {
    kv,
    tables,
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
}

test('of deletions only those of what was known are kept', async () => {
  const journal = new Noted();
  await using t = await setUp(journal);
  const unknown = [
    `cilium/state/ip/v1/default/${'x'.repeat(70_000)}`,
    'cilium/state/identities/v1/id/131328',
    'cilium/state/identities/v1/id/seven',
  ];
  for (const key of unknown) {
    await t.kv.put(key, 'x');
    await t.kv.delete(key);
  }
  await t.kv.delete('cilium/state/ip/v1/default/10.1.0.5');
  await t.kv.delete('cilium/state/identities/v1/id/65793');
  await eventually('the entry goes', () => t.tables.ipEntries.size === 1);
  await eventually('the identity goes', () => t.tables.identities.size === 1);
  assert.deepEqual(journal.deletes.map((each) => each.slice(0, 20)).sort(), ['10.1.0.5', '65793']);
  assert.deepEqual(journal.puts, []);
});

test('a deletion that cannot be kept does not hide those that follow in its batch', async () => {
  const failing = ['10.1.0.5', '65792'];
  await using t = await setUp(new Noted((rest) => failing.includes(rest)));
  const keys = [
    'cilium/state/ip/v1/default/10.1.0.5',
    'cilium/state/ip/v1/default/10.1.0.6',
    'cilium/state/identities/v1/id/65792',
    'cilium/state/identities/v1/id/65793',
  ];
  await t.kv.txn({ compare: [], success: keys.map((key) => ({ type: 'delete', key }) as const) });
  await eventually('all entries go', () => t.tables.ipEntries.size === 0);
  await eventually('all identities go', () => t.tables.identities.size === 0);
});

test('what hangs on nodes makes the kept state outdated when it changes, not whenever they do', async () => {
  let changed = () => {};
  let refused = '';
  const guard: Guard = {
    entry: (at) => (at === refused ? `${at} is refused` : undefined),
    node: () => undefined,
    backend: () => undefined,
    onNodes: (listener) => {
      changed = listener;
      return () => {};
    },
  };
  const journal = new Noted();
  await using t = await setUp(journal, guard);
  for (const address of ['10.1.0.7', '10.1.0.8']) {
    const { key, value } = ipAnnouncement(address, 7, '192.0.2.1');
    await t.kv.put(key, value);
  }
  await eventually('both are in', () => t.tables.ipEntries.size === 4);
  const outdated = async () => {
    journal.timesOutdated = 0;
    for (let i = 0; i < 10; i++) {
      changed();
      await Promise.resolve();
    }
    return journal.timesOutdated;
  };
  assert.equal(await outdated(), 0);
  refused = '10.1.0.7';
  assert.equal(await outdated(), 1);
  assert.equal(t.tables.ipEntries.get('cla', '10.1.0.7'), undefined);
  assert.equal(t.tables.rejected.size, 1);
  refused = '';
  assert.equal(await outdated(), 1);
  assert.ok(t.tables.ipEntries.get('cla', '10.1.0.7'));
  assert.equal(t.tables.rejected.size, 0);
});
