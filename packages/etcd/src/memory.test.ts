import { complianceSuite } from '../testing/compliance.ts';
import { systemClock } from './clock.ts';
import { memoryEtcd } from './memory.ts';

complianceSuite('memory', async () => {
  const store = memoryEtcd({ clock: systemClock });
  return {
    connect: () => store.connect(),
    compact: async () => store.compact(),
    restart: async () => {
      store.stop();
      await new Promise((resolve) => setTimeout(resolve, 50));
      store.start();
    },
    wipe: async () => store.wipe(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
});
