import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flush, VirtualClock } from '@causeway/tables';
import { Client } from './client.ts';
import { KvError } from './errors.ts';
import type { Header, Transport } from './transport.ts';

const header: Header = { clusterId: 'c', memberId: 'm', revision: 7, endpoint: 'e' };

/** A client whose store answers a probe at once, or lets a deadline pass that is told `late` ms after its time. */
function client() {
  const clock = new VirtualClock();
  let answers = true;
  let late = 0;
  let clusterId = header.clusterId;
  let probes = 0;
  const probe: Transport['probe'] = async ({ deadline }) => {
    probes++;
    if (answers) return { header: { ...header, clusterId } };
    await clock.sleep(deadline + late, new AbortController().signal);
    throw new KvError('deadline', 'status', 'no answer');
  };
  const transport = { probe, async [Symbol.asyncDispose]() {} } as unknown as Transport;
  const kv = new Client(transport, {
    clock,
    random: () => 0.5,
    deadline: 5000,
    probeInterval: 10_000,
  });
  const told: boolean[] = [];
  kv.onHealth(({ connected }) => told.push(connected));
  return {
    ...{ clock, kv, told },
    probes: () => probes,
    store: (change: {
      readonly answers: boolean;
      readonly late?: number;
      readonly clusterId?: string;
    }) => {
      ({ answers, late = 0, clusterId = header.clusterId } = change);
    },
  };
}

test('a deadline that is kept says that the store is away', async () => {
  const { clock, kv, told, store } = client();
  await flush();
  assert.equal(kv.health().connected, true);
  store({ answers: false });
  await clock.advance(15_000);
  assert.deepEqual([kv.health().connected, told], [false, [true, false]]);
  await kv[Symbol.asyncDispose]();
});

test('one that is told late says that we had no time: the store is asked again at once', async () => {
  const { clock, kv, told, store, probes } = client();
  await flush();
  store({ answers: false, late: 2000 });
  await clock.advance(16_900);
  const before = probes();
  store({ answers: true });
  await clock.advance(200);
  assert.equal(probes(), before + 1);
  assert.deepEqual([kv.health().connected, told], [true, [true]]);
  assert.equal(kv.health().lastError?.code, 'deadline', 'it is told all the same');
  await kv[Symbol.asyncDispose]();
});

test('a second one in a row is believed', async () => {
  const { clock, kv, told, store } = client();
  await flush();
  store({ answers: false, late: 2000 });
  await clock.advance(17_100);
  assert.equal(kv.health().connected, true);
  await clock.advance(7000);
  assert.deepEqual([kv.health().connected, told], [false, [true, false]]);
  await kv[Symbol.asyncDispose]();
});

test('a proxy that tells no cluster id is no other store', async () => {
  const { clock, kv, store } = client();
  await flush();
  store({ answers: true, clusterId: '0' });
  await clock.advance(10_000);
  assert.equal(kv.health().clusterId, 'c');
  store({ answers: true, clusterId: 'other' });
  await clock.advance(10_000);
  assert.equal(kv.health().clusterId, 'other');
  await kv[Symbol.asyncDispose]();
});
