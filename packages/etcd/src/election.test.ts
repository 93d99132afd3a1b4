import { electionSuite } from '../testing/election-suite.ts';
import { systemClock } from './clock.ts';
import { memoryEtcd } from './memory.ts';

electionSuite('memory', async () => {
  const store = memoryEtcd({ clock: systemClock });
  return {
    connect: () => store.connect(),
    compact: async () => store.compact(),
    restart: async () => {
      store.stop();
      store.start();
    },
    wipe: async () => store.wipe(),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
});
