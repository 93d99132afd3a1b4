import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { fromGrpc } from './grpc-errors.ts';

/** What etcd 3.4 and 3.5 answer where a change of users or roles overtook a call (etcd's api/v3rpc/rpctypes). */
const OVERTAKEN = [
  [status.UNAUTHENTICATED, 'etcdserver: invalid auth token'],
  [status.INVALID_ARGUMENT, 'etcdserver: user name is empty'],
  [status.INVALID_ARGUMENT, 'etcdserver: revision of auth store is old'],
  [status.UNKNOWN, 'auth: revision in header is old'],
] as const;

for (const [code, details] of OVERTAKEN) {
  test(`a call that a change of rights overtook may be tried again: ${details}`, () => {
    const error = fromGrpc({ code, details }, 'a', 'e');
    assert.deepEqual([error.code, error.retryable], ['unauthenticated', true]);
  });
}

test('what is wrong for good is not tried again', () => {
  const error = fromGrpc(
    { code: status.INVALID_ARGUMENT, details: 'etcdserver: key is not provided' },
    'a',
    'e',
  );
  assert.deepEqual([error.code, error.retryable], ['invalid', false]);
});
