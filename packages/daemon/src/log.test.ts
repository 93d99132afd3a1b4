import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stderrLog } from './log.ts';

test('lines carry level, time and base; what is below the level costs nothing', () => {
  const lines: string[] = [];
  const log = stderrLog('info', { node: 'a' }, (line) => lines.push(line));
  log.debug({ never: () => assert.fail() }, 'not said');
  log.info({ bytes: 5n, error: new TypeError('oh') }, 'said');
  log.error({}, 'two\nlines');
  const [first, second] = lines.map((line) => JSON.parse(line));
  assert.equal(lines.length, 2);
  assert.deepEqual(
    [first.level, first.node, first.bytes, first.error.message, first.msg],
    [30, 'a', 5, 'oh', 'said'],
  );
  assert.ok(Math.abs(Date.now() - first.time) < 10_000);
  assert.deepEqual([second.level, second.msg], [50, 'two\nlines']);
  assert.equal(lines[1]?.match(/\n/g)?.length, 1);
  stderrLog('silent', {}, () => assert.fail('said')).error({}, 'nothing');
});
