import { connectKv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { storeSuite } from '../testing/store-suite.ts';

storeSuite('etcd', async () => {
  const etcd = await EtcdProcess.start();
  const kv = connectKv({ endpoints: [etcd.endpoint] });
  // The first answer waits for the election.
  while (!kv.health().connected) await new Promise((resolve) => setTimeout(resolve, 20));
  return {
    kv,
    async [Symbol.asyncDispose]() {
      await kv[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
});
