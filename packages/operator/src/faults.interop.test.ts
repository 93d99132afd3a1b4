import { connectKv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import { faultSuite } from '../testing/fault-suite.ts';

faultSuite('etcd', async () => {
  const etcd = await EtcdProcess.start();
  return {
    connect: () => connectKv({ endpoints: [etcd.endpoint], deadline: 60_000 }),
    wipe: () => etcd.wipe(),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
});
