/*
 * node --expose-gc packages/tables/bench/scale.bench.ts [ROWS]: what a table costs beside a plain Map
 * of the same rows. Prints JSON: nanoseconds per row and heap bytes per row.
 */
import { Database, deriveRows, Reconciler, VirtualClock } from '../index.ts';

interface Row {
  readonly prefix: string;
  readonly identity: number;
  readonly node: string;
}

const count = Number(process.argv[2] ?? 1_000_000);
const { gc } = globalThis as { gc?: () => void };
if (!gc) throw new Error('run with --expose-gc');

function heap(): number {
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
}

const report: { [name: string]: number } = { rows: count };

async function measure<T>(name: string, run: () => T | Promise<T>): Promise<T> {
  const before = heap();
  const start = performance.now();
  const result = await run();
  report[`${name}, ns/row`] = Math.round(((performance.now() - start) * 1e6) / count);
  report[`${name}, bytes/row`] = Math.round((heap() - before) / count);
  return result;
}

const rows = Array.from(
  { length: count },
  (_, i): Row => ({
    prefix: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`,
    identity: 65_536 + (i % 10_000),
    node: `node-${i % 1000}`,
  }),
);

const plain = await measure('plain Map', () => new Map(rows.map((row) => [row.prefix, row])));
const database = new Database();
const table = database.table({ name: 'ipcache', key: (row: Row) => row.prefix });
const indexed = database.table({
  name: 'indexed',
  key: (row: Row) => row.prefix,
  indexes: {
    identity: { keys: (row) => row.identity },
    node: { keys: (row) => row.node },
  },
});
const derived = database.table({ name: 'derived', key: (row: Row) => row.prefix });

await measure('table, insert', () => rows.forEach((row) => void table.put(row)));
await measure('table, write equal rows', () => rows.forEach((row) => void table.put({ ...row })));
await measure('table with two indexes, insert', () => rows.forEach((row) => void indexed.put(row)));
const tracker = indexed.changes('bench');
await measure('tracker, first pass', () => {
  while (tracker.pending) tracker.take();
});
const clock = new VirtualClock();
const reconciler = await measure('reconciler, first pass', async () => {
  const made = new Reconciler({
    name: 'bench',
    table,
    clock,
    random: () => 0.5,
    operations: { async update() {}, async delete() {} },
  });
  await made.settled();
  return made;
});
await measure('derivation, first pass', () => {
  deriveRows({ name: 'bench', from: indexed, to: derived, map: (row) => row });
  database.settle();
});

const single: number[] = [];
for (let i = 0; i < 2000; i++) {
  const row = rows[(i * 7919) % count] as Row;
  const start = performance.now();
  table.put({ ...row, identity: i });
  await reconciler.settled();
  single.push((performance.now() - start) * 1000);
}
single.sort((a, b) => a - b);
report['one change to reconciled, median us'] = Math.round(single[1000] ?? 0);
report['one change to reconciled, p99 us'] = Math.round(single[1980] ?? 0);
report['plain rows still alive'] = plain.size;
console.log(JSON.stringify(report, null, 2));
await reconciler[Symbol.asyncDispose]();
