import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address } from '@causeway/ip';
import fc from 'fast-check';
import type { SourceItem } from '../source.ts';
import { doubted } from './guard.ts';
import { Inventory } from './inventory.ts';
import { Mapping } from './rules.ts';

const GUARD = { share: 0.2, least: 10, seconds: 300 };
const A = (text: string) => text as Address;

const mapping = (source: string) =>
  new Mapping({
    cluster: 'outside',
    source,
    filter: { include: [], exclude: [{ 'label.skip': '*' }] },
    rules: [],
    namespace: 'default',
    site: undefined,
    identityLabels: [],
  });

const inventoryOf = (names: readonly string[], guard = GUARD) =>
  new Inventory({
    sources: names.map((name) => ({ name, type: 'test', mapping: mapping(name), guard })),
    guard,
    refuses: (address) => (address.startsWith('10.66.') ? 'is the pods’' : undefined),
  });

const item = (id: string, addresses: string[], more: Partial<SourceItem> = {}): SourceItem => ({
  id,
  name: id,
  addresses,
  platform: 'vm',
  labels: { app: 'x' },
  ...more,
});

const fleet = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => item(`m${from + i}`, [`10.0.0.${from + i}`]));

const holder = (inventory: Inventory, address: string) => {
  const found = inventory.endpoint(A(address));
  return found && `${found.source}/${found.id}`;
};

test('of two that claim an address the first has it, both are known, and the other follows', () => {
  const inventory = inventoryOf(['one', 'two']);
  inventory.snapshot('one', [item('a', ['10.0.0.1'])], 0);
  inventory.snapshot('two', [item('b', ['10.0.0.1', '10.0.0.2'])], 0);
  assert.equal(holder(inventory, '10.0.0.1'), 'one/a');
  assert.equal(holder(inventory, '10.0.0.2'), 'two/b');
  const [conflict, ...others] = inventory.conflicts();
  assert.equal(others.length, 0);
  assert.deepEqual([conflict?.holder.id, conflict?.waiting.map(({ id }) => id)], ['a', ['b']]);
  // A change of the loser's changes nothing; a change of the holder's does not lose the place.
  inventory.put('two', item('b', ['10.0.0.1'], { labels: { app: 'y' } }), 1);
  inventory.put('one', item('a', ['10.0.0.1'], { labels: { app: 'z' } }), 2);
  assert.equal(holder(inventory, '10.0.0.1'), 'one/a');
  inventory.takeChanged(100);
  inventory.delete('one', 'a');
  assert.deepEqual(inventory.takeChanged(100), ['10.0.0.1']);
  assert.equal(holder(inventory, '10.0.0.1'), 'two/b');
  assert.equal(inventory.conflictCount, 0);
});

test('a repeated list changes nothing; a list that differs changes what differs', () => {
  const inventory = inventoryOf(['one']);
  inventory.snapshot('one', fleet(0, 50), 0);
  assert.equal(inventory.takeChanged(1000).length, 50);
  inventory.snapshot('one', fleet(0, 50), 1);
  assert.equal(inventory.changed, 0);
  inventory.snapshot('one', [...fleet(1, 50), item('new', ['10.0.0.77'])], 2);
  assert.deepEqual(inventory.takeChanged(10).sort(), ['10.0.0.0', '10.0.0.77']);
});

test('the guard keeps a large removal back, lets others have the addresses, and ends by time, word or return', () => {
  for (const end of ['time', 'accept', 'return'] as const) {
    const inventory = inventoryOf(['one', 'two']);
    inventory.snapshot('one', fleet(0, 50), 0);
    inventory.snapshot('one', fleet(0, 30), 1000);
    assert.equal(inventory.addresses, 50);
    const [view] = inventory.sources(61_000);
    assert.deepEqual(view?.withheld, { count: 20, of: 50, secondsLeft: 240 });
    // One of the doubted addresses is somebody else's now.
    inventory.snapshot('two', [item('z', ['10.0.0.49'])], 2000);
    assert.equal(holder(inventory, '10.0.0.49'), 'two/z');
    inventory.snapshot('one', fleet(0, 30), 200_000);
    inventory.tick(300_999);
    assert.equal(inventory.addresses, 50);
    if (end === 'time') inventory.tick(301_000);
    else if (end === 'accept') assert.equal(inventory.accept('one'), 20);
    else inventory.snapshot('one', fleet(0, 50), 300_999);
    assert.equal(inventory.addresses, end === 'return' ? 50 : 31, end);
    assert.equal(inventory.sources(0)[0]?.withheld, undefined, end);
    inventory.tick(1e9);
    assert.equal(inventory.addresses, end === 'return' ? 50 : 31, end);
    assert.throws(() => inventory.accept('one'), { code: 'nothing-withheld' });
  }
});

test('what the filters would take away all at once is kept back as well', () => {
  const inventory = inventoryOf(['one']);
  const skipped = (list: SourceItem[]) =>
    list.map((each) => ({ ...each, labels: { skip: 'yes' } }));
  inventory.snapshot('one', fleet(0, 50), 0);
  inventory.snapshot('one', [...skipped(fleet(0, 3)), ...fleet(3, 50)], 1);
  assert.deepEqual([inventory.addresses, inventory.sources(0)[0]?.leftOut], [47, 3]);
  for (const at of [2, 3]) {
    inventory.snapshot('one', skipped(fleet(0, 50)), at);
    assert.equal(inventory.addresses, 47);
    assert.equal(inventory.sources(2)[0]?.withheld?.count, 47);
  }
  inventory.put('one', fleet(9, 10)[0]!, 4);
  assert.equal(inventory.sources(2)[0]?.withheld?.count, 46, 'one is back');
  assert.equal(inventory.accept('one'), 46);
  assert.equal(inventory.addresses, 1);
});

test('an empty list is doubted however few there were', () => {
  assert.deepEqual(
    [doubted(0, 5, GUARD), doubted(5, 5, GUARD), doubted(1, 1, GUARD), doubted(10, 30, GUARD)],
    [false, true, false, false],
  );
  assert.deepEqual(
    [doubted(11, 30, GUARD), doubted(20, 100, GUARD), doubted(21, 100, GUARD)],
    [true, false, true],
  );
});

test('what the store remembers stays until its source speaks, and first holders keep their addresses', () => {
  const inventory = inventoryOf(['one', 'two']);
  const stored = {
    name: 'a',
    namespace: 'default',
    serviceAccount: '',
    labels: 'k8s:app=old;',
    nodeAddress: undefined,
  };
  inventory.restore({ ...stored, source: 'one', id: 'a', addresses: [A('10.0.0.1')] });
  inventory.restore({ ...stored, source: 'gone', id: 'g', addresses: [A('10.0.0.9')] });
  inventory.restored(0);
  inventory.snapshot('two', [item('b', ['10.0.0.1'])], 0);
  assert.equal(holder(inventory, '10.0.0.1'), 'one/a');
  assert.equal(inventory.synced, false);
  assert.equal(holder(inventory, '10.0.0.9'), undefined, 'of a source that is configured no more');
  inventory.snapshot('one', [item('a', ['10.0.0.1'])], 1);
  assert.equal(holder(inventory, '10.0.0.1'), 'one/a');
  assert.match(inventory.endpoint(A('10.0.0.1'))?.labels ?? '', /k8s:app=x;/);
  assert.equal(inventory.synced, true);
});

test('an endpoint with a time to live goes unless it is said again, not unless it is repeated', () => {
  const inventory = inventoryOf(['one']);
  const mortal = (version: string) => item('a', ['10.0.0.1'], { ttlSeconds: 60, version });
  inventory.snapshot('one', [mortal('1')], 0);
  inventory.snapshot('one', [mortal('1')], 50_000);
  assert.deepEqual(inventory.tick(60_000), [{ source: 'one', id: 'a', version: '1' }]);
  assert.equal(inventory.addresses, 0);
  inventory.snapshot('one', [mortal('1')], 61_000);
  assert.equal(inventory.addresses, 0, 'the same words again are no renewal');
  inventory.snapshot('one', [mortal('2')], 62_000);
  assert.equal(inventory.addresses, 1);
  inventory.put('one', mortal('2'), 100_000);
  assert.deepEqual(inventory.tick(159_999), []);
  assert.equal(inventory.tick(160_000).length, 1);
});

test('a bad item is refused by field and value, and what it said before stays', () => {
  const inventory = inventoryOf(['one']);
  inventory.snapshot('one', [item('a', ['10.0.0.1'])], 0);
  for (const [bad, field, value] of [
    [{ addresses: ['10.0.0.256'] }, 'addresses[0]', '10.0.0.256'],
    [{ addresses: ['10.0.0.0/24'] }, 'addresses[0]', '10.0.0.0/24'],
    [{ addresses: ['fe80::1'] }, 'addresses[0]', 'fe80::1'],
    [{ addresses: ['127.0.0.1'] }, 'addresses[0]', '127.0.0.1'],
    [{ addresses: ['10.0.0.2', '10.66.0.1'] }, 'addresses[1]', '10.66.0.1'],
    [{ addresses: 'x' }, 'addresses', 'x'],
    [{ platform: 'toaster' }, 'platform', 'toaster'],
    [{ namespace: 'No' }, 'namespace', 'No'],
    [{ ttlSeconds: 0 }, 'ttlSeconds', 0],
    [{ nodeAddress: '0.0.0.0' }, 'nodeAddress', '0.0.0.0'],
    [{ name: 'a\nb' }, 'name', 'a\nb'],
    [{ labels: { app: 7 } }, 'labels.app', 7],
  ] as const) {
    inventory.put('one', { ...item('a', ['10.0.0.2']), ...(bad as object) } as SourceItem, 1);
    const [refusal] = inventory.sources(0)[0]?.refused.newest ?? [];
    assert.deepEqual([refusal?.id, refusal?.field, refusal?.value], ['a', field, value]);
    assert.equal(holder(inventory, '10.0.0.1'), 'one/a');
    assert.equal(holder(inventory, '10.0.0.2'), undefined);
  }
  for (const nothing of [null, undefined, 7, {}]) inventory.put('one', nothing as never, 1);
  assert.equal(inventory.addresses, 1);
});

/** The rule in one go: of those that name an address, whoever has named it longest without a break. */
test('after any words in any order each address is whose turn it is', () => {
  const word = fc.record({
    source: fc.constantFrom('one', 'two'),
    id: fc.constantFrom('a', 'b', 'c'),
    addresses: fc.uniqueArray(fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3'), {
      maxLength: 2,
    }),
    kind: fc.constantFrom('put', 'put', 'delete', 'skip'),
  });
  fc.assert(
    fc.property(fc.array(word, { maxLength: 40 }), (words) => {
      const inventory = inventoryOf(['one', 'two']);
      const turns = new Map<string, string[]>();
      const seen = new Map<string, string | undefined>();
      for (const { source, id, addresses, kind } of words) {
        const who = `${source}/${id}`;
        const labels: Record<string, string> = kind === 'skip' ? { skip: 'yes' } : { app: 'x' };
        if (kind === 'delete') inventory.delete(source, id);
        else inventory.put(source, item(id, addresses, { labels }), 0);
        const wanted: readonly string[] = kind === 'put' ? addresses : [];
        for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) {
          const row = turns.get(address) ?? [];
          if (!wanted.includes(address))
            turns.set(
              address,
              row.filter((each) => each !== who),
            );
          else if (!row.includes(who)) turns.set(address, [...row, who]);
        }
        const changed = new Set<string>(inventory.takeChanged(100));
        for (const [address, row] of turns) {
          assert.equal(holder(inventory, address), row[0]);
          assert.deepEqual(
            inventory.claimants(A(address)).waiting.map((each) => `${each.source}/${each.id}`),
            row.slice(1),
          );
          if (seen.get(address) !== row[0]) assert.ok(changed.has(address), `${address} is told`);
          seen.set(address, row[0]);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('a withheld machine that is named again has its address before one that is still withheld, and loses it for good', () => {
  const inventory = inventoryOf(['one', 'two']);
  const rest = (from: number) => fleet(from, from + 40);
  inventory.snapshot('one', [item('a', ['10.9.0.1']), ...rest(0)], 0);
  inventory.snapshot('two', [item('b', ['10.9.0.1']), ...rest(50)], 0);
  inventory.snapshot('two', [], 1);
  inventory.snapshot('one', [], 1);
  assert.equal(holder(inventory, '10.9.0.1'), 'one/a');
  inventory.takeChanged(1000);
  inventory.put('two', item('b', ['10.9.0.1']), 2);
  assert.equal(holder(inventory, '10.9.0.1'), 'two/b', 'it lives, the other is doubted');
  assert.deepEqual(inventory.takeChanged(1000), ['10.9.0.1']);
  inventory.put('two', item('b', ['10.9.0.1'], { labels: { app: 'y' } }), 3);
  inventory.delete('two', 'b');
  assert.equal(holder(inventory, '10.9.0.1'), 'one/a');
  inventory.accept('one');
  assert.equal(holder(inventory, '10.9.0.1'), undefined);
  assert.equal(inventory.conflictCount, 0);
});

test('whatever lists, words and guards do, an address is a member’s who names it, a live one’s if there is one', () => {
  const ADDRESSES = ['10.0.0.1', '10.0.0.2'];
  const rarely = <T>(usual: T, rare: T) =>
    fc.oneof(
      { weight: 8, arbitrary: fc.constant(usual) },
      { weight: 1, arbitrary: fc.constant(rare) },
    );
  const said = fc.record({
    id: fc.constantFrom('a', 'b'),
    addresses: fc.constantFrom(...ADDRESSES.map((each) => [each]), ADDRESSES, ['bad']),
    skip: rarely(false, true),
    ttlSeconds: rarely<number | undefined>(undefined, 3),
  });
  const word = fc.record({
    source: fc.constantFrom('one', 'two'),
    kind: fc.constantFrom('list', 'list', 'put', 'put', 'put', 'delete', 'accept', 'tick'),
    items: fc.uniqueArray(said, { maxLength: 2, selector: ({ id }) => id }),
  });
  const guard = { share: 0, least: 0, seconds: 5 };
  fc.assert(
    fc.property(fc.array(word, { maxLength: 40 }), (words) => {
      const inventory = inventoryOf(['one', 'two'], guard);
      const seen = new Map<string, unknown>();
      for (const [now, { source, kind, items }] of words.entries()) {
        const given = items.map(({ id, addresses, skip, ttlSeconds }) =>
          item(id, addresses, {
            labels: skip ? { skip: 'yes' } : { app: 'x' },
            ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
          }),
        );
        const waits = inventory.sources(0).find(({ name }) => name === source)?.withheld;
        if (kind === 'list') inventory.snapshot(source, given, now * 1000);
        else if (kind === 'tick') inventory.tick(now * 1000);
        else if (kind === 'accept' && waits !== undefined) inventory.accept(source);
        else if (kind === 'put') for (const each of given) inventory.put(source, each, now * 1000);
        else if (kind === 'delete') for (const { id } of given) inventory.delete(source, id);
        const members = [...inventory.members()];
        const changed = new Set<string>(inventory.takeChanged(100));
        for (const address of ADDRESSES) {
          const { holder, waiting } = inventory.claimants(A(address));
          const row = holder === undefined ? [...waiting] : [holder, ...waiting];
          const naming = members.filter(({ addresses }) => addresses.includes(A(address)));
          assert.equal(new Set(row).size, row.length, 'each stands in one place');
          assert.deepEqual(new Set(row), new Set(naming));
          if (naming.some(({ withheld }) => !withheld)) assert.equal(holder?.withheld, false);
          if (seen.get(address) !== holder) assert.ok(changed.has(address), `${address} is told`);
          seen.set(address, holder);
        }
      }
    }),
    { numRuns: 1000 },
  );
});
