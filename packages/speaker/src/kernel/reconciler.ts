import type { Log } from '@causeway/daemon';
import type { Address, Prefix } from '@causeway/ip';
import {
  type NetlinkError,
  type Route,
  type RtSocket,
  request,
  speakerProtocol,
} from '@causeway/linux';
import type { KernelConfig } from '../config/settings.ts';
import type { Fib } from './fib.ts';
import { type Best, type PeerFacts, type Plan, planRoute } from './plan.ts';
import { hopsKey, isGone, type OwnRoute, ownRouteOf, specOf } from './routes.ts';

/** Requests in one go: some milliseconds of the kernel's time. */
const BATCH = 128;
/** Until news that we did not expect is looked into; our own changes come back within it. */
const DOUBT_MS = 200;
/** What the kernel refused is tried again after so long, and sooner when its routes change. */
const RETRY_MS = [1_000, 2_000, 5_000, 15_000, 30_000];

export interface KernelStatus {
  readonly mode: KernelConfig['mode'];
  /** Prefixes that the mode selects. */
  readonly wanted: number;
  readonly installed: number;
  readonly pending: number;
  readonly failed: number;
  readonly firstFailure?: { readonly prefix: string; readonly message: string };
  /** False: routes of an earlier run are still kept. */
  readonly pruned: boolean;
}

export interface ReconcilerOptions {
  readonly socket: Pick<RtSocket, 'routes' | 'tryApply'>;
  readonly fib: Fib;
  readonly config: KernelConfig;
  readonly peer: (name: string) => PeerFacts | undefined;
  readonly log: Log;
}

/**
 * Holds the kernel's routes of our protocol number to the best paths. A route of anybody else, also for the
 * same prefix, is never changed: ours are only ever added where there is none of that metric, and replaced
 * where it is ours. Nothing is taken away that was there at the start until `prune`.
 */
export class RouteReconciler implements Disposable {
  readonly #options: ReconcilerOptions;
  readonly #best = new Map<Prefix, Best>();
  /** What we know the kernel has of ours in our table with our metric. */
  readonly #installed = new Map<Prefix, string>();
  /** Of ours elsewhere: another table or metric of an earlier configuration. */
  #strays: OwnRoute[] = [];
  readonly #dirty = new Set<Prefix>();
  readonly #failures = new Map<Prefix, string>();
  /** Prefixes of which the kernel's news was not what we did last. */
  readonly #suspects = new Set<Prefix>();
  #pruned = false;
  #attempt = 0;
  #turn: NodeJS.Immediate | undefined;
  #retry: NodeJS.Timeout | undefined;
  #doubt: NodeJS.Timeout | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#read();
  }

  /** The kernel's own word on what it has of ours. */
  #read(): void {
    const { table, metric } = this.#options.config;
    this.#installed.clear();
    this.#strays = [];
    for (const route of this.#options.socket.routes({ protocol: speakerProtocol })) {
      const own = ownRouteOf(route);
      if (own.table === table && own.metric === metric) this.#installed.set(own.prefix, own.hops);
      else this.#strays.push(own);
    }
  }

  /** A best path came, changed, or (undefined) went. */
  set(prefix: Prefix, best: Best | undefined): void {
    if (best === undefined) this.#best.delete(prefix);
    else this.#best.set(prefix, best);
    this.#mark(prefix);
  }

  /** Everything that there is to be told has been told: what is left over from before goes. */
  prune(): void {
    if (this.#pruned) return;
    this.#pruned = true;
    for (const prefix of this.#installed.keys()) if (!this.#best.has(prefix)) this.#mark(prefix);
    this.#schedule();
  }

  /** Ways may lead elsewhere now; the same plan costs nothing. */
  recheck(): void {
    for (const prefix of this.#best.keys()) this.#dirty.add(prefix);
    this.#attempt = 0;
    this.#schedule();
  }

  /** Routes of ours may have gone without a word. */
  reread(): void {
    this.#read();
    this.recheck();
    if (this.#pruned)
      for (const prefix of this.#installed.keys()) if (!this.#best.has(prefix)) this.#mark(prefix);
  }

  /** The kernel's news of a route of ours: our own doing comes back here, too. */
  observed(change: 'new' | 'deleted', route: Route): void {
    const own = ownRouteOf(route);
    const { table, metric } = this.#options.config;
    if (own.table !== table || own.metric !== metric) return;
    const known = this.#installed.get(own.prefix);
    if (change === 'new' ? known === own.hops : known === undefined) return;
    // Not what we did last: news may be old, so the kernel is asked before anything is undone.
    this.#suspects.add(own.prefix);
    this.#doubt ??= setTimeout(() => this.#verify(), DOUBT_MS);
  }
  /** Why a prefix is installed, or not. Undefined: no best path. */
  explain(
    prefix: Prefix,
  ): { readonly plan: Plan; readonly installed: boolean; readonly error?: string } | undefined {
    const best = this.#best.get(prefix);
    if (best === undefined) return undefined;
    const error = this.#failures.get(prefix);
    return {
      plan: this.#plan(best),
      installed: this.#installed.has(prefix),
      ...(error === undefined ? {} : { error }),
    };
  }

  status(): KernelStatus {
    const [first] = this.#failures;
    return {
      mode: this.#options.config.mode,
      wanted: this.#best.size,
      installed: this.#installed.size,
      pending: this.#dirty.size,
      failed: this.#failures.size,
      ...(first === undefined ? {} : { firstFailure: { prefix: first[0], message: first[1] } }),
      pruned: this.#pruned,
    };
  }

  /** Stops; routes stay. */
  [Symbol.dispose](): void {
    clearImmediate(this.#turn);
    clearTimeout(this.#retry);
    clearTimeout(this.#doubt);
  }

  /** Takes every route of ours away, at once. For good, not for a restart. */
  removeAll(): void {
    this[Symbol.dispose]();
    this.#read();
    const all: Omit<OwnRoute, 'hops'>[] = [...this.#strays];
    const { table, metric } = this.#options.config;
    for (const prefix of this.#installed.keys()) all.push({ prefix, table, metric });
    for (let at = 0; at < all.length; at += BATCH) this.#delete(all.slice(at, at + BATCH));
    this.#installed.clear();
    this.#strays = [];
  }

  #plan(best: Best): Plan {
    const { config, fib, peer } = this.#options;
    return planRoute(best, config, fib, peer);
  }

  #mark(prefix: Prefix): void {
    this.#dirty.add(prefix);
    this.#schedule();
  }

  #schedule(): void {
    this.#turn ??= setImmediate(() => this.#work());
  }

  #work(): void {
    this.#turn = undefined;
    try {
      this.#step();
      if (this.#pruned && this.#strays.length > 0) this.#delete(this.#strays.splice(0, BATCH));
    } catch (error) {
      this.#options.log.error({ error: String(error) }, "cannot work on the kernel's routes");
      this.#later();
      return;
    }
    if (this.#dirty.size > 0 || (this.#pruned && this.#strays.length > 0)) this.#schedule();
    else if (this.#failures.size > 0) this.#later();
    else this.#attempt = 0;
  }

  #later(): void {
    if (this.#retry !== undefined) return;
    const ms = RETRY_MS[Math.min(this.#attempt++, RETRY_MS.length - 1)] ?? 30_000;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      for (const prefix of this.#failures.keys()) this.#dirty.add(prefix);
      this.#schedule();
    }, ms);
  }

  /** What the news cast doubt on is read again, all at once. */
  #verify(): void {
    this.#doubt = undefined;
    try {
      this.#read();
    } catch (error) {
      this.#options.log.error({ error: String(error) }, 'cannot read our routes');
      this.#doubt = setTimeout(() => this.#verify(), RETRY_MS[0]);
      return;
    }
    for (const prefix of this.#suspects) this.#dirty.add(prefix);
    this.#suspects.clear();
    this.#schedule();
  }

  #step(): void {
    const { table, metric } = this.#options.config;
    const batch: {
      prefix: Prefix;
      hops: string;
      present: boolean;
      spec: ReturnType<typeof specOf>;
    }[] = [];
    const away: Prefix[] = [];
    let looked = 0;
    for (const prefix of this.#dirty) {
      if (batch.length + away.length >= BATCH || looked++ >= BATCH * 4) break;
      this.#dirty.delete(prefix);
      const best = this.#best.get(prefix);
      const present = this.#installed.get(prefix);
      const plan = best && this.#plan(best);
      if (plan?.type !== 'install') {
        this.#failures.delete(prefix);
        // Left from before: it stays until all is known.
        if (present !== undefined && (best !== undefined || this.#pruned)) away.push(prefix);
        continue;
      }
      const hops = hopsKey(plan.hops);
      if (present === hops) {
        this.#failures.delete(prefix);
        continue;
      }
      const spec = specOf({ prefix, table, metric }, plan.hops);
      batch.push({ prefix, hops, present: present !== undefined, spec });
    }
    const errors = this.#options.socket.tryApply(
      batch.map(({ spec, present }) =>
        present ? request.replaceRoute(spec) : request.addRoute(spec),
      ),
    );
    batch.forEach(({ prefix, hops }, index) => {
      const error = errors[index];
      if (error === undefined) {
        this.#installed.set(prefix, hops);
        this.#failures.delete(prefix);
      } else this.#failures.set(prefix, describe(error));
    });
    this.#delete(away.map((prefix) => ({ prefix, table, metric })));
  }

  #delete(routes: readonly Omit<OwnRoute, 'hops'>[]): void {
    const { table, metric } = this.#options.config;
    const errors = this.#options.socket.tryApply(
      routes.map((route) => request.deleteRoute(specOf(route))),
    );
    routes.forEach((route, index) => {
      const error = errors[index];
      const here = route.table === table && route.metric === metric;
      if (error === undefined || isGone(error)) {
        if (here) this.#installed.delete(route.prefix);
        if (here) this.#failures.delete(route.prefix);
      } else if (here) this.#failures.set(route.prefix, describe(error));
    });
  }
}

function describe(error: NetlinkError): string {
  return error.code === 'exists'
    ? 'a route of somebody else has the same prefix and metric; give kernel.metric another value'
    : error.message;
}

/** Text of a hop for rows: `192.0.2.1 dev eth0`. */
export const hopText = ({ via, ifindex }: { via: Address; ifindex: number }, fib: Fib): string =>
  `${via} dev ${fib.linkName(ifindex) ?? ifindex}`;
