import { connectKv, type Kv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { allocatorSuite } from '../testing/allocator-suite.ts';

allocatorSuite('etcd', async () => {
  const etcd = await EtcdProcess.start();
  const clients: Kv[] = [];
  const connect = (): Kv => {
    const kv = connectKv({ endpoints: [etcd.endpoint] });
    clients.push(kv);
    return kv;
  };
  const first = connect();
  while (!first.health().connected) await new Promise((resolve) => setTimeout(resolve, 20));
  return {
    connect,
    async [Symbol.asyncDispose]() {
      for (const kv of clients) await kv[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
});
