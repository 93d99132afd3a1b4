import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address } from '@causeway/ip';
import { RouterAdvertiser } from '@causeway/linux';
import type { Fib } from '../kernel/fib.ts';

/** First three in quick succession, as RFC 4861 section 6.2.4 has it, then now and then. */
const FIRST = 3;
const LOOK_MS = 1_000;
const LATER = 10;

/**
 * Tells the links that have a neighbour without an address that we are there, so that it finds us, and listens for
 * routers that tell of themselves.
 */
export class LinkAdvertiser implements Disposable {
  readonly #fib: Fib;
  readonly #log: Log;
  readonly #onHeard: (ifindex: number, address: Address) => void;
  /** Advertisements sent on each link, and looks until the next. */
  readonly #links = new Map<string, { sent: number; wait: number }>();
  #advertiser: RouterAdvertiser | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(fib: Fib, log: Log, onHeard: (ifindex: number, address: Address) => void) {
    this.#fib = fib;
    this.#log = log;
    this.#onHeard = onHeard;
  }

  /** The links, by name; those that stay go on as they are. */
  set(names: ReadonlySet<string>): void {
    for (const name of this.#links.keys()) if (!names.has(name)) this.#links.delete(name);
    for (const name of names) {
      if (!this.#links.has(name)) this.#links.set(name, { sent: 0, wait: 0 });
    }
    clearTimeout(this.#timer);
    if (this.#links.size > 0) this.#look();
  }

  /** A link came up, perhaps with somebody new at its other end: begin again. */
  again(): void {
    for (const link of this.#links.values()) Object.assign(link, { sent: 0, wait: 0 });
    this.set(new Set(this.#links.keys()));
  }

  [Symbol.dispose](): void {
    this.set(new Set());
    this.#advertiser?.close();
  }

  #look(): void {
    this.#timer = setTimeout(() => this.#look(), LOOK_MS);
    try {
      this.#advertiser ??= new RouterAdvertiser();
      for (const [name, link] of this.#links) {
        if (link.wait-- <= 0) this.#send(this.#advertiser, name, link);
      }
      for (const { ifindex, address } of this.#advertiser.heard()) {
        const name = this.#fib.linkName(ifindex);
        if (name !== undefined && this.#links.has(name)) {
          this.#onHeard(ifindex, Address.fromBytes(address));
        }
      }
    } catch (error) {
      this.#log.error({ error: messageWithCauses(error) }, 'cannot advertise on links');
    }
  }

  #send(advertiser: RouterAdvertiser, name: string, link: { sent: number; wait: number }): void {
    const at = this.#fib.link(name);
    // What cannot be sent now (no address yet, link down) is tried again soon.
    if (at?.running && advertiser.send(at.index, at.mac) === 0) link.sent++;
    link.wait = link.sent < FIRST ? 0 : LATER - 1;
  }
}
