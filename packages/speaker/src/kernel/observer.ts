import type { Log } from '@causeway/daemon';
import {
  type Neighbour,
  type Netns,
  type Route,
  RouteTable,
  type RtEvent,
  type RtGroup,
  RtMonitor,
  type RtSocket,
  speakerProtocol,
} from '@causeway/linux';
import { Fib } from './fib.ts';

/** Events come in crowds; what they say is looked at once they have settled. */
const SETTLE_MS = 20;
/** Until what broke is tried again. */
const RETRY_MS = 1_000;

export interface ObserverOptions {
  readonly socket: RtSocket;
  /** Where to listen, if not in the process's own namespace; as the socket. */
  readonly ns?: Netns;
  readonly log: Log;
  /** Links, addresses or others' routes are not what they were. */
  readonly onChange: () => void;
  /** One of our routes was changed or taken away. Also told of what we did ourselves. */
  readonly onOwnRoute: (change: 'new' | 'deleted', route: Route) => void;
  /** Routes of ours may be gone without a word, as when a link goes down. */
  readonly onDoubt: () => void;
  readonly onNeighbour: (change: 'new' | 'deleted', neighbour: Neighbour) => void;
}

/** Keeps a `Fib` equal to the kernel's by its own news. */
export class KernelObserver implements Disposable {
  readonly fib = new Fib();
  readonly #options: ObserverOptions;
  #monitor: RtMonitor | undefined;
  #settling: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;
  #reread = false;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#monitor = this.#follow();
    this.#read();
  }

  #follow(): RtMonitor {
    const groups: RtGroup[] = ['link', 'address', 'route', 'neighbour'];
    return new RtMonitor({
      groups,
      ...(this.#options.ns === undefined ? {} : { ns: this.#options.ns }),
      onEvent: (event) => this.#event(event),
      onError: (error) => this.#broken(error),
    });
  }

  /** What happened meanwhile nobody told: after the new start everything is read again. */
  #broken(error: unknown): void {
    this.#options.log.error({ error: String(error) }, "the watch on the kernel's routes broke");
    this.#monitor = undefined;
    this.#reopening = setTimeout(() => {
      try {
        this.#monitor = this.#follow();
        this.#mark(true);
      } catch (again) {
        this.#broken(again);
      }
    }, RETRY_MS);
  }

  #read(): void {
    const { socket } = this.#options;
    const { fib } = this;
    fib.clear();
    for (const link of socket.links()) fib.setLink(link);
    for (const address of socket.addresses()) fib.setAddress(address);
    for (const route of socket.routes({ table: RouteTable.main }))
      if (route.protocol !== speakerProtocol) fib.setRoute(route);
  }

  #event(event: RtEvent): void {
    const { fib } = this;
    switch (event.type) {
      case 'link': {
        const before = fib.link(event.link.name)?.running;
        if (event.change === 'new') fib.setLink(event.link);
        else fib.deleteLink(event.link.index);
        // Linux tells nothing of the IPv4 routes that go with a link.
        if (before !== event.link.running || event.change === 'deleted') this.#mark(true);
        return;
      }
      case 'address':
        if (event.change === 'new') fib.setAddress(event.address);
        else fib.deleteAddress(event.address);
        // Nor of those that go with an address.
        this.#mark(event.change === 'deleted');
        return;
      case 'route': {
        const { route, change } = event;
        if (route.protocol === speakerProtocol) {
          this.#options.onOwnRoute(change, route);
          return;
        }
        if (route.table !== RouteTable.main) return;
        if (change === 'new') fib.setRoute(route);
        else fib.deleteRoute(route);
        this.#mark(false);
        return;
      }
      case 'neighbour':
        this.#options.onNeighbour(event.change, event.neighbour);
        return;
      case 'resync':
        this.#mark(true);
        return;
      case 'rule':
        return;
      default:
        event satisfies never;
    }
  }

  #mark(reread: boolean, ms = SETTLE_MS): void {
    this.#reread ||= reread;
    this.#settling ??= setTimeout(() => this.#settle(), ms);
  }

  #settle(): void {
    this.#settling = undefined;
    if (this.#reread) {
      try {
        this.#read();
        this.#reread = false;
      } catch (error) {
        this.#options.log.error({ error: String(error) }, "cannot read the kernel's routes");
        this.#mark(true, RETRY_MS);
        return;
      }
      this.#options.onDoubt();
    }
    this.#options.onChange();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#settling);
    clearTimeout(this.#reopening);
    this.#monitor?.close();
  }
}
