import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Database, deriveGroups, formatTable, input, Reconciler, VirtualClock } from '../index.ts';

test('the README’s example runs, and is this one', async () => {
  // example
  interface Pod {
    readonly name: string;
    readonly node: string;
  }
  interface Load {
    readonly node: string;
    readonly pods: number;
  }
  const clock = new VirtualClock(); // in a program: clockFrom(...)
  const kernel = new Map<string, number>(); // the world, for this example
  const database = new Database();
  const pods = database.table({
    name: 'pods',
    key: (pod: Pod) => pod.name,
    indexes: { node: { keys: (pod) => pod.node } },
  });
  const loads = database.table({ name: 'loads', key: (load: Load) => load.node });
  const source = pods.source('api-server');

  deriveGroups<Load>({
    name: 'loads',
    inputs: [input(pods, (pod) => pod.node)],
    output: loads,
    compute: (node) => ({ node, pods: pods.count('node', node) }),
  });
  const reconciler = new Reconciler({
    name: 'kernel',
    table: loads,
    clock,
    random: () => 0.5,
    operations: {
      async update(batch) {
        for (const { key, row } of batch) kernel.set(key, row.pods);
      },
      async delete(batch) {
        for (const { key } of batch) kernel.delete(key);
      },
      async prune(rows) {
        const wanted = new Set(rows.map((row) => row.node));
        for (const node of kernel.keys()) if (!wanted.has(node)) kernel.delete(node);
      },
    },
  });

  database.write(() => {
    pods.put({ name: 'a', node: 'n1' });
    pods.put({ name: 'b', node: 'n1' });
  });
  source.done(); // all of the first state is in: from now on strangers may be pruned
  await reconciler.settled();
  const text = formatTable(loads.print());
  // NODE  PODS  KERNEL
  // n1    2     done
  await reconciler[Symbol.asyncDispose]();
  // end
  assert.equal(text, 'NODE  PODS  KERNEL\nn1    2     done');
  assert.deepEqual([...kernel], [['n1', 2]]);
  const own = readFileSync(import.meta.filename, 'utf8');
  const example =
    /\/\/ example\n([\s\S]*?) {2}\/\/ end/.exec(own)?.[1]?.replaceAll(/^ {2}/gm, '') ?? '?';
  assert.ok(readFileSync(`${import.meta.dirname}/../README.md`, 'utf8').includes(example));
});
