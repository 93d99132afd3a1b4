import { connectKv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { addressSuite } from '../testing/address-suite.ts';
import { type StoreUnderTest, storeSuite } from '../testing/store-suite.ts';

async function open(): Promise<StoreUnderTest> {
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
}

storeSuite('etcd', open);
addressSuite('etcd', open);
