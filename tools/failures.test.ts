import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bounded, lastLines, told, words } from './failures.ts';

/** As node:test hands on what a test threw. */
function asReported(cause: unknown): Error {
  return Object.assign(new Error('of node:test', { cause }), {
    code: 'ERR_TEST_FAILURE',
    failureType: 'testCodeFailure',
  });
}

test('a comparison is told with what was expected and seen, and where', () => {
  let thrown: unknown;
  try {
    assert.deepEqual({ hops: ['leaf-1'] }, { hops: ['leaf-1', 'leaf-2'] }, 'routes of spine-1');
  } catch (error) {
    thrown = error;
  }
  const text = words(asReported(thrown));
  assert.match(text, /^AssertionError: routes of spine-1/);
  assert.match(text, /actual: \{ hops: \[ 'leaf-1' \] \}/);
  assert.match(text, /expected: \{ hops: \[ 'leaf-1', 'leaf-2' \] \}/);
  assert.match(text, /at .*failures\.test\.ts:\d+/);
});

test('fields of an error of ours and its causes are told', () => {
  class OursError extends Error {
    readonly code = 'timed-out';
    readonly hint = 'its log is there';
  }
  const text = words(asReported(new OursError('still missing', { cause: new Error('EPIPE') })));
  assert.match(text, /still missing\n {2}code: 'timed-out'\n {2}hint: 'its log is there'\n/);
  assert.match(text, /caused by Error: EPIPE/);
});

test('what is no error is told too, and nothing is told without end', () => {
  assert.equal(words(asReported('just text')), 'just text');
  assert.equal(bounded('a\nb\nc', 2), 'a\nb\n... and 1 lines more');
  assert.ok(bounded('x'.repeat(10_000)).length < 500);
  assert.equal(lastLines('a\nb\nc\n', 2), 'b\nc');
  const long = words(asReported(new Error('line\n'.repeat(10_000))));
  assert.ok(long.split('\n').length < 100, String(long.split('\n').length));
  assert.equal(told([]), '');
  assert.equal(
    told([{ where: 'a.test.ts', name: 'it holds', text: 'no\nit does not' }]),
    '\nFAILED (1):\n\na.test.ts\n  it holds\n    no\n    it does not',
  );
});
