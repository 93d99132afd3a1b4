import { type ServiceError, status } from '@grpc/grpc-js';
import { KvError, type KvErrorCode } from './errors.ts';

/** etcd's own error texts where one gRPC status has several meanings; the texts are part of its API. */
const byText: readonly (readonly [RegExp, KvErrorCode])[] = [
  [/requested lease not found/, 'lease-not-found'],
  [/required revision has been compacted/, 'compacted'],
  [/database space exceeded/, 'no-space'],
  [/request is too large|too many operations in txn/, 'too-large'],
  [/trying to send message larger than max|received message larger than max/i, 'too-large'],
  [/too many requests/, 'throttled'],
  // A change of users or roles overtook the call; the next is judged by the new ones.
  [
    /invalid auth token|user name is empty|revision (in header|of auth store) is old/,
    'unauthenticated',
  ],
  // etcd's own proxy passes the text on, but not the status.
  [/etcdserver: permission denied/, 'permission-denied'],
];

const byStatus: Partial<Record<status, KvErrorCode>> = {
  [status.UNAVAILABLE]: 'unavailable',
  [status.DEADLINE_EXCEEDED]: 'deadline',
  [status.CANCELLED]: 'unavailable',
  [status.ABORTED]: 'unavailable',
  [status.RESOURCE_EXHAUSTED]: 'throttled',
  [status.PERMISSION_DENIED]: 'permission-denied',
  [status.UNAUTHENTICATED]: 'unauthenticated',
  [status.INVALID_ARGUMENT]: 'invalid',
  [status.OUT_OF_RANGE]: 'invalid',
  [status.UNIMPLEMENTED]: 'invalid',
};

/** What a failed call means in our terms. */
export function fromGrpc(error: unknown, about: string, endpoint: string): KvError {
  if (error instanceof KvError) return error;
  const { code, details } = error as Partial<ServiceError>;
  const text = details || (error instanceof Error ? error.message : String(error));
  const known = byText.find(([pattern]) => pattern.test(text))?.[1];
  const meaning = known ?? (code === undefined ? undefined : byStatus[code]) ?? 'internal';
  return new KvError(meaning, about, `etcd at ${endpoint}: ${text}`, error);
}
