import { electionSuite } from '../testing/election-suite.ts';
import { EtcdProcess } from '../testing/etcd-process.ts';
import { connectKv } from './connect.ts';

electionSuite('etcd', async () => {
  const etcd = await EtcdProcess.start();
  return {
    connect: () => connectKv({ endpoints: [etcd.endpoint] }),
    compact: async () => {},
    restart: async () => {
      await etcd.stop();
      etcd.start();
    },
    wipe: () => etcd.wipe(),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
});
