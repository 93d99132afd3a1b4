import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address, Prefix } from '@causeway/ip';
import { Database } from '@causeway/tables';
import { CLUSTER, LAYOUT } from '../testing/test-cluster.ts';
import { meshTables } from './rows.ts';
import { type Guard, sinkOf } from './sinks.ts';

const RANGE = '10.1.0.0/24' as Prefix;

function setUp() {
  const refused = new Set<Address | Prefix>();
  const guard: Guard = {
    entry: (at) => (refused.has(at) ? `${at} is refused` : undefined),
    node: () => undefined,
    backend: () => undefined,
    onNodes: () => () => {},
  };
  const tables = meshTables(new Database({ freeze: true }), 'own');
  const sink = sinkOf('ip', { tables, cluster: CLUSTER, layout: LAYOUT, guard });
  return { refused, tables, sink };
}

const range = () =>
  Buffer.from('{"IP":"10.1.0.0","Mask":"////AA==","HostIP":"192.0.2.1","ID":65792,"Key":0}');

test('what is to be judged again is held without the page that it came in', () => {
  const { refused, tables, sink } = setUp();
  const value = range();
  const page = Buffer.alloc(4096);
  page.set(value, 100);
  sink.put(RANGE, { key: RANGE, value: page.subarray(100, 100 + value.length), text: '' });
  page.fill(0);
  refused.add(RANGE);
  const told: [string, string | undefined, boolean][] = [];
  const tell = (...each: [string, string | undefined, boolean]) => void told.push(each);
  sink.recheck?.(tell);
  assert.equal(tables.ipEntries.size, 0);
  refused.clear();
  sink.recheck?.(tell);
  assert.equal(tables.ipEntries.get('cla', RANGE)?.identity, 65792);
  assert.deepEqual(told, [
    [RANGE, '10.1.0.0/24 is refused', true],
    [RANGE, undefined, true],
  ]);
});
