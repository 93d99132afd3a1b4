import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { absent, memoryEtcd, systemClock } from '../index.ts';

test('the README’s example runs, and is this one', async () => {
  // example
  await using etcd = memoryEtcd({ clock: systemClock }); // in production: connectKv({ endpoints })
  const kv = etcd.connect();

  const lease = await kv.lease(900);
  const { succeeded } = await kv.txn({
    compare: [absent('cilium/state/identities/v1/id/65536')],
    success: [
      {
        type: 'put',
        key: 'cilium/state/identities/v1/id/65536',
        value: 'k8s:app=x;',
        lease: lease.id,
      },
    ],
  });

  const identities = new Map<string, string>();
  for await (const events of kv.watch('cilium/state/identities/v1/id/').batches()) {
    for (const event of events) {
      if (event.type === 'put') identities.set(event.entry.key, event.entry.text);
      else if (event.type === 'delete') identities.delete(event.key);
    }
    if (events.some((event) => event.type === 'synced')) break; // leaving the loop ends the watch
  }
  // end
  assert.equal(succeeded, true);
  assert.deepEqual([...identities], [['cilium/state/identities/v1/id/65536', 'k8s:app=x;']]);
  const own = readFileSync(import.meta.filename, 'utf8');
  const example =
    /\/\/ example\n([\s\S]*?) {2}\/\/ end/.exec(own)?.[1]?.replaceAll(/^ {2}/gm, '') ?? '?';
  assert.ok(readFileSync(`${import.meta.dirname}/../README.md`, 'utf8').includes(example));
});
