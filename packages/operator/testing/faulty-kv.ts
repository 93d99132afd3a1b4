import { type Kv, KvError } from '@causeway/etcd';

/** What stands between a program and its store, so that a test can cut it anywhere. */
export interface FaultyKv {
  readonly kv: Kv;
  /** Calls that reached the store or were cut. */
  readonly calls: number;
}

/**
 * The program dies at its n-th call: `before` the store hears of it, or `after` it has done it and before the answer
 * comes. From then on every call fails, as for a process that is gone; its leases run out by themselves.
 */
export function dyingKv(
  kv: Kv,
  at: number,
  when: 'before' | 'after',
  onDeath: () => void,
): FaultyKv {
  const state = { calls: 0, dead: false };
  const gone = () => new KvError('unavailable', undefined, 'the process is dead');
  const die = () => {
    state.dead = true;
    onDeath();
  };
  const faulty = new Proxy(kv, {
    get(target, property) {
      const value = Reflect.get(target, property, target) as unknown;
      if (typeof value !== 'function') return value;
      if (!['get', 'txn', 'put', 'delete'].includes(String(property))) return value.bind(target);
      return async (...args: unknown[]) => {
        if (state.dead) throw gone();
        const mine = ++state.calls === at;
        if (mine && when === 'before') {
          die();
          throw gone();
        }
        const answer = await (value as (...args: unknown[]) => Promise<unknown>).apply(
          target,
          args,
        );
        if (mine) {
          die();
          throw gone();
        }
        if (state.dead) throw gone();
        return answer;
      };
    },
  });
  return {
    kv: faulty,
    get calls() {
      return state.calls;
    },
  };
}
