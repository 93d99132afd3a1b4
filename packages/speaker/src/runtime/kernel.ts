import type { FeedItem, SpeakerApi } from '@causeway/bgp';
import { type Log, lockNetwork, messageWithCauses } from '@causeway/daemon';
import { Prefix } from '@causeway/ip';
import type { RtSocket } from '@causeway/linux';
import type { KernelConfig } from '../config/settings.ts';
import type { KernelObserver } from '../kernel/observer.ts';
import type { PeerFacts } from '../kernel/plan.ts';
import { type KernelStatus, RouteReconciler } from '../kernel/reconciler.ts';

/** Items of the feed in one go. */
const SLICE = 500;
const RETRY_MS = 5_000;

export interface KernelStatusView extends KernelStatus {
  /** Why nothing is done: another speaker of this network has the kernel's routes. */
  readonly waiting?: string;
}

/**
 * Brings the core's best paths to the kernel. One speaker of a network does that; a second one waits for the
 * first to end. Also in mode `none`, once, to take away what an earlier configuration installed.
 */
export class KernelRoutes implements AsyncDisposable {
  readonly #core: SpeakerApi;
  readonly #socket: RtSocket;
  readonly #observer: KernelObserver;
  readonly #log: Log;
  #config: KernelConfig;
  #reconciler: RouteReconciler | undefined;
  #lock: AsyncDisposable | undefined;
  #waiting: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  #feed: number | undefined;
  /** Families of which the whole table has been told. */
  readonly #synced = new Set<string>();
  /** After an overrun: what has been told again. */
  #fresh: Set<Prefix> | undefined;
  readonly #prefixes = new Set<Prefix>();
  #closed = false;
  #starting: Promise<void> | undefined;

  constructor(
    core: SpeakerApi,
    socket: RtSocket,
    observer: KernelObserver,
    config: KernelConfig,
    log: Log,
  ) {
    this.#core = core;
    this.#socket = socket;
    this.#observer = observer;
    this.#config = config;
    this.#log = log;
    this.#start();
  }

  /** Another mode, table or metric: everything is planned anew; what is not wanted any more goes then. */
  configure(config: KernelConfig): void {
    this.#config = config;
    this.#stopFeed();
    this.#reconciler?.[Symbol.dispose]();
    this.#reconciler = undefined;
    this.#start();
  }

  /** The core has something for the feed. False: not ours. */
  feed(id: number): boolean {
    if (id !== this.#feed) return false;
    this.#turn ??= setImmediate(() => this.#read());
    return true;
  }

  /** Best paths are chosen from now on: what nobody brought back may go. */
  deferralOver(): void {
    this.#pruneIfKnown();
  }

  recheck(): void {
    this.#reconciler?.recheck();
  }

  get reconciler(): RouteReconciler | undefined {
    return this.#reconciler;
  }

  explain(prefix: Prefix) {
    return this.#reconciler?.explain(prefix);
  }

  status(): KernelStatusView {
    const status = this.#reconciler?.status() ?? {
      mode: this.#config.mode,
      wanted: 0,
      installed: 0,
      pending: 0,
      failed: 0,
      pruned: false,
    };
    return this.#waiting === undefined ? status : { ...status, waiting: this.#waiting };
  }

  /** Takes our routes out of the kernel, for good. */
  removeAll(): void {
    this.#reconciler?.removeAll();
  }

  /** Routes stay: the next speaker finds them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#starting;
    clearTimeout(this.#retry);
    this.#stopFeed();
    this.#reconciler?.[Symbol.dispose]();
    await this.#lock?.[Symbol.asyncDispose]();
  }

  #start(): void {
    this.#starting = this.#open().catch((error: unknown) => {
      this.#waiting = messageWithCauses(error);
      if (this.#closed) return;
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        this.#start();
      }, RETRY_MS);
    });
  }

  async #open(): Promise<void> {
    this.#lock ??= await lockNetwork('speaker');
    if (this.#closed || this.#reconciler !== undefined) return;
    this.#waiting = undefined;
    const { mode } = this.#config;
    this.#reconciler = new RouteReconciler({
      socket: this.#socket,
      fib: this.#observer.fib,
      config: this.#config,
      peer: (name) => this.#peer(name),
      log: this.#log,
    });
    if (mode === 'none') this.#pruneIfKnown();
    else {
      this.#feed = this.#core.openFeed({ type: 'best' });
      this.#turn ??= setImmediate(() => this.#read());
    }
  }

  #stopFeed(): void {
    if (this.#feed !== undefined) this.#core.closeFeed(this.#feed);
    this.#feed = undefined;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    this.#synced.clear();
    this.#prefixes.clear();
    this.#fresh = undefined;
  }

  #peer(name: string): PeerFacts | undefined {
    const row = this.#core.peer(name);
    return row?.endpoints === undefined
      ? undefined
      : { external: row.kind === 'external', address: row.endpoints.remoteAddress };
  }

  #read(): void {
    this.#turn = undefined;
    if (this.#feed === undefined) return;
    const items = this.#core.readFeed(this.#feed, SLICE);
    for (const item of items) this.#item(item);
    if (items.length >= SLICE) this.#turn = setImmediate(() => this.#read());
  }

  #item(item: FeedItem): void {
    switch (item.type) {
      case 'best': {
        const prefix = Prefix.parse(item.prefix);
        this.#fresh?.add(prefix);
        if (item.nextHops.length === 0 || item.local) {
          this.#prefixes.delete(prefix);
          this.#reconciler?.set(prefix, undefined);
        } else {
          this.#prefixes.add(prefix);
          this.#reconciler?.set(prefix, { prefix, nextHops: item.nextHops });
        }
        return;
      }
      case 'overrun':
        this.#fresh = new Set();
        this.#synced.clear();
        return;
      case 'synced':
        this.#forgetUntold(item.family === 'ipv4-unicast' ? 'ipv4' : 'ipv6');
        this.#synced.add(item.family);
        this.#pruneIfKnown();
        return;
      case 'monitor':
        return;
      default:
        item satisfies never;
    }
  }

  /** After an overrun, what the new telling left out has gone. */
  #forgetUntold(family: 'ipv4' | 'ipv6'): void {
    const fresh = this.#fresh;
    if (fresh === undefined) return;
    for (const prefix of this.#prefixes) {
      if (Prefix.family(prefix) !== family || fresh.has(prefix)) continue;
      this.#prefixes.delete(prefix);
      this.#reconciler?.set(prefix, undefined);
    }
  }

  #pruneIfKnown(): void {
    if (this.#core.counters().deferring) return;
    if (this.#config.mode !== 'none' && this.#synced.size < 2) return;
    this.#reconciler?.prune();
  }
}
