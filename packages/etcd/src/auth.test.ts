import { authSuite } from '../testing/auth-suite.ts';
import { systemClock } from './clock.ts';
import { memoryEtcd } from './memory.ts';

authSuite('memory', async () => {
  const store = memoryEtcd({ clock: systemClock });
  return {
    auth: store.auth,
    connect: (user) => store.connect({ user }),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
});
