import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type Lease, memoryEtcd } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import { Database, VirtualClock } from '@causeway/tables';
import { watchedBy } from './echo-rounds.ts';
import { Presence } from './presence.ts';
import type { OpenWords } from './store-watch.ts';

test('presence: on a short lease, dropped by whoever stops, kept while the store is away', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const make = (node: string) => {
    let changes = 0;
    const presence = new Presence({
      node,
      kv: etcd.connect(),
      database: new Database(),
      clock,
      random: () => 0.5,
      onChange: () => changes++,
      log: silentLog,
    });
    return Object.assign(presence, { changes: () => changes });
  };
  await using a = make('a');
  const b = make('b');
  await using _b = b;
  a.announce(true);
  b.announce(true);
  await clock.advance(1_000);
  assert.ok(a.synced);
  assert.deepEqual([...a.living].sort(), ['a', 'b']);
  etcd.stop();
  await clock.advance(60_000);
  assert.deepEqual([...a.living].sort(), ['a', 'b']);
  etcd.start();
  await clock.advance(60_000);
  assert.deepEqual([...a.living].sort(), ['a', 'b']);
  b.announce(false);
  await clock.advance(1_000);
  assert.deepEqual([...a.living], ['a']);
  b.announce(true);
  await clock.advance(1_000);
  assert.equal(a.living.has('b'), true);
  // A process that ends leaves its key to the lease.
  await b[Symbol.asyncDispose]();
  await clock.advance(1_000);
  assert.equal(a.living.has('b'), true);
  await clock.advance(20_000);
  assert.deepEqual([...a.living], ['a']);
});

/** Nodes of one group, whose kernels answer or do not, over one store that each may lose alone. */
function group(
  names: readonly string[],
  clock: VirtualClock,
  etcd: ReturnType<typeof memoryEtcd>,
  witnesses: readonly string[] = [],
) {
  /** Whose echoes alone are lost. */
  const mute = new Set<string>();
  const nodes = [...names, ...witnesses].map((name, at) => ({
    name,
    address: Address.parse(`10.0.0.${at + 1}`),
  }));
  const away = new Set<string>();
  const said: string[] = [];
  /** Who has lost the store alone: it hears nothing of it, and its lease runs out there. */
  const storeless = new Set<string>();
  const leases = new Map<string, Lease>();
  const loseStore = (node: string) => {
    storeless.add(node);
    leases.get(node)?.abandon();
  };
  const words = new Map<string, (node: string) => boolean>();
  const make = (node: string) => {
    const kv = etcd.connect();
    const asker = (address: Address) => {
      const name = nodes.find((each) => each.address === address)!.name;
      let heard: number[] = [];
      return {
        send(sequence: number) {
          if (![name, node].some((each) => away.has(each) || mute.has(each))) heard.push(sequence);
          return 0;
        },
        heard() {
          const these = heard;
          heard = [];
          return these;
        },
        [Symbol.dispose]() {},
      };
    };
    const talk: OpenWords = (isOut) => {
      words.set(node, isOut);
      return {
        ask: async (address, who) => {
          const name = nodes.find((each) => each.address === address)!.name;
          return !away.has(name) && words.get(name)!(who);
        },
        async [Symbol.asyncDispose]() {},
      };
    };
    const reached = <T>(call: () => Promise<T>) =>
      away.has(node) || storeless.has(node)
        ? Promise.reject(new Error('no way to the store'))
        : call();
    const presence = new Presence({
      node,
      kv: {
        ...kv,
        watch: (...args) => {
          const watch = kv.watch(...args);
          return {
            async *batches() {
              for await (const events of watch.batches()) {
                while (storeless.has(node)) await clock.sleep(100);
                yield events;
              }
            },
            [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
          } as Partial<typeof watch> as typeof watch;
        },
        lease: async (...args) => {
          const lease = await kv.lease(...args);
          leases.set(node, lease);
          return lease;
        },
        health: kv.health.bind(kv),
        get: (...args) => reached(() => kv.get(...args)),
        txn: (...args) => reached(() => kv.txn(...args)),
      } as typeof kv,
      database: new Database(),
      clock,
      random: () => 0.5,
      watch: { watched: (living) => watchedBy(node, nodes, living), open: asker, words: talk },
      onChange: () => {},
      log: {
        ...silentLog,
        error: (_: unknown, text?: string) => said.push(`${node}: ${text}`),
      } as never,
    });
    return presence;
  };
  return { away, mute, storeless, loseStore, said, members: names.map(make) };
}

const livingOf = (presence: Presence) => [...presence.living].sort().join();

test('a node whose kernel answers no more is out within a second, says so itself, and comes back by itself', async () => {
  for (const [names, witnesses] of [
    [['a', 'b'], ['w']],
    [['a', 'b', 'c'], []],
  ] as const) {
    const clock = new VirtualClock();
    await using etcd = memoryEtcd({ clock });
    const { away, said, members } = group(names, clock, etcd, witnesses);
    for (const each of members) each.announce(true);
    await clock.advance(3_000);
    const all = names.join();
    const others = names.filter((name) => name !== 'b').join();
    assert.deepEqual(
      members.map(livingOf),
      names.map(() => all),
    );
    away.add('b');
    await clock.advance(950);
    for (const [at, member] of members.entries()) {
      if (names[at] !== 'b') assert.equal(livingOf(member), others);
      else assert.ok(!member.living.has('b'), 'it counts itself out');
    }
    assert.deepEqual(said, ['b: neither the other edge nodes nor the store answer']);
    await clock.advance(2_000);
    away.delete('b');
    await clock.advance(2_000);
    assert.deepEqual(
      members.map(livingOf),
      names.map(() => all),
      'all are back',
    );
    for (const each of members) await each[Symbol.asyncDispose]();
  }
});

test('who has lost the store alone stands back when others say that they go on without it, and no sooner', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const { storeless, loseStore, said, members } = group(['a', 'b', 'c'], clock, etcd);
  for (const each of members) each.announce(true);
  await clock.advance(3_000);
  const [a, b] = members as [Presence, Presence];
  loseStore('b');
  for (let passed = 0; a.living.has('b'); passed += 100) {
    assert.ok(passed < 15_000, 'its lease runs out');
    assert.ok(b.living.has('b'), 'while others count on it, it goes on');
    await clock.advance(100);
  }
  await clock.advance(1_500);
  assert.equal(livingOf(b), 'a,c');
  assert.deepEqual(said, ['b: the store answers others, and they go on without this node']);
  // Nobody can say more now, and that changes nothing.
  etcd.stop();
  await clock.advance(60_000);
  assert.deepEqual(members.map(livingOf), ['a,c', 'a,c', 'a,c']);
  etcd.start();
  storeless.delete('b');
  await clock.advance(20_000);
  assert.deepEqual(members.map(livingOf), ['a,b,c', 'a,b,c', 'a,b,c'], 'it comes back by itself');
  for (const each of members) await each[Symbol.asyncDispose]();
});

test('a store that is away for all takes nobody out; nor does a node whose own network is gone', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const { away, members } = group(['a', 'b', 'c'], clock, etcd);
  for (const each of members) each.announce(true);
  await clock.advance(3_000);
  etcd.stop();
  await clock.advance(5_000);
  assert.deepEqual(members.map(livingOf), ['a,b,c', 'a,b,c', 'a,b,c']);
  etcd.start();
  await clock.advance(5_000);
  away.add('a');
  await clock.advance(950);
  away.delete('a');
  await clock.advance(5_000);
  assert.deepEqual(members.map(livingOf), ['a,b,c', 'a,b,c', 'a,b,c']);
  for (const each of members) await each[Symbol.asyncDispose]();
});

test('two that lose only their echoes do not both go: one stays, and who is alone comes back', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const { mute, members } = group(['a', 'b'], clock, etcd);
  for (const each of members) each.announce(true);
  await clock.advance(3_000);
  mute.add('b');
  await clock.advance(3_000);
  const [one] = members.map(livingOf);
  assert.ok(one === 'a' || one === 'b', `${one} lives`);
  assert.equal(livingOf(members[1]!), one);
  await etcd.connect().delete(`causeway/state/edge/${one}`);
  await clock.advance(3_000);
  assert.notEqual(livingOf(members[0]!), '', 'where nobody lives, whoever was taken out is wanted');
  mute.delete('b');
  await clock.advance(3_000);
  assert.deepEqual(members.map(livingOf), ['a,b', 'a,b']);
  for (const each of members) await each[Symbol.asyncDispose]();
});

test('of two without a witness the one that lives goes on, also when the other took the store with it', async () => {
  const clock = new VirtualClock();
  await using etcd = memoryEtcd({ clock });
  const { away, members } = group(['a', 'b'], clock, etcd);
  for (const each of members) each.announce(true);
  await clock.advance(3_000);
  etcd.stop();
  away.add('a');
  await clock.advance(5_000);
  assert.ok(members[1]!.living.has('b'));
  etcd.start();
  await clock.advance(5_000);
  assert.equal(livingOf(members[1]!), 'b', 'and is chosen as soon as the store is there');
  for (const each of members) await each[Symbol.asyncDispose]();
});

test('an agent of an older version, which would not come back, is left to its lease', async () => {
  for (const [value, living] of [
    ['{}', 'a,b,c'],
    ['{"echo":"1"}', 'a,b,c'],
    ['{"echo":', 'a,b,c'],
    ['null', 'a,b,c'],
    ['{"echo":1,"more":true}', 'a,c'],
  ] as const) {
    const clock = new VirtualClock();
    await using etcd = memoryEtcd({ clock });
    const { mute, members } = group(['a', 'b', 'c'], clock, etcd);
    const kv = etcd.connect();
    const [a, , c] = members;
    for (const each of [a, c]) each!.announce(true);
    await kv.put('causeway/state/edge/b', value);
    await clock.advance(3_000);
    assert.equal((await kv.get('causeway/state/edge/a'))?.text, '{"echo":1}');
    mute.add('b');
    await clock.advance(3_000);
    assert.equal(livingOf(a!), living, value);
    for (const each of members) await each[Symbol.asyncDispose]();
  }
});
