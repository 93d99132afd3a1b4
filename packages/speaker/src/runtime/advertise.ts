import { type Log, messageWithCauses } from '@causeway/daemon';
import { RouterAdvertiser } from '@causeway/linux';
import type { Fib } from '../kernel/fib.ts';

/** First three in quick succession, as RFC 4861 section 6.2.4 has it, then now and then. */
const FIRST = 3;
const FIRST_MS = 1_000;
const LATER_MS = 10_000;

/** Tells the links that have a neighbour without an address that we are there, so that it finds us, too. */
export class LinkAdvertiser implements Disposable {
  readonly #fib: Fib;
  readonly #log: Log;
  readonly #links = new Map<string, { sent: number; timer: NodeJS.Timeout | undefined }>();
  #advertiser: RouterAdvertiser | undefined;

  constructor(fib: Fib, log: Log) {
    this.#fib = fib;
    this.#log = log;
  }

  /** The links, by name; those that stay go on as they are. */
  set(names: ReadonlySet<string>): void {
    for (const [name, link] of this.#links) {
      if (names.has(name)) continue;
      clearTimeout(link.timer);
      this.#links.delete(name);
    }
    for (const name of names) {
      if (this.#links.has(name)) continue;
      this.#links.set(name, { sent: 0, timer: undefined });
      this.#send(name);
    }
  }

  /** A link came up, perhaps with somebody new at its other end: begin again. */
  again(): void {
    for (const [name, link] of this.#links) {
      clearTimeout(link.timer);
      link.sent = 0;
      this.#send(name);
    }
  }

  [Symbol.dispose](): void {
    this.set(new Set());
    this.#advertiser?.close();
  }

  #send(name: string): void {
    const state = this.#links.get(name);
    if (state === undefined) return;
    const link = this.#fib.link(name);
    try {
      this.#advertiser ??= new RouterAdvertiser();
      // What cannot be sent now (no address yet, link down) is tried again soon.
      if (link?.running && this.#advertiser.send(link.index, link.mac) === 0) state.sent++;
    } catch (error) {
      this.#log.error(
        { link: name, error: messageWithCauses(error) },
        'cannot advertise on a link',
      );
    }
    state.timer = setTimeout(() => this.#send(name), state.sent < FIRST ? FIRST_MS : LATER_MS);
  }
}
