import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Database } from './database.ts';
import { TablesError } from './errors.ts';
import { formatTable } from './print.ts';
import type { Table } from './table.ts';
import { flush } from './virtual-clock.ts';

interface Pod {
  readonly id: string;
  readonly node: string;
  readonly ip: string;
  readonly tags: readonly string[];
}

function pods(
  database = new Database({ freeze: true }),
): Table<Pod, string, 'node' | 'ip' | 'tag'> {
  return database.table({
    name: 'pods',
    key: (pod: Pod) => pod.id,
    indexes: {
      node: { keys: (pod) => pod.node },
      ip: { keys: (pod) => (pod.ip === '' ? undefined : pod.ip), unique: true },
      tag: { keys: (pod) => pod.tags },
    },
  });
}

const pod = (id: string, node = 'n1', ip = '', tags: readonly string[] = []): Pod => ({
  id,
  node,
  ip,
  tags,
});
const code = (expected: string) => (error: unknown) =>
  error instanceof TablesError && error.code === expected;

test('rows are found by primary key and by every secondary key', () => {
  const table = pods();
  assert.equal(table.put(pod('a', 'n1', '10.0.0.1', ['x', 'y'])), true);
  table.put(pod('b', 'n1', '10.0.0.2', ['y']));
  table.put(pod('c', 'n2', '10.0.0.3'));
  assert.equal(table.size, 3);
  assert.equal(table.revision, 3);
  assert.deepEqual(
    [...table.by('node', 'n1')].map((row) => row.id),
    ['a', 'b'],
  );
  assert.equal(table.first('ip', '10.0.0.2')?.id, 'b');
  assert.equal(table.count('tag', 'y'), 2);
  assert.deepEqual([...table.indexKeys('tag')], ['x', 'y']);
  table.put(pod('a', 'n2', '10.0.0.1', ['y']));
  assert.deepEqual(
    [...table.by('node', 'n1')].map((row) => row.id),
    ['b'],
  );
  assert.equal(table.count('tag', 'x'), 0);
  assert.equal(table.delete('b')?.id, 'b');
  assert.equal(table.delete('b'), undefined);
  assert.equal(table.count('tag', 'y'), 1);
  // @ts-expect-error there is no such index
  assert.throws(() => table.by('none', 'x'), code('invalid-option'));
});

test('writing an equal row is no change', () => {
  const table = pods();
  table.put(pod('a', 'n1', '', ['x']));
  assert.equal(table.put(pod('a', 'n1', '', ['x'])), false);
  assert.equal(table.revision, 1);
  assert.equal(table.put(pod('a', 'n1', '', ['y'])), true);
});

test('a row is replaced only at the revision that the writer read', () => {
  const table = pods();
  assert.equal(table.putIfUnchanged(pod('a'), 0), true);
  const read = table.entry('a');
  table.put(pod('a', 'n2'));
  assert.equal(table.putIfUnchanged(pod('a', 'n3'), read?.revision ?? -1), false);
  assert.equal(table.putIfUnchanged(pod('a', 'n3'), table.entry('a')?.revision ?? -1), true);
  assert.equal(table.putIfUnchanged(pod('new'), 7), false);
  assert.equal(table.update('a', (row) => row && { ...row, node: 'n4' })?.node, 'n4');
  assert.equal(
    table.update('a', () => undefined),
    undefined,
  );
  assert.equal(table.size, 0);
});

test('a unique key belongs to one row, and a refusal changes nothing', () => {
  const table = pods();
  table.put(pod('a', 'n1', '10.0.0.1'));
  table.put(pod('b', 'n1', '10.0.0.2'));
  assert.throws(
    () => table.put(pod('b', 'n9', '10.0.0.1')),
    (error: TablesError) => {
      assert.equal(error.code, 'unique-violation');
      assert.match(error.message, /row b claims ip 10\.0\.0\.1, which row a holds/);
      return true;
    },
  );
  assert.equal(table.get('b')?.node, 'n1');
  assert.equal(table.revision, 2);
  table.put(pod('a', 'n2', '10.0.0.1'));
  table.delete('a');
  table.put(pod('b', 'n9', '10.0.0.1'));
  assert.equal(table.first('ip', '10.0.0.1')?.id, 'b');
});

test('rows are frozen where the database says so', () => {
  const table = pods();
  const row = pod('a', 'n1', '', ['x']);
  table.put(row);
  assert.throws(() => (row.tags as string[]).push('y'), TypeError);
});

test('a transaction over several tables is all or nothing, a nested one alone', () => {
  const database = new Database();
  const a = pods(database);
  const b = database.table({ name: 'other', key: (row: { id: number }) => row.id });
  using tracker = a.changes('t');
  a.put(pod('kept', 'n1', '10.0.0.1'));
  tracker.take();
  assert.throws(() =>
    database.write(() => {
      a.delete('kept');
      a.put(pod('new', 'n2', '10.0.0.1'));
      b.put({ id: 1 });
      assert.equal(a.first('ip', '10.0.0.1')?.id, 'new');
      throw new Error('no');
    }),
  );
  assert.deepEqual(
    [...a].map((row) => row.id),
    ['kept'],
  );
  assert.equal(a.first('ip', '10.0.0.1')?.id, 'kept');
  assert.equal(a.revision, 1);
  assert.equal(b.size, 0);
  assert.deepEqual(tracker.take(), []);

  database.write(() => {
    b.put({ id: 2 });
    assert.throws(() =>
      database.write(() => {
        b.put({ id: 3 });
        throw new Error('inner');
      }),
    );
    assert.equal(b.has(3), false);
    b.put({ id: 4 });
  });
  assert.deepEqual([...b.keys()], [2, 4]);
});

test('a transaction is synchronous and its feed waits for its end', () => {
  const database = new Database();
  const table = pods(database);
  using tracker = table.changes('t');
  assert.throws(() => database.write(async () => void table.put(pod('a'))), code('in-transaction'));
  assert.equal(table.size, 0);
  assert.throws(() => database.write(() => tracker.take()), code('in-transaction'));
  assert.throws(() => database.write(() => table.snapshot()), code('in-transaction'));
  assert.throws(() => pods(database), code('duplicate-table'));
  database.write(() => {
    table.put(pod('b'));
    const doomed = tracker;
    doomed[Symbol.dispose]();
  });
  assert.throws(() => tracker.take(), code('closed'));
  assert.equal(table.trackers().length, 0);
});

test('a listener that throws keeps nobody else from hearing of the change', async () => {
  const database = new Database();
  const spec = (name: string) => ({ name, key: (row: { id: string }) => row.id });
  const [first, second] = [database.table(spec('first')), database.table(spec('second'))];
  using tracker = second.changes('reader');
  const woken = tracker.wait();
  const heard: string[] = [];
  first.onCommit(() => {
    throw new Error('deaf');
  });
  first.onCommit(() => heard.push('first'));
  second.onCommit(() => heard.push('second'));
  assert.throws(() => {
    database.write(() => {
      first.put({ id: 'a' });
      second.put({ id: 'b' });
    });
  }, /deaf/);
  await woken;
  assert.deepEqual(heard, ['first', 'second']);
  assert.deepEqual([first.size, second.size], [1, 1], 'the change stands');
});

test('a tracker is told every row, then every change once, deletions included', async () => {
  const table = pods();
  table.put(pod('a'));
  table.put(pod('b'));
  table.delete('b');
  using tracker = table.changes('t');
  assert.deepEqual(
    tracker.take().map(({ type, key }) => `${type} ${key}`),
    ['put a'],
  );
  table.put(pod('c'));
  table.put(pod('a', 'n2'));
  table.put(pod('a', 'n3'));
  table.delete('c');
  assert.equal(table.graves, 1);
  const changes = tracker.take();
  assert.deepEqual(
    changes.map(({ type, key, row }) => `${type} ${key} ${row.node}`),
    ['put a n3', 'delete c n1'],
  );
  assert.equal(table.graves, 0);
  assert.equal(tracker.pending, false);

  table.delete('a');
  table.put(pod('a', 'n9'));
  assert.deepEqual(
    tracker.take().map(({ type, row }) => `${type} ${row.node}`),
    ['put n9'],
  );

  const stop = new AbortController();
  const seen: string[] = [];
  const reading = (async () => {
    for await (const batch of tracker.batches({ most: 1, signal: stop.signal })) {
      seen.push(...batch.map((change) => change.key));
    }
  })();
  await flush();
  table.put(pod('x'));
  table.put(pod('y'));
  await flush();
  assert.deepEqual(seen, ['x', 'y']);
  stop.abort();
  await reading;
});

test('a tracker is done when nothing is left to tell, also if what was last is long gone', () => {
  const table = pods();
  table.put(pod('a'));
  table.delete('a');
  using tracker = table.changes('t');
  assert.deepEqual(tracker.take(), []);
  assert.equal(tracker.pending, false);
  assert.equal(tracker.seen, table.revision);
});

test('a deletion waits for the slowest tracker, and for no one when there is none', () => {
  const table = pods();
  table.put(pod('a'));
  table.delete('a');
  assert.equal(table.graves, 0);
  table.put(pod('b'));
  const slow = table.changes('slow');
  using quick = table.changes('quick', 'now');
  assert.deepEqual(quick.take(), []);
  table.delete('b');
  quick.take();
  assert.equal(table.graves, 1);
  slow[Symbol.dispose]();
  assert.equal(table.graves, 0);
});

test('a snapshot shows its moment while the table moves on', () => {
  const table = pods();
  for (const id of ['a', 'b', 'c', 'd']) table.put(pod(id));
  using snapshot = table.snapshot();
  table.put(pod('a', 'n2'));
  table.delete('b');
  table.put(pod('e'));
  assert.equal(snapshot.get('a')?.node, 'n1');
  assert.equal(snapshot.get('b')?.id, 'b');
  assert.equal(snapshot.get('e'), undefined);
  assert.equal(snapshot.size, 4);
  const seen: string[] = [];
  for (const row of snapshot) {
    seen.push(`${row.id}${row.node}`);
    table.put(pod('c', 'n7'));
    table.delete('d');
  }
  assert.deepEqual(seen.sort(), ['an1', 'bn1', 'cn1', 'dn1']);
  snapshot[Symbol.dispose]();
  assert.throws(() => snapshot.get('a'), code('closed'));
});

test('a table is initialized when every named source has delivered', async () => {
  const table = pods();
  const first = table.source('k8s');
  const second = table.source('restored');
  let ready = false;
  const waiting = table.whenInitialized().then(() => {
    ready = true;
  });
  first.done();
  first.done();
  await flush();
  assert.deepEqual([ready, table.initialized, table.pendingSources], [false, false, ['restored']]);
  second.done();
  await waiting;
  assert.equal(table.initialized, true);
  const late = pods();
  late.source('never');
  await assert.rejects(late.whenInitialized(AbortSignal.timeout(1)));
});

test('replace makes a source’s full state the only one in its scope', () => {
  const table = pods();
  table.put(pod('mine-1', 'n1', '10.0.0.1'));
  table.put(pod('mine-2', 'n1'));
  table.put(pod('theirs', 'n2'));
  const changes = table.replace(
    [pod('mine-3', 'n1', '10.0.0.1'), pod('mine-2', 'n1')],
    (row) => row.node === 'n1',
  );
  assert.equal(changes, 2);
  assert.deepEqual([...table.keys()].sort(), ['mine-2', 'mine-3', 'theirs']);
});

test('a table prints itself, with the statuses that were put beside it', () => {
  const database = new Database();
  const table = database.table({
    name: 'routes',
    key: (row: { id: string; via: Uint8Array; metric: bigint }) => row.id,
    columns: [
      { name: 'id', of: (row) => row.id },
      { name: 'via', of: (row) => row.via },
      { name: 'metric', of: (row) => row.metric },
    ],
  });
  table.put({ id: '10.0.0.0/8', via: Uint8Array.of(10, 255), metric: 7n });
  table.put({ id: '::/0', via: new Uint8Array(), metric: 2n ** 64n });
  table.showStatus('kernel', (key) => (key === '::/0' ? 'done' : null));
  const printed = table.print();
  assert.equal(
    JSON.stringify(printed.rows[0]),
    '{"id":"10.0.0.0/8","via":"0aff","metric":"7","kernel":null}',
  );
  assert.equal(
    formatTable(printed),
    [
      'ID          VIA   METRIC                KERNEL',
      '10.0.0.0/8  0aff  7                     -',
      '::/0              18446744073709551616  done',
    ].join('\n'),
  );
  assert.equal(table.print(1).rows.length, 1);
});

/** Random transactions, some of which fail, against a plain map; trackers and snapshots at random times. */
test('model: tables, indexes, trackers and snapshots agree with a map', () => {
  const write = fc.oneof(
    fc.record({ type: fc.constant('put' as const), id: fc.nat(7), node: fc.nat(2), ip: fc.nat(5) }),
    fc.record({ type: fc.constant('delete' as const), id: fc.nat(7) }),
  );
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        type: fc.constant('write' as const),
        writes: fc.array(write, { maxLength: 5 }),
        fail: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant('read' as const),
        tracker: fc.nat(2),
        most: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('reopen' as const), tracker: fc.nat(2) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('snapshot' as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const database = new Database({ freeze: true });
      const table = pods(database);
      let model = new Map<string, Pod>();
      const readers = [0, 1, 2].map(() => ({
        tracker: table.changes('t'),
        seen: new Map<string, Pod>(),
      }));
      let snapshot = { taken: table.snapshot(), model: new Map(model) };
      const read = ({ tracker, seen }: (typeof readers)[0], most: number) => {
        let last = 0;
        for (const change of tracker.take(most)) {
          assert.ok(change.revision > last, 'changes come in order of revision');
          last = change.revision;
          if (change.type === 'put') seen.set(change.key, change.row);
          else seen.delete(change.key);
        }
      };
      for (const action of steps) {
        if (action.type === 'read')
          read(readers[action.tracker] as (typeof readers)[0], action.most);
        else if (action.type === 'reopen') {
          readers[action.tracker]?.tracker[Symbol.dispose]();
          readers[action.tracker] = { tracker: table.changes('t'), seen: new Map() };
        } else if (action.type === 'snapshot') {
          assert.deepEqual(
            new Map([...snapshot.taken].map((row) => [row.id, row])),
            snapshot.model,
          );
          snapshot.taken[Symbol.dispose]();
          snapshot = { taken: table.snapshot(), model: new Map(model) };
        } else {
          const next = new Map(model);
          const before = table.revision;
          try {
            database.write(() => {
              for (const item of action.writes) {
                const id = `p${item.id}`;
                if (item.type === 'delete') {
                  table.delete(id);
                  next.delete(id);
                  continue;
                }
                const row = pod(id, `n${item.node}`, item.ip === 0 ? '' : `ip${item.ip}`, [
                  `t${item.ip % 2}`,
                  `t${item.node}`,
                ]);
                const taken = [...next.values()].some(
                  (other) => other.id !== id && row.ip !== '' && other.ip === row.ip,
                );
                if (taken) assert.throws(() => table.put(row), code('unique-violation'));
                else {
                  table.put(row);
                  next.set(id, row);
                }
              }
              if (action.fail) throw new Error('undo');
            });
            model = next;
          } catch (error) {
            assert.equal((error as Error).message, 'undo');
            assert.equal(table.revision, before);
          }
        }
        assert.deepEqual(new Map([...table].map((row) => [row.id, row])), model);
        for (const node of ['n0', 'n1', 'n2']) {
          const expected = [...model.values()]
            .filter((row) => row.node === node)
            .map((row) => row.id);
          assert.deepEqual(
            [...table.by('node', node)].map((row) => row.id).sort(),
            expected.sort(),
          );
        }
        for (const row of model.values()) {
          if (row.ip !== '') assert.equal(table.first('ip', row.ip), table.get(row.id));
        }
      }
      for (const reader of readers) {
        while (reader.tracker.pending) read(reader, 3);
        assert.deepEqual(reader.seen, model);
      }
      assert.equal(table.graves, 0, 'every deletion has been seen and let go');
      assert.deepEqual(new Map([...snapshot.taken].map((row) => [row.id, row])), snapshot.model);
    }),
    { numRuns: 300 },
  );
});
