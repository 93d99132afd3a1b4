import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliError } from '../errors.ts';
import { parseLabels, parseServe } from './lab-run.ts';

const refused = (field: string) => (error: unknown) =>
  error instanceof CliError &&
  error.code === 'bad-usage' &&
  error.field === field &&
  error.hint !== undefined;

test('labels and servers of a pod are read from the command line', () => {
  assert.deepEqual(parseLabels('app=web,k8s.io/x='), { app: 'web', 'k8s.io/x': '' });
  assert.deepEqual(parseLabels(''), {});
  assert.deepEqual(parseServe('http:80'), { type: 'http', port: 80 });
  assert.deepEqual(parseServe('udp:7007:echo'), { type: 'udp', port: 7007, name: 'echo' });
  for (const text of ['app', '=x'])
    assert.throws(() => parseLabels(text), refused('--labels'), text);
  for (const text of ['http', 'http:', 'http:0', 'http:70000', 'sctp:80', 'http:8x'])
    assert.throws(() => parseServe(text), refused('--serve'), text);
});
