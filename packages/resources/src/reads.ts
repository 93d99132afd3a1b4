import type { CallOptions, Kv, KvEntry, TxnOperation } from '@causeway/etcd';
import { decode, descriptor, prefixOf } from './codec.ts';
import type { KindDescriptor, KindName, Resource } from './kinds.ts';
import { MAX_TXN_OPS } from './writes.ts';

/** Each key's entry, in their order; up to 128 of them as they stood at one moment. Throws KvError. */
export async function readAll(
  kv: Kv,
  keys: readonly string[],
  options: CallOptions,
): Promise<(KvEntry | undefined)[]> {
  const entries: (KvEntry | undefined)[] = [];
  for (let at = 0; at < keys.length; at += MAX_TXN_OPS) {
    const success = keys
      .slice(at, at + MAX_TXN_OPS)
      .map((key): TxnOperation => ({ type: 'get', key }));
    const { results } = await kv.txn({ compare: [], success }, options);
    for (const result of results) entries.push(result.type === 'get' ? result.entry : undefined);
  }
  return entries;
}

/** Objects of a kind that can be read; the others hold nothing that anybody knows. Throws KvError. */
export async function listAll(kv: Kv, kind: KindName, options: CallOptions): Promise<Resource[]> {
  const of = descriptor(kind) as KindDescriptor;
  const found: Resource[] = [];
  for await (const { entries } of kv.pages(prefixOf(of), options)) {
    for (const entry of entries) {
      const decoded = decode(of, entry);
      if (decoded.type === 'object') found.push(decoded.object);
    }
  }
  return found;
}
