/** Between our terms and etcd's messages, one function a message. */

import { bytesOf, Entry } from './entry.ts';
import { KvError } from './errors.ts';
import type { WireHeader, WireKeyValue, WireTxn, WireWatch } from './proto.ts';
import type { Header, StreamEvent } from './transport.ts';
import type { Compare, TxnOperation, TxnOperationResult } from './types.ts';

export function headerOf(header: WireHeader | null, endpoint: string): Header {
  if (!header)
    throw new KvError('internal', endpoint, `etcd at ${endpoint} answered without a header`);
  const { cluster_id: clusterId, member_id: memberId, revision } = header;
  return { clusterId, memberId, revision: Number(revision), endpoint };
}

export function entryOf(kv: WireKeyValue): Entry {
  return new Entry({
    key: kv.key.toString('utf8'),
    value: kv.value,
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    version: Number(kv.version),
    lease: kv.lease === '0' ? undefined : kv.lease,
  });
}

export function eventOf(event: WireWatch['events'][number]): StreamEvent {
  if (event.type === 'DELETE') {
    return {
      type: 'delete',
      key: event.kv.key.toString('utf8'),
      revision: Number(event.kv.mod_revision),
    };
  }
  return { type: 'put', entry: entryOf(event.kv) };
}

/** Every key with the prefix: up to, and without, the prefix with its last byte one higher. */
export function rangeOf(prefix: string): { key: Buffer; range_end: Buffer } {
  const key = Buffer.from(prefix);
  const end = Buffer.from(prefix);
  for (let last = end.length - 1; last >= 0; last--) {
    const byte = end[last] as number;
    if (byte === 0xff) continue;
    end[last] = byte + 1;
    return { key, range_end: end.subarray(0, last + 1) };
  }
  // No bound: from the least key, and a zero byte says "to the very end".
  return { key: key.length > 0 ? key : Buffer.of(0), range_end: Buffer.of(0) };
}

const comparisons = { '=': 'EQUAL', '!=': 'NOT_EQUAL', '<': 'LESS', '>': 'GREATER' } as const;

export function compareOf(compare: Compare): object {
  const common = { result: comparisons[compare.operator], key: Buffer.from(compare.key) };
  switch (compare.type) {
    case 'create':
      return { ...common, target: 'CREATE', create_revision: compare.revision };
    case 'mod':
      return { ...common, target: 'MOD', mod_revision: compare.revision };
    case 'version':
      return { ...common, target: 'VERSION', version: compare.revision };
    case 'value':
      return { ...common, target: 'VALUE', value: bytesOf(compare.value) };
    case 'lease':
      return { ...common, target: 'LEASE', lease: compare.lease ?? '0' };
    default:
      return compare satisfies never;
  }
}

export function operationOf(operation: TxnOperation): object {
  switch (operation.type) {
    case 'put': {
      const { key, value, lease } = operation;
      return { request_put: { key: Buffer.from(key), value: bytesOf(value), lease: lease ?? '0' } };
    }
    case 'get':
      return { request_range: { key: Buffer.from(operation.key) } };
    case 'list':
      return { request_range: rangeOf(operation.prefix) };
    case 'delete':
      return { request_delete_range: { key: Buffer.from(operation.key) } };
    case 'delete-prefix':
      return { request_delete_range: rangeOf(operation.prefix) };
    default:
      return operation satisfies never;
  }
}

export function resultOf(
  operation: TxnOperation,
  response: WireTxn['responses'][number] | undefined,
): TxnOperationResult {
  switch (operation.type) {
    case 'put':
      return { type: 'put' };
    case 'get': {
      const kv = response?.response_range?.kvs[0];
      return { type: 'get', entry: kv && entryOf(kv) };
    }
    case 'list':
      return { type: 'list', entries: (response?.response_range?.kvs ?? []).map(entryOf) };
    case 'delete':
    case 'delete-prefix':
      return { type: 'delete', deleted: Number(response?.response_delete_range?.deleted ?? 0) };
    default:
      return operation satisfies never;
  }
}
