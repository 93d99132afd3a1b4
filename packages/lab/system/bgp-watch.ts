import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Lab } from '../index.ts';

/** One change of a routing table, as the kernel told it. */
export interface RouteChange {
  readonly router: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly deleted: boolean;
  readonly prefix: string;
  readonly text: string;
}

/** Follows the kernel's routes in routers, and the table of those that keep none there. */
export class RouteWatch implements AsyncDisposable {
  readonly changes: RouteChange[] = [];
  readonly #stack = new AsyncDisposableStack();

  static async start(lab: Lab): Promise<RouteWatch> {
    const watch = new RouteWatch();
    for (const router of lab.routers)
      await (router.plan.daemon === 'gobgp'
        ? watch.#follow(lab, router.name, ['gobgp', 'monitor', 'global', 'rib'], fromGobgp)
        : watch.#follow(lab, router.name, ['ip', '-ts', '-o', 'monitor', 'route'], fromKernel));
    return watch;
  }

  /** What changed for prefixes since a time. */
  of(prefixes: readonly string[], since = 0): RouteChange[] {
    return this.changes.filter(({ prefix, at }) => at >= since && prefixes.includes(prefix));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #follow(
    lab: Lab,
    router: string,
    argv: readonly string[],
    parse: (line: string) => Omit<RouteChange, 'router'> | undefined,
  ): Promise<void> {
    const child = lab.spawn(router, argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#stack.defer(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const change = parse(line);
      if (change !== undefined) this.changes.push({ router, ...change });
    });
    await once(child, 'spawn');
  }
}

/** `[2026-11-22T07:00:00.123456] Deleted 10.1.0.0/24 via ...` */
function fromKernel(line: string): Omit<RouteChange, 'router'> | undefined {
  const match = /^\[(\S+)\] (Deleted )?(?:unicast |unreachable )?(\S+) (.*)$/.exec(line);
  if (match === null) return undefined;
  const [, time, deleted, prefix] = match;
  return {
    at: Date.parse(time!),
    deleted: deleted !== undefined,
    prefix: prefix!,
    text: line,
  };
}

/** `2026-11-22T07:00:00Z [ROUTE] 10.1.0.0/24 via ...`, `[DELROUTE] ...`: whole seconds, so the time of reading counts. */
function fromGobgp(line: string): Omit<RouteChange, 'router'> | undefined {
  const match = /\[(\w*ROUTE)\] (\S+)/.exec(line);
  if (match === null) return undefined;
  const at = performance.timeOrigin + performance.now();
  return { at, deleted: match[1] === 'DELROUTE', prefix: match[2]!, text: line };
}
