import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Journal, type JournalReader } from './journal.ts';
import { fieldsOf, maskWord, PrefixTable } from './prefix-table.ts';

const key = (...words: number[]): string => words.join(' ');

/** Few enough that they collide in every way: same words with other lengths, runs of slots, numbers given back. */
const prefixes = (bits: 32 | 128) =>
  fc
    .tuple(
      fc.integer({ min: 0, max: bits }),
      fc.constantFrom(0, 1 << 31, 0x0a000000, 0x0a000100, 0x7fffffff, -1),
      fc.constantFrom(0, 1, -1),
    )
    .map(([length, w0, rest]) =>
      bits === 32
        ? ([length, w0 & maskWord(length), 0, 0, 0] as const)
        : ([
            length,
            w0 & maskWord(length),
            rest & maskWord(length - 32),
            rest & maskWord(length - 64),
            rest & maskWord(length - 96),
          ] as const),
    );

for (const bits of [32, 128] as const) {
  test(`a table of ${bits}-bit prefixes is a map from prefix to number`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('insert', 'remove', 'find'), prefixes(bits)), {
          maxLength: 300,
        }),
        (steps) => {
          const table = new PrefixTable(bits);
          const model = new Map<string, number>();
          for (const [step, fields] of steps) {
            const known = model.get(key(...fields));
            assert.equal(table.find(...fields), known ?? 0);
            if (step === 'insert') {
              const id = table.insert(...fields);
              if (known !== undefined) assert.equal(id, known);
              else assert.ok(![...model.values()].includes(id));
              model.set(key(...fields), id);
            } else if (step === 'remove' && known !== undefined) {
              table.remove(known);
              model.delete(key(...fields));
            }
            assert.equal(table.size, model.size);
          }
          for (const [text, id] of model) {
            const [length, w0, w1, w2, w3] = text.split(' ').map(Number) as [
              number,
              number,
              number,
              number,
              number,
            ];
            assert.equal(table.find(length, w0, w1, w2, w3), id);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
}

test('numbers stay while a table grows to 100,000 prefixes and shrinks again', () => {
  const table = new PrefixTable(32);
  const ids: number[] = [];
  for (let i = 0; i < 100_000; i++)
    ids.push(table.insert(24, (i * 2654435761) & maskWord(24), 0, 0, 0));
  const distinct = new Set(ids).size;
  assert.equal(table.size, distinct);
  for (let i = 0; i < 100_000; i++) {
    assert.equal(table.find(24, (i * 2654435761) & maskWord(24), 0, 0, 0), ids[i]);
  }
  for (const id of new Set(ids)) table.remove(id);
  assert.equal(table.size, 0);
  assert.equal(table.find(24, 0, 0, 0, 0), 0);
});

test('the longest match that holds, and what is inside', () => {
  const table = new PrefixTable(32);
  const put = (text: string) => {
    const p = fieldsOf(text);
    return table.insert(p.length, p.w0, p.w1, p.w2, p.w3);
  };
  const all = put('0.0.0.0/0');
  const ten = put('10.0.0.0/8');
  const twelve = put('10.16.0.0/12');
  const host = fieldsOf('10.17.3.4/32');
  assert.equal(
    table.longestMatch(host, () => true),
    twelve,
  );
  assert.equal(
    table.longestMatch(host, (id) => id !== twelve),
    ten,
  );
  assert.equal(
    table.longestMatch(host, (id) => id === all),
    all,
  );
  assert.equal(
    table.longestMatch(host, () => false),
    0,
  );
  assert.ok(table.isInside(twelve, fieldsOf('10.0.0.0/8')));
  assert.ok(!table.isInside(ten, fieldsOf('10.16.0.0/12')));
  assert.equal(table.text(twelve), '10.16.0.0/12');
});

test('a reader of a journal sees the last change of every item, and a bounded number of entries', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          {
            weight: 6,
            arbitrary: fc.record({
              type: fc.constant('append' as const),
              item: fc.integer({ min: 1, max: 20 }),
            }),
          },
          {
            weight: 3,
            arbitrary: fc.record({
              type: fc.constant('read' as const),
              reader: fc.nat(3),
              most: fc.integer({ min: 1, max: 30 }),
            }),
          },
          { weight: 1, arbitrary: fc.record({ type: fc.constant('join' as const) }) },
          {
            weight: 1,
            arbitrary: fc.record({ type: fc.constant('leave' as const), reader: fc.nat(3) }),
          },
          { weight: 1, arbitrary: fc.record({ type: fc.constant('compact' as const) }) },
        ),
        { maxLength: 400 },
      ),
      (steps) => {
        const journal = new Journal(21);
        const state = new Array<number>(21).fill(0);
        // What each reader believes of each item; it joins knowing the present.
        const readers: { cursor: JournalReader; view: number[] }[] = [];
        const read = (one: { cursor: JournalReader; view: number[] }, most: number) => {
          let at = one.cursor.position;
          for (let n = 0; at < journal.end && n < most; n++, at++) {
            const item = journal.at(at);
            if (item !== 0) one.view[item] = state[item]!;
          }
          journal.advance(one.cursor, at);
        };
        for (const step of steps) {
          switch (step.type) {
            case 'append':
              state[step.item]!++;
              journal.append(step.item);
              break;
            case 'read': {
              const one = readers[step.reader];
              if (one !== undefined) read(one, step.most);
              break;
            }
            case 'join':
              if (readers.length < 4) readers.push({ cursor: journal.open(), view: [...state] });
              break;
            case 'leave': {
              const [one] = readers.splice(step.reader, 1);
              if (one !== undefined) journal.close(one.cursor);
              break;
            }
            case 'compact':
              journal.compact();
              assert.ok(journal.end <= 20);
              break;
          }
        }
        for (const one of readers) {
          for (let item = 1; item <= 20; item++) {
            if (one.view[item] !== state[item])
              assert.ok(journal.isPending(item, one.cursor.position));
          }
          read(one, Number.POSITIVE_INFINITY);
          assert.deepEqual(one.view, state);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a journal whose reader never reads stays as small as the number of items', () => {
  const journal = new Journal(101);
  const slow = journal.open();
  const quick = journal.open();
  for (let i = 0; i < 100_000; i++) {
    journal.append((i % 100) + 1);
    journal.advance(quick, journal.end);
  }
  assert.ok(journal.bytes < 20_000, `${journal.bytes} bytes`);
  journal.compact();
  assert.equal(journal.end - slow.position, 100);
});
