import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { History } from './history.ts';
import { APPLICATION_ID, migrate, pragma, SCHEMA_VERSION, versionOf } from './schema.ts';
import type { HistoryLimits } from './types.ts';

const LIMITS: HistoryLimits = { rows: 1000, bytes: 1 << 28, days: 7 };
const NOW = 1_800_000_000_000;

class Place implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), `cw-bmp-${process.pid}-`));
  readonly file = join(this.directory, 'history.sqlite');

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const open = (place: Place, limits: Partial<HistoryLimits> = {}) =>
  History.open(place.file, { ...LIMITS, ...limits }, NOW);

function fill(history: History, count: number, at: (i: number) => number, bytes = 0): void {
  for (let i = 0; i < count; i += 1) {
    history.add({
      id: history.nextEvent(),
      at: at(i),
      type: 'peer-down',
      router: 1,
      peer: (i % 3) + 1,
      data: { i },
      ...(bytes === 0 ? {} : { prefixes: new Uint8Array(bytes).fill(1) }),
    });
  }
}

test('events come back newest first, in pages, by time, type, router and peer', () => {
  using place = new Place();
  using history = open(place).history;
  fill(history, 100, (i) => NOW + i);
  assert.equal(history.events({ limit: 10 }).length, 0, 'nothing is there before the flush');
  history.flush(NOW);
  const first = history.events({ limit: 60 });
  const rest = history.events({ limit: 60, before: first.at(-1)!.id });
  assert.deepEqual(
    [...first, ...rest].map(({ data }) => data.i),
    Array.from({ length: 100 }, (_, i) => 99 - i),
  );
  assert.equal(history.events({ limit: 1000, since: NOW + 90 }).length, 10);
  assert.equal(history.events({ limit: 1000, until: NOW + 9 }).length, 10);
  assert.equal(history.events({ limit: 1000, types: ['peer-up'] }).length, 0);
  assert.equal(history.events({ limit: 1000, routers: [2] }).length, 0);
  assert.equal(history.downs(1, NOW + 50), 17);
});

test('routers that nobody knows, a new name at each connection, do not fill the disk', () => {
  using place = new Place();
  using history = open(place).history;
  const known = history.router('192.0.2.1', 'ours');
  for (let i = 0; i < 12_000; i += 1) {
    const name = `r${i}`;
    history.putRouter(history.router('192.0.2.9', name), '192.0.2.9', name, {}, NOW + i);
    if (i % 100 === 0) history.putRouter(known, '192.0.2.1', 'ours', {}, NOW + i);
    if (i % 500 === 499) history.flush(NOW + i);
  }
  const rows = history.routers(0).length;
  assert.ok(rows <= 10_000, `${rows} routers are kept`);
  assert.equal(history.router('192.0.2.1', 'ours'), known, 'one that is seen now and then stays');
});

test('faults with long lists of prefixes keep within the bytes as events do', () => {
  using place = new Place();
  using history = open(place, { bytes: 1 << 20 }).history;
  for (let i = 0; i < 100; i += 1) {
    const prefixes = new Uint8Array(50_000).fill(1);
    history.putFault({
      id: history.nextFault(),
      opened: NOW + i,
      state: 'recovered',
      data: { i },
      prefixes,
    });
    if (i % 10 === 9) history.flush(NOW + i);
  }
  assert.ok(history.bytes <= 1 << 20, `${history.bytes} bytes`);
  const kept = history.faults({ limit: 1000 });
  assert.ok(kept.length > 5 && kept[0]!.opened === NOW + 99, 'the latest are kept');
});

test('a second opening has everything, and numbers go on', () => {
  using place = new Place();
  {
    using history = open(place).history;
    fill(history, 5, () => NOW);
    const router = history.router('192.0.2.1', 'r1');
    assert.equal(history.router('192.0.2.1', 'r1'), router, 'also before it is written');
    history.putRouter(router, '192.0.2.1', 'r1', {}, NOW);
    history.putFault({ id: history.nextFault(), opened: NOW, state: 'open', data: { a: 1 } });
    history.flush(NOW);
  }
  using history = open(place).history;
  assert.equal(history.rows, 5);
  assert.equal(history.nextEvent(), 6);
  assert.equal(history.nextFault(), 2);
  assert.equal(history.router('192.0.2.1', 'r1'), 1);
  assert.equal(history.router('192.0.2.1', 'r2'), 2);
  assert.deepEqual(
    history.faults({ limit: 9 }).map(({ data }) => data),
    [{ a: 1 }],
  );
});

test('a fault’s later states keep the prefixes of its judgement', () => {
  using place = new Place();
  using history = open(place).history;
  const fault = { id: 1, opened: NOW, data: {} };
  history.putFault({ ...fault, state: 'open', prefixes: Uint8Array.of(1, 2) });
  history.putFault({ ...fault, state: 'recovered' });
  history.flush(NOW);
  const stored = history.fault(1);
  assert.equal(stored?.state, 'recovered');
  assert.deepEqual(stored?.prefixes, Uint8Array.of(1, 2));
});

test('bounded by rows: the oldest go', () => {
  using place = new Place();
  using history = open(place, { rows: 200 }).history;
  for (let round = 0; round < 10; round += 1) {
    fill(history, 100, (i) => NOW + round * 100 + i);
    history.flush(NOW);
    assert.ok(history.rows <= 200, `${history.rows} rows`);
  }
  const events = history.events({ limit: 1000 });
  assert.equal(events.length, history.rows);
  assert.equal(events[0]?.data.i, 99);
});

test('bounded by bytes', () => {
  using place = new Place();
  const limit = 1 << 20;
  using history = open(place, { rows: 1_000_000, bytes: limit }).history;
  for (let round = 0; round < 20; round += 1) {
    fill(history, 50, () => NOW + round, 10_000);
    history.flush(NOW);
    assert.ok(history.bytes <= limit, `${history.bytes} bytes`);
  }
  assert.ok(history.rows > 50, 'but not emptied');
});

test('bounded by age', () => {
  using place = new Place();
  using history = open(place).history;
  fill(history, 10, (i) => NOW - i * 86_400_000);
  history.putFault({ id: 1, opened: NOW - 9 * 86_400_000, state: 'recovered', data: {} });
  history.putRouter(1, '192.0.2.1', 'gone', {}, NOW - 9 * 86_400_000);
  history.flush(NOW);
  assert.equal(history.rows, 8);
  assert.equal(history.fault(1), undefined);
  assert.deepEqual(history.routers(0), []);
});

test('an older file is brought up to date, with what is in it', () => {
  using place = new Place();
  {
    const db = new DatabaseSync(place.file);
    migrate(db, 1);
    db.exec(`INSERT INTO events VALUES (1, ${NOW}, 'peer-up', 1, 1, '{}', NULL)`);
    db.close();
  }
  const { history, aside } = open(place);
  using _ = history;
  assert.equal(aside, undefined);
  assert.equal(history.rows, 1);
  history.putFault({ id: 1, opened: NOW, state: 'open', data: {} });
  history.flush(NOW);
  assert.equal(history.problem, undefined);
  assert.equal(history.faults({ limit: 9 }).length, 1);
});

/** What stands in the file, the code of the refusal. */
const strangers: readonly (readonly [string, (file: string) => void, string])[] = [
  [
    'a newer version',
    (file) => {
      const db = new DatabaseSync(file);
      migrate(db);
      db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
      db.close();
    },
    'history-newer',
  ],
  [
    'another program’s database',
    (file) => {
      const db = new DatabaseSync(file);
      db.exec('CREATE TABLE bookmarks (url TEXT)');
      db.close();
    },
    'history-foreign',
  ],
  [
    'no database',
    (file) => writeFileSync(file, 'once upon a time '.repeat(1000)),
    'history-corrupt',
  ],
  [
    'a database cut short',
    (file) => {
      const db = new DatabaseSync(file);
      migrate(db);
      db.close();
      writeFileSync(file, new Uint8Array(8192).fill(7));
    },
    'history-corrupt',
  ],
];
for (const [name, make, code] of strangers) {
  test(`${name}: refused, set aside, and begun anew`, () => {
    using place = new Place();
    make(place.file);
    const { history, aside } = open(place);
    using _ = history;
    assert.equal(aside?.error.code, code);
    assert.ok(existsSync(aside!.file), 'kept for a person to look at');
    assert.ok(aside!.file.includes(code));
    fill(history, 3, () => NOW);
    history.flush(NOW);
    assert.equal(history.rows, 3);
    assert.ok(readdirSync(place.directory).length >= 2);
  });
}

test('the file says what it is', () => {
  using place = new Place();
  open(place).history[Symbol.dispose]();
  const db = new DatabaseSync(place.file);
  try {
    assert.equal(pragma(db, 'application_id'), APPLICATION_ID);
    assert.equal(versionOf(db), SCHEMA_VERSION);
    assert.equal(Object.values(db.prepare('PRAGMA journal_mode').get()!)[0], 'wal');
  } finally {
    db.close();
  }
});

test("another program's lock costs nothing: what waits is written once it is gone", () => {
  using place = new Place();
  using history = open(place).history;
  const other = new DatabaseSync(place.file);
  try {
    other.exec('BEGIN IMMEDIATE');
    fill(history, 4, () => NOW);
    history.flush(NOW);
    assert.deepEqual([history.dropped, history.waiting, history.rows], [0, 4, 0]);
    assert.match(history.problem ?? '', /locked/);
    assert.equal(history.events({ limit: 10 }).length, 0, 'it can be asked meanwhile');
    other.exec('ROLLBACK');
  } finally {
    other.close();
  }
  fill(history, 2, () => NOW);
  history.flush(NOW);
  assert.equal(history.problem, undefined);
  assert.deepEqual([history.dropped, history.waiting, history.rows], [0, 0, 6]);
});

test('a lock that stays costs no more memory than there may wait', () => {
  using place = new Place();
  using history = open(place, { rows: 1_000_000 }).history;
  const other = new DatabaseSync(place.file);
  try {
    other.exec('BEGIN IMMEDIATE');
    fill(history, 20_100, () => NOW);
    assert.equal(history.dropped, 20_000);
    assert.equal(history.waiting, 100);
  } finally {
    other.close();
  }
});

test('a history that somebody has locked is not taken for a broken one', () => {
  using place = new Place();
  {
    using history = open(place).history;
    fill(history, 3, () => NOW);
    history.flush(NOW);
  }
  const other = new DatabaseSync(place.file);
  try {
    other.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; SELECT count(*) FROM events');
    assert.throws(() => open(place), { code: 'history-failed', message: /locked/ });
  } finally {
    other.close();
  }
  const { history, aside } = open(place);
  using _ = history;
  assert.equal(aside, undefined);
  assert.equal(history.rows, 3);
});

test('what waits is bounded: it is written before the next flush is asked for', () => {
  using place = new Place();
  using history = open(place, { rows: 1_000_000 }).history;
  fill(history, 25_000, () => NOW);
  assert.ok(history.waiting < 20_000, `${history.waiting} wait`);
  assert.ok(history.rows >= 20_000);
});
