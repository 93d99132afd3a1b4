import { memoryEtcd } from '@causeway/etcd';
import { VirtualClock } from '@causeway/tables';
import { storeSuite } from '../testing/store-suite.ts';

storeSuite('memory', async () => {
  const etcd = memoryEtcd({ clock: new VirtualClock() });
  const kv = etcd.connect();
  return { kv, [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
});
