import type { Kv } from '@causeway/etcd';
import type { ResourceStore } from '@causeway/resources';

/** A connection to a cluster's registry. */
export interface OpenStore extends AsyncDisposable {
  readonly store: ResourceStore;
  readonly kv: Kv;
}

/** Connects through the Unix socket that the lab keeps beside the store. */
export async function openStore(socket: string): Promise<OpenStore> {
  const [{ connectKv }, { etcdStore }] = await Promise.all([
    import('@causeway/etcd'),
    import('@causeway/resources'),
  ]);
  const kv = await connectKv({ endpoints: [`unix:${socket}`] });
  return { store: etcdStore(kv), kv, [Symbol.asyncDispose]: () => kv[Symbol.asyncDispose]() };
}
