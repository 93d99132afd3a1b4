import type { Kv, Txn } from '@causeway/etcd';

/** Somebody at work on the store, held before each call that others may come before. */
export interface Worker {
  /** The call that he is about to make; undefined once he has ended. */
  readonly next: string | undefined;
  readonly outcome: PromiseSettledResult<unknown> | undefined;
  /** Makes the call; resolves when he is held again or has ended. */
  step(): Promise<void>;
  /** What he held by leases goes, as it does some time after he has died. */
  expire(): Promise<void>;
}

/**
 * Starts the work and resolves when it is held for the first time.
 * @param holds whether to stop before a call: `list <prefix>`, `get <keys>`, `write <keys>`, `give back`.
 */
export async function startWorker(
  kv: Kv,
  holds: (call: string) => boolean,
  work: (kv: Kv) => Promise<unknown>,
): Promise<Worker> {
  let next: string | undefined;
  let outcome: PromiseSettledResult<unknown> | undefined;
  let held = Promise.withResolvers<void>();
  let goOn: () => void = () => {};
  const leases: AsyncDisposable[] = [];

  const before = async (call: string): Promise<void> => {
    if (!holds(call)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    next = call;
    goOn = resolve;
    held.resolve();
    await promise;
  };
  const own = {
    async *pages(...[prefix, options]: Parameters<Kv['pages']>) {
      await before(`list ${prefix}`);
      yield* kv.pages(prefix, options);
    },
    async txn(...[request, options]: Parameters<Kv['txn']>) {
      await before(callOf(request));
      return kv.txn(request, options);
    },
    async lease(...[ttl, options]: Parameters<Kv['lease']>) {
      const lease = await kv.lease(ttl, options);
      leases.push(lease);
      const giveBack = async () => {
        await before('give back');
        await lease[Symbol.asyncDispose]();
      };
      return { id: lease.id, [Symbol.asyncDispose]: giveBack };
    },
  };
  const watched = new Proxy(kv, {
    get(target, property) {
      const value: unknown = Reflect.get(property in own ? own : target, property);
      return typeof value === 'function' && !(property in own) ? value.bind(target) : value;
    },
  });
  void Promise.allSettled([work(watched)]).then(([settled]) => {
    outcome = settled;
    held.resolve();
  });
  await held.promise;
  return {
    get next() {
      return next;
    },
    get outcome() {
      return outcome;
    },
    async step() {
      held = Promise.withResolvers();
      next = undefined;
      goOn();
      await held.promise;
    },
    async expire() {
      for (const each of leases) await each[Symbol.asyncDispose]();
    },
  };
}

function callOf({ success }: Txn): string {
  const keys = success.map((each) => ('key' in each ? each.key : each.prefix)).join(' ');
  return success.every(({ type }) => type === 'get') ? `get ${keys}` : `write ${keys}`;
}

/**
 * Runs once for every way to choose: each run asks `choose(n)` for a number below n as often as it likes, and the
 * next run differs in the last choice that has not been made every way. Returns how many runs there were.
 */
export async function everyWay(
  run: (choose: (of: number) => number) => Promise<void>,
): Promise<number> {
  let made: { readonly of: number; taken: number }[] = [];
  for (let runs = 1; ; runs++) {
    let at = 0;
    await run((of) => {
      if (at === made.length) made.push({ of, taken: 0 });
      return made[at++]!.taken;
    });
    made = made.slice(0, made.findLastIndex(({ of, taken }) => taken + 1 < of) + 1);
    if (made.length === 0) return runs;
    made.at(-1)!.taken++;
  }
}
