import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Lab, until } from '../index.ts';

const READY_MS = 20_000;
/** An address for documentation (RFC 5737). */
const PROBE = '192.0.2.255';

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
    for (const { name, plan } of lab.routers)
      if (plan.daemon === 'gobgp') {
        const argv = ['gobgp', 'monitor', 'global', 'rib'];
        const pid = await watch.#follow(lab, name, argv, fromGobgp);
        await until(`the watch of ${name}`, () => connected(pid), { timeoutMs: READY_MS });
      } else {
        const argv = ['ip', '-ts', '-o', 'monitor', 'route'];
        await watch.#follow(lab, name, argv, fromKernel);
        await until(`the watch of ${name}`, () => watch.#tried(lab, name), { timeoutMs: READY_MS });
      }
    return watch;
  }

  /** Whether a change is told: one in a table that no daemon looks at. */
  async #tried(lab: Lab, router: string): Promise<string | undefined> {
    for (const verb of ['replace', 'delete'])
      await lab.exec(router, ['ip', 'route', verb, 'unreachable', PROBE, 'table', '4711']);
    return this.changes.some((each) => each.router === router && each.prefix === PROBE)
      ? undefined
      : 'it does not tell of a change';
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
  ): Promise<number> {
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
    return child.pid!;
  }
}

/** Whether a process has its connection with GoBGP's API (port 50051). */
function connected(pid: number): string | undefined {
  try {
    const table = readFileSync(`/proc/${pid}/net/tcp`, 'utf8');
    return /:C383 01 /.test(table) ? undefined : 'it is not connected';
  } catch {
    return 'it has ended';
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
