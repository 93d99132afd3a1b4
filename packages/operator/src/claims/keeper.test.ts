import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import { CLAIMS, type Claim, claimKey, decodeClaim, encodeClaim, takeClaim } from '@causeway/ipam';
import { etcdStore, registryKey, reservedAddresses } from '@causeway/resources';
import { VirtualClock } from '@causeway/tables';
import { pool, startOperator, TestNode, until } from '../../testing/world.ts';
import { switchAddress } from './views.ts';

const reservation = (name: string, spec: object) => ({
  apiVersion: 'causeway.io/v1',
  kind: 'AddressReservation',
  metadata: { name, namespace: 'shop' },
  spec,
});

async function world(run: (kv: Kv) => Promise<void>): Promise<void> {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  await etcdStore(kv).apply([pool('default', { ipv4: { cidrs: ['10.0.0.0/16'], maskSize: 24 } })]);
  await using _operator = startOperator(kv);
  await run(kv);
}

async function claim(kv: Kv, address: string): Promise<Claim | undefined> {
  const entry = await kv.get(claimKey(address as Address));
  return entry && decodeClaim(entry.text);
}

/** Past what is asked at apply, as it comes to be where somebody else writes in the same moment. */
async function writeUnchecked(kv: Kv, object: ReturnType<typeof reservation>): Promise<void> {
  const metadata = { ...object.metadata, uid: object.metadata.name };
  const key = registryKey('AddressReservation', metadata);
  await kv.put(key, JSON.stringify({ ...object, metadata }));
}

const statusOf = async (kv: Kv, name: string) =>
  (await etcdStore(kv).get('AddressReservation', { namespace: 'shop', name })).status;

/** What a node writes when the owner's pod comes to it. */
async function take(kv: Kv, address: string, wish: Partial<Claim>, node: string): Promise<void> {
  const base = {
    owner: { type: 'pod', namespace: 'shop', pod: 'db-0' },
    partner: null,
    home: node,
  } as const;
  const step = takeClaim(
    await claim(kv, address),
    {
      address: address as Address,
      ttlSeconds: 60,
      reservation: null,
      ...base,
      ...(wish as object),
    },
    { node, holder: 'container-1' },
  );
  if (step.type !== 'write') throw new Error(step.type);
  await kv.put(claimKey(address as Address), encodeClaim(step.claim));
}

test('what a reservation names and nobody holds is claimed, both families together; bindings say so', () =>
  world(async (kv) => {
    await etcdStore(kv).apply([
      reservation('db', {
        workload: { kind: 'StatefulSet', name: 'db', ordinals: '0,2-3' },
        addresses: [
          { ipv4: '10.9.0.1', ipv6: 'fd00::1' },
          { ipv4: '10.9.0.2' },
          { ipv4: '10.9.0.9', ordinal: 0 },
        ],
      }),
    ]);
    await until('all are claimed', async () => (await statusOf(kv, 'db'))?.bindings?.length === 4);
    const first = await claim(kv, '10.9.0.1');
    assert.deepEqual(first?.owner, {
      type: 'workload',
      namespace: 'shop',
      kind: 'StatefulSet',
      name: 'db',
      ordinal: 2,
    });
    assert.equal(first?.partner, 'fd00::1');
    assert.equal((await claim(kv, 'fd00::1'))?.partner, '10.9.0.1');
    assert.equal((await claim(kv, '10.9.0.2'))?.owner.type, 'workload');
    assert.match(JSON.stringify((await statusOf(kv, 'db'))?.bindings), /"state":"reserved"/);
    // The reservation goes, and with it what nobody used, after its time.
    await etcdStore(kv).delete('AddressReservation', { namespace: 'shop', name: 'db' });
    await until('they are let go', async () => (await claim(kv, '10.9.0.1'))?.reservation === null);
  }));

test('of two reservations that came to name one address at once, who has it keeps it; the other is told', async () => {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  const first = reservation('db', { podName: 'db-0', addresses: [{ ipv4: '10.9.0.1' }] });
  const late = reservation('aa', { podName: 'aa-0', addresses: [{ ipv4: '10.9.0.1' }] });
  for (const each of [late, first]) await writeUnchecked(kv, each);
  await take(kv, '10.9.0.1', { reservation: 'shop/db' }, 'n1');
  await using _operator = startOperator(kv);
  await until('the late one is told', async () =>
    /10\.9\.0\.1 is kept by shop\/db too/.test((await statusOf(kv, 'aa'))?.error ?? ''),
  );
  await until(
    'the first one is bound',
    async () => (await statusOf(kv, 'db'))?.bindings?.length === 1,
  );
  assert.equal((await statusOf(kv, 'db'))?.error, undefined);
  assert.equal((await claim(kv, '10.9.0.1'))?.reservation, 'shop/db');
});

test('what somebody keeps becomes no gateway, also where the keeper has looked long ago; unread claims stop the giving', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  await using kv = etcd.connect();
  await etcdStore(kv).apply([pool('default', { ipv4: { cidrs: ['10.0.0.0/23'], maskSize: 24 } })]);
  const state = { hidden: false };
  const hidden: Kv['pages'] = (prefix, options) => {
    if (prefix === CLAIMS) throw new Error('the claims cannot be read');
    return kv.pages(prefix, options);
  };
  const reader = new Proxy(kv, {
    get(_, name) {
      if (name === 'pages' && state.hidden) return hidden;
      const value: unknown = Reflect.get(kv, name);
      return typeof value === 'function' ? value.bind(kv) : value;
    },
  });
  await using _operator = startOperator(reader, { clock });
  const passing = async (what: string, holds: () => Promise<boolean>) => {
    for (let turn = 0; !(await holds()); turn++) {
      assert.ok(turn < 1_000, what);
      await clock.advance(100);
    }
  };
  const [a, b] = [new TestNode(kv, 'a'), new TestNode(kv, 'b')];
  await a.ask('default', 10);
  await passing('a is served', async () => (await a.allocated()).length === 1);
  state.hidden = true;
  await clock.advance(60_000);
  await take(kv, '10.0.1.1', {}, 'n1');
  await b.ask('default', 10);
  await clock.advance(60_000);
  assert.deepEqual(await b.allocated(), [], 'nobody knows what is kept');
  state.hidden = false;
  await clock.advance(60_000);
  assert.deepEqual(await b.allocated(), [], 'its gateway is kept');
  await kv.delete(claimKey('10.0.1.1' as Address));
  await clock.advance(60_000);
  await b.ask('default', 11);
  await passing('b is served', async () => (await b.allocated()).length === 1);
});

test('an address that another has is refused with who has it; one in a node’s CIDR is left to that node', () =>
  world(async (kv) => {
    await take(kv, '10.9.0.1', {}, 'n1');
    const node = new TestNode(kv, 'n1');
    await node.ask('default', 10);
    await until('n1 has a CIDR', async () => (await node.allocated()).length === 1);
    const addresses = [{ ipv4: '10.9.0.1' }, { ipv4: '10.0.0.7' }];
    const late = reservation('a', { podName: 'other', addresses });
    await assert.rejects(etcdStore(kv).apply([late]), { code: 'address-taken' });
    await writeUnchecked(kv, late);
    await until('both are told', async () => {
      const text = (await statusOf(kv, 'a'))?.error ?? '';
      return (
        /10\.9\.0\.1 is kept for pod shop\/db-0 on n1/.test(text) &&
        /10\.0\.0\.7 is in 10\.0\.0\.0\/24 of node n1/.test(text)
      );
    });
    assert.equal(await claim(kv, '10.0.0.7'), undefined);
  }));

test('a kept address goes when it has lain unused for its time; one in use, or back in use, stays', () =>
  world(async (kv) => {
    for (const [address, releasedAt, ttlSeconds] of [
      ['10.9.0.1', 1, 1],
      ['10.9.0.2', null, 1],
      ['10.9.0.3', 1, 3600],
    ] as const) {
      await take(kv, address, {}, 'n1');
      const found = await claim(kv, address);
      const holder = releasedAt === null ? 'container-1' : null;
      await kv.put(
        claimKey(address as Address),
        encodeClaim({ ...found!, holder, releasedAt, ttlSeconds }),
      );
    }
    const node = new TestNode(kv, 'n1');
    await node.ask('default', 0);
    await until('the first has gone', async () => (await claim(kv, '10.9.0.1')) === undefined);
    assert.notEqual(await claim(kv, '10.9.0.2'), undefined);
    assert.notEqual(await claim(kv, '10.9.0.3'), undefined);
  }));

test('what a workload had under a reservation goes after its time; what the reservation names stays', () =>
  world(async (kv) => {
    await new TestNode(kv, 'n1').ask('default', 0);
    await etcdStore(kv).apply([
      reservation('db', { workload: { kind: 'StatefulSet', name: 'db' }, ttlSeconds: 1 }),
      reservation('fixed', { podName: 'db-0', addresses: [{ ipv4: '10.9.0.2' }], ttlSeconds: 1 }),
    ]);
    const bound = { reservation: 'shop/db', ttlSeconds: 1 };
    const owner = { type: 'workload', namespace: 'shop', kind: 'StatefulSet', name: 'db' } as const;
    await until('the named one', async () => (await claim(kv, '10.9.0.2')) !== undefined);
    await take(kv, '10.9.0.1', { ...bound, owner: { ...owner, ordinal: 7 } }, 'n1');
    const found = (await claim(kv, '10.9.0.1'))!;
    const left = encodeClaim({ ...found, holder: null, releasedAt: 1 });
    await kv.put(claimKey('10.9.0.1' as Address), left);
    await until('it has gone', async () => (await claim(kv, '10.9.0.1')) === undefined);
    const named = await claim(kv, '10.9.0.2');
    assert.deepEqual([named?.reservation, named?.ttlSeconds], ['shop/fixed', null]);
  }));

test('a hand-over leaves alone what was the owner’s in the other family and is another’s now', () =>
  world(async (kv) => {
    await new TestNode(kv, 'n1').ask('default', 0);
    await new TestNode(kv, 'n2').ask('default', 0);
    await take(kv, '10.9.0.1', { partner: 'fd00:9::1' as Address }, 'n1');
    const theirs = { owner: { type: 'pod', namespace: 'shop', pod: 'other' } } as const;
    await take(kv, 'fd00:9::1', theirs, 'n1');
    const found = (await claim(kv, '10.9.0.1'))!;
    const standby = { node: 'n2', holder: 'container-2' };
    await kv.put(claimKey(found.address), encodeClaim({ ...found, standby }));
    const done = await switchAddress(kv, found.address, 'n2');
    assert.deepEqual(
      done.map(({ address, node }) => [address, node]),
      [['10.9.0.1', 'n2']],
    );
    assert.equal((await claim(kv, 'fd00:9::1'))?.at, 'n1');
  }));

test('for a node that is gone for good, and its pod too, the operator lets go', () =>
  world(async (kv) => {
    await take(kv, '10.9.0.1', { ttlSeconds: 3600 }, 'gone');
    await until('it is released', async () => (await claim(kv, '10.9.0.1'))?.holder === null);
    assert.notEqual((await claim(kv, '10.9.0.1'))?.releasedAt, null);
  }));

test('addresses without an ordinal go to the ordinals that none is given to by name', () => {
  const made = reservedAddresses({
    ...reservation('db', {
      workload: { kind: 'StatefulSet', name: 'db', ordinals: '1-2' },
      addresses: [{ ipv4: '10.0.0.1' }, { ipv4: '10.0.0.2', ordinal: 1 }, { ipv4: '10.0.0.3' }],
    }),
  } as never);
  assert.deepEqual(
    made.map(({ address, owner }) => [
      address,
      owner.type === 'workload' ? owner.ordinal : owner.pod,
    ]),
    [
      ['10.0.0.1', 2],
      ['10.0.0.2', 1],
    ],
  );
});
