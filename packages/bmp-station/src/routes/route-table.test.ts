import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttributeTable, hashBytes, NextHopTable } from '@causeway/bgp';
import fc from 'fast-check';
import { findInPrefixLog, PrefixLog, readPrefixLog } from '../history/prefix-log.ts';
import { Change } from './rib.ts';
import { RouteTable } from './route-table.ts';

function tables() {
  const nextHops = new NextHopTable();
  const attributes = new AttributeTable(nextHops);
  return { nextHops, attributes };
}

/** ORIGIN, an empty AS_PATH, MED of the given number. */
const setBytes = (med: number): Uint8Array =>
  Uint8Array.of(0x40, 1, 1, 0, 0x40, 2, 0, 0x80, 4, 4, 0, 0, 0, med);

test('a table does what a map of maps does, and leaves nothing behind', () => {
  const command = fc.oneof(
    fc.record({
      type: fc.constantFrom('announce', 'withdraw'),
      feed: fc.integer({ min: 1, max: 5 }),
      prefix: fc.nat(30),
      pathId: fc.nat(2),
      set: fc.nat(3),
    }),
    fc.record({ type: fc.constant('clear'), feed: fc.integer({ min: 1, max: 5 }) }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
      const { nextHops, attributes } = tables();
      const table = new RouteTable(32, attributes);
      const model = new Map<string, number>();
      const key = (feed: number, prefix: number, pathId: number) => `${feed} ${prefix} ${pathId}`;
      for (const one of commands) {
        if (one.type === 'clear') {
          const gone: number[] = [];
          table.clear(one.feed, (prefix) => gone.push(table.prefixes.words[prefix]! >>> 8));
          const wanted = [...model.keys()].filter((name) => name.startsWith(`${one.feed} `));
          assert.equal(gone.length, wanted.length);
          for (const name of wanted) model.delete(name);
          continue;
        }
        const { feed, prefix, pathId, set } = one as Extract<typeof one, { prefix: number }>;
        const name = key(feed, prefix, pathId);
        const word = prefix << 8;
        if (one.type === 'withdraw') {
          const number = table.prefixes.find(24, word, 0, 0, 0);
          const done = number !== 0 && table.withdraw(feed, number, pathId);
          assert.equal(done, model.delete(name));
          if (done) table.settle(number);
          continue;
        }
        const hop = nextHops.intern(Uint8Array.of(192, 0, 2, 1), 0, 4);
        const bytes = setBytes(set);
        const id = attributes.intern(bytes, 0, bytes.length, hashBytes(bytes), hop);
        nextHops.release(hop);
        const number = table.prefixes.insert(24, word, 0, 0, 0);
        const done = table.announce(feed, number, pathId, id, 1);
        const before = model.get(name);
        assert.equal(done, before === undefined ? 'new' : before === id ? 'same' : 'changed');
        model.set(name, id);
      }
      assert.equal(table.size, model.size);
      for (let feed = 1; feed <= 5; feed += 1) {
        const own = [...model.keys()].filter((name) => name.startsWith(`${feed} `));
        assert.equal(table.countOf(feed), own.length);
      }
      for (const [name, id] of model) {
        const [feed, prefix, pathId] = name.split(' ').map(Number) as [number, number, number];
        const number = table.prefixes.find(24, prefix << 8, 0, 0, 0);
        const slot = table.find(feed, number, pathId);
        assert.equal(table.attributes[slot], id);
        const chained: number[] = [];
        for (let at = table.firstOfPrefix[number]!; at !== 0; at = table.nextOfPrefix[at]!)
          chained.push(at);
        assert.ok(chained.includes(slot));
      }
      for (let feed = 1; feed <= 5; feed += 1) table.clear(feed, () => {});
      assert.deepEqual([table.size, table.prefixes.size, attributes.size], [0, 0, 0]);
    }),
    { numRuns: 200 },
  );
});

test('many routes: the tables grow and shrink', () => {
  const { nextHops, attributes } = tables();
  const table = new RouteTable(32, attributes);
  const hop = nextHops.intern(Uint8Array.of(192, 0, 2, 1), 0, 4);
  const bytes = setBytes(1);
  for (let round = 0; round < 2; round += 1) {
    for (let feed = 1; feed <= 100; feed += 1) {
      for (let prefix = 0; prefix < 300; prefix += 1) {
        const id = attributes.intern(bytes, 0, bytes.length, hashBytes(bytes), hop);
        table.announce(feed, table.prefixes.insert(24, prefix << 8, 0, 0, 0), 0, id, 1);
      }
    }
    assert.equal(table.size, 30_000);
    for (let feed = 1; feed <= 100; feed += 1) table.clear(feed, () => {});
    assert.equal(table.size, 0);
  }
});

test('a pinned prefix keeps its number', () => {
  const { attributes } = tables();
  const table = new RouteTable(128, attributes);
  const number = table.prefixes.insert(48, 0x2001_0db8, 0x10000, 0, 0);
  table.pin(number);
  table.settle(number);
  assert.equal(table.prefixes.text(number), '2001:db8:1::/48');
  table.unpin(number);
  assert.equal(table.prefixes.size, 0);
});

test('a log of prefixes comes back as it was, and finds one prefix', () => {
  const log = new PrefixLog();
  const { attributes } = tables();
  const [four, six] = [new RouteTable(32, attributes), new RouteTable(128, attributes)];
  const prefixes: [string, Change, RouteTable, number][] = [
    ['0.0.0.0/0', Change.lost, four, four.prefixes.insert(0, 0, 0, 0, 0)],
    ['10.1.2.0/23', Change.announced, four, four.prefixes.insert(23, 0x0a010200, 0, 0, 0)],
    ['192.0.2.1/32', Change.withdrawn, four, four.prefixes.insert(32, 0xc0000201 | 0, 0, 0, 0)],
    ['2001:db8::/29', Change.changed, six, six.prefixes.insert(29, 0x20010db8, 0, 0, 0)],
    ['2001:db8::1/128', Change.lost, six, six.prefixes.insert(128, 0x20010db8, 0, 0, 1)],
  ];
  for (const [, change, table, number] of prefixes) log.add(change, table.prefixes, number);
  assert.deepEqual([...log.counts], [1, 1, 1, 2]);
  const bytes = log.take()!;
  const names = ['announced', 'changed', 'withdrawn', 'lost'] as const;
  assert.deepEqual(
    [...readPrefixLog(bytes)],
    prefixes.map(([prefix, change]) => ({ prefix, change: names[change] })),
  );
  assert.equal(log.take(), undefined);
  const wanted = { bits: 128, length: 29, w0: 0x20010db8, w1: 0, w2: 0, w3: 0 } as const;
  assert.equal(findInPrefixLog(bytes, wanted), 'changed');
  assert.equal(findInPrefixLog(bytes, { ...wanted, bits: 32 }), undefined);
  assert.equal(findInPrefixLog(bytes, { ...wanted, length: 30 }), undefined);
  // Cut short, of another version, or any bytes at all: what can be read, and no error.
  assert.equal([...readPrefixLog(bytes.subarray(0, bytes.length - 1))].length, 4);
  assert.deepEqual([...readPrefixLog(Uint8Array.of(9, 0, 0))], []);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (any) => {
      [...readPrefixLog(Uint8Array.of(1, ...any))];
      findInPrefixLog(Uint8Array.of(1, ...any), wanted);
    }),
  );
});
