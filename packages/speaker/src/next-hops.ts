import type { NextHopState, SpeakerApi } from '@causeway/bgp';
import { Address, Prefix } from '@causeway/ip';
import type { Fib } from './kernel/fib.ts';

const LINK_LOCAL = Prefix.parse('fe80::/10');
/** Next hops looked up in one go: well below a millisecond of work each hundred. */
const SLICE = 500;

/** Answers the core's question whether next hops are reachable, and how far they are, by the kernel's routes. */
export class NextHopResolver implements Disposable {
  readonly #core: Pick<SpeakerApi, 'nextHops' | 'setNextHop'>;
  readonly #fib: Fib;
  readonly #known = new Map<Address, NextHopState>();
  #turn: NodeJS.Immediate | undefined;
  #queue: Address[] = [];

  constructor(core: Pick<SpeakerApi, 'nextHops' | 'setNextHop'>, fib: Fib) {
    this.#core = core;
    this.#fib = fib;
  }

  /** What came into use since the last call. */
  answer(now: number): void {
    for (const address of this.#core.nextHops()) this.#tell(address, now, true);
  }

  /** The kernel's routes changed. */
  recheck(): void {
    this.#queue = [...this.#known.keys()];
    this.#turn ??= setImmediate(() => this.#slice());
  }

  #slice(): void {
    this.#turn = undefined;
    const now = performance.now();
    for (const address of this.#queue.splice(-SLICE)) this.#tell(address, now, false);
    if (this.#queue.length > 0) this.#turn = setImmediate(() => this.#slice());
  }

  #tell(address: Address, now: number, asked: boolean): void {
    const state = this.#look(address);
    const before = this.#known.get(address);
    if (!asked && before?.reachable === state.reachable && before.metric === state.metric) return;
    this.#known.set(address, state);
    this.#core.setNextHop(address, state, now);
  }

  #look(address: Address): NextHopState {
    // A link-local one is as reachable as the session that told it.
    if (Address.isIPv6(address) && Prefix.contains(LINK_LOCAL, address))
      return { reachable: true, metric: 0 };
    const found = this.#fib.resolve(address);
    return found === undefined
      ? { reachable: false, metric: 0 }
      : { reachable: true, metric: found.metric };
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#turn);
  }
}
