import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import { Database, flush, VirtualClock } from '@causeway/tables';
import { type NodeRow, type NodeTable, nodeKey } from '../cluster/tables.ts';
import { BlockRecords } from './block-records.ts';

test('a record that is called for while it is being read is read once more, at once', async () => {
  const clock = new VirtualClock();
  let reads = 0;
  let during = () => {};
  const kv = {
    get: async () => {
      reads++;
      during();
      return undefined;
    },
    pages: async function* () {},
  } as unknown as Kv;
  const nodes: NodeTable = new Database().table({
    name: 'nodes',
    key: (row: NodeRow) => nodeKey(row.cluster, row.name),
    indexes: { address: { keys: () => [] } },
  });
  await using records = new BlockRecords({
    ...{ kv, clock, cluster: 'c', node: 'n1', nodes },
    ...{ onChange: () => {}, log: silentLog },
  });
  during = () => {
    during = () => {};
    records.again();
  };
  const readBy = async (call: () => void) => {
    reads = 0;
    call();
    await flush();
    return reads;
  };
  const block = Prefix.parse('10.1.0.0/24');
  assert.equal(await readBy(() => records.follow(new Map([[block, false]]))), 2);
  assert.equal(await readBy(() => records.again()), 1);
  await clock.advance(20_000);
  assert.equal(reads, 1, 'at rest it is read now and then');
});
