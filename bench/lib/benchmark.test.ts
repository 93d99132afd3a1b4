import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare, median, quantile, ratioBar } from './benchmark.ts';

test('median and quantile follow the nearest rank', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.99), 10);
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.throws(() => median([]), RangeError);
});

test('compare measures alternately, drops the warm-up round and takes ratios round by round', async () => {
  const order: string[] = [];
  let drift = 1;
  const figures = await compare(
    {
      metric: 'rate',
      unit: '1/s',
      better: 'higher',
      reference: 'a',
      rounds: 3,
      variants: {
        a: async () => {
          order.push('a');
          drift *= 2;
          return drift;
        },
        b: async () => {
          order.push('b');
          return drift * 0.5;
        },
      },
    },
    () => {},
  );
  assert.equal(order.length, 8);
  assert.deepEqual(order.slice(0, 4), ['a', 'b', 'a', 'b']);
  assert.deepEqual(order.slice(4, 6), ['b', 'a']);
  const b = figures.find((figure) => figure.variant === 'b');
  assert.equal(b?.samples.length, 3);
  assert.equal(ratioBar(figures, 'rate', 'b', 0.2).met, true);
  assert.equal(ratioBar(figures, 'rate', 'b', 0.9).met, false);
});
