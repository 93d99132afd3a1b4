import { memoryEtcd } from '@causeway/etcd';
import { VirtualClock } from '@causeway/tables';
import { addressSuite } from '../testing/address-suite.ts';
import { type StoreUnderTest, storeSuite } from '../testing/store-suite.ts';

async function open(): Promise<StoreUnderTest> {
  const etcd = memoryEtcd({ clock: new VirtualClock() });
  const kv = etcd.connect();
  return { kv, [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose]() };
}

storeSuite('memory', open);
addressSuite('memory', open);
