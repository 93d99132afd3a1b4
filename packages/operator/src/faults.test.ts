import { memoryEtcd, systemClock } from '@causeway/etcd';
import { faultSuite } from '../testing/fault-suite.ts';

faultSuite('memory', async () => {
  const etcd = memoryEtcd({ clock: systemClock });
  return {
    connect: () => etcd.connect(),
    wipe: async () => etcd.wipe(),
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
});
