import { connectKv, type Kv } from '@causeway/etcd';
import { etcdStore, type ResourceStore } from '@causeway/resources';
import type { StoreAddress } from './context.ts';

/** Connects to the registry of a cluster that is no lab. */
export async function connectStore({
  endpoints,
  tls,
}: StoreAddress): Promise<{ store: ResourceStore; kv: Kv } & AsyncDisposable> {
  const kv = connectKv({ endpoints, ...(tls === undefined ? {} : { tls }) });
  return { store: etcdStore(kv), kv, [Symbol.asyncDispose]: () => kv[Symbol.asyncDispose]() };
}
