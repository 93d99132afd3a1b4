import { MapBatchError, mapError } from '../errors.ts';
import { libbpf } from '../ffi/libbpf.ts';
import { struct } from '../ffi/memory.ts';
import type { BpfMap } from './map.ts';

// Batch commands exist since Linux 5.6 for hashes and arrays, 5.13 for LPM tries and per-cpu arrays; a
// type without them answers EOPNOTSUPP, ENOTSUPP or EINVAL, and then the same work is done entry by entry.

const noEntry = -2;
const noSpace = -28;
const lacksBatches = new Set([-22, -95, -524]);

/** Ids of maps whose type turned out to have no batches. */
const withoutBatches = new Set<number>();

export interface Batch {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

function batchOptions(elementFlags: number): Uint8Array {
  const { bytes, view } = struct(24);
  view.setBigUint64(0, 24n, true);
  view.setBigUint64(8, BigInt(elementFlags), true);
  return bytes;
}

/** The whole map in pieces. The arrays of a piece are overwritten by the next. */
export function* readBatches(map: BpfMap, batchSize: number): Generator<Batch> {
  const { keySize, name, id } = map.info;
  if (withoutBatches.has(id)) {
    yield* readSingly(map);
    return;
  }
  let size = Math.max(1, Math.min(batchSize, map.info.maxEntries || 1));
  let keys = new Uint8Array(size * keySize);
  let values = new Uint8Array(size * map.storedSize);
  const count = new Uint32Array(1);
  // The cursor is opaque: 4 bytes for hashes, a key for tries and arrays.
  let from = new Uint8Array(Math.max(keySize, 8));
  let to = new Uint8Array(from.length);
  let first = true;
  for (;;) {
    count[0] = size;
    const result = libbpf().lookupBatch(
      map.fd.number,
      first ? null : from,
      to,
      keys,
      values,
      count,
      null,
    );
    if (result === noSpace) {
      // One hash bucket holds more than the batch: nothing was given out, so ask again with room.
      size *= 2;
      keys = new Uint8Array(size * keySize);
      values = new Uint8Array(size * map.storedSize);
      continue;
    }
    if (first && lacksBatches.has(result)) {
      withoutBatches.add(id);
      yield* readSingly(map);
      return;
    }
    if (result !== 0 && result !== noEntry) throw mapError('walk', result, name);
    first = false;
    if (count[0] > 0) yield { keys, values, count: count[0] };
    if (result === noEntry) return;
    [from, to] = [to, from];
  }
}

function* readSingly(map: BpfMap): Generator<Batch> {
  const next = new Uint8Array(map.info.keySize);
  const values = new Uint8Array(map.storedSize);
  let key: Uint8Array | null = null;
  for (;;) {
    const result = libbpf().nextKey(map.fd.number, key, next);
    if (result === noEntry) return;
    if (result !== 0) throw mapError('walk', result, map.info.name);
    key ??= new Uint8Array(next.length);
    key.set(next);
    if (map.get(key, values) !== undefined) yield { keys: next, values, count: 1 };
  }
}

export function updateBatch(
  map: BpfMap,
  keys: Uint8Array,
  values: Uint8Array,
  count: number,
  flags: number,
): number {
  if (count === 0) return 0;
  const { keySize, name, id } = map.info;
  if (!withoutBatches.has(id)) {
    const done = new Uint32Array([count]);
    const result = libbpf().updateBatch(map.fd.number, keys, values, done, batchOptions(flags));
    if (result === 0) return count;
    // With EINVAL from an entry itself nothing is lost: the single update below names the error.
    if (!lacksBatches.has(result)) {
      throw new MapBatchError(name, 'update', -result, Math.min(done[0] ?? 0, count));
    }
  }
  for (let i = 0; i < count; i++) {
    const key = keys.subarray(i * keySize, (i + 1) * keySize);
    const value = values.subarray(i * map.storedSize, (i + 1) * map.storedSize);
    const result = libbpf().update(map.fd.number, key, value, flags);
    if (result !== 0) throw new MapBatchError(name, 'update', -result, i);
  }
  withoutBatches.add(id);
  return count;
}

export function deleteBatch(map: BpfMap, keys: Uint8Array, count: number): number {
  const { keySize, name, id } = map.info;
  let deleted = 0;
  let at = 0;
  if (!withoutBatches.has(id)) {
    const done = new Uint32Array(1);
    while (at < count) {
      done[0] = count - at;
      const rest = keys.subarray(at * keySize);
      const result = libbpf().deleteBatch(map.fd.number, rest, done, batchOptions(0));
      if (lacksBatches.has(result)) break;
      const processed = Math.min(done[0] ?? 0, count - at);
      deleted += processed;
      at += processed;
      if (result === 0) continue;
      if (result !== noEntry) throw new MapBatchError(name, 'delete', -result, deleted);
      at++; // the key at which the kernel stopped was absent
    }
  }
  for (; at < count; at++) {
    const key = keys.subarray(at * keySize, (at + 1) * keySize);
    const result = libbpf().delete(map.fd.number, key);
    if (result === 0) deleted++;
    else if (result !== noEntry) throw new MapBatchError(name, 'delete', -result, deleted);
  }
  return deleted;
}
