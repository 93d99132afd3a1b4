import { bytesOf } from './entry.ts';

/** Below etcd's defaults of 128 operations and 1.5 MiB per request, with room for compares and framing. */
const mostOperations = 100;
const mostBytes = 512 * 1024;

/** Splits work into transactions that the store takes. An item that is too large alone stays alone. */
export function chunks<T>(
  items: readonly T[],
  of: (item: T) => { readonly key: string; readonly value: string | Uint8Array },
): T[][] {
  const result: T[][] = [];
  let current: T[] = [];
  let keys = new Set<string>();
  let size = 0;
  for (const item of items) {
    const { key, value } = of(item);
    const bytes = key.length + bytesOf(value).length;
    // One transaction may write a key only once.
    const full = current.length >= mostOperations || size + bytes > mostBytes || keys.has(key);
    if (full && current.length > 0) {
      result.push(current);
      current = [];
      keys = new Set();
      size = 0;
    }
    current.push(item);
    keys.add(key);
    size += bytes;
  }
  if (current.length > 0) result.push(current);
  return result;
}
