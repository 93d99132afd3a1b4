import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ipBatch } from '../build/topology.ts';
import { LabError } from '../errors.ts';
import { netnsName, type RouterPaths, routerPaths } from '../host/names.ts';
import { forget, launch, must, run, runningProcess, signalProcess } from '../host/process.ts';
import { type Missing, until } from '../host/wait.ts';
import type { RouterPlan } from '../plan/types.ts';
import type { RouterBfd, RouterDaemon, RouterProgram, RouterSession } from '../routers/daemon.ts';
import { routerDaemons } from '../routers/daemons.ts';
import type { LabContext } from './context.ts';
import { setCable } from './links.ts';

const START_MS = 15_000;
const END_MS = 10_000;

/** A route in a router's kernel as `ip -j route` tells it, reduced to what tests and people compare. */
export interface KernelRoute {
  readonly prefix: string;
  readonly protocol: string;
  /** Next hops' addresses in order; empty for a connected or an unreachable one. */
  readonly via: readonly string[];
}

/** A router that runs a real routing daemon. */
export class LabRouter {
  readonly plan: RouterPlan;
  readonly #context: LabContext;
  readonly #daemon: RouterDaemon;

  constructor(context: LabContext, plan: RouterPlan) {
    this.#context = context;
    this.plan = plan;
    this.#daemon = routerDaemons[plan.daemon];
  }

  get name(): string {
    return this.plan.name;
  }

  /** Log files by program, in the order in which the programs start. */
  get logs(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#programs.map(({ name }) => [name, this.#paths.log(name)]));
  }

  /** Programs of it that run, by name. */
  get running(): string[] {
    return this.#programs
      .map(({ name }) => name)
      .filter((name) => runningProcess(this.#paths.pid(name)) !== undefined);
  }

  /** Starts what does not run; its sessions come up after this returns. */
  async start(): Promise<void> {
    const prefix = this.#context.prefix(this.#context.find(this.name));
    for (const { name, argv, awaits } of this.#programs) {
      const { log, pid, run: directory } = this.#paths;
      if (runningProcess(pid(name)) !== undefined) continue;
      if (awaits !== undefined) rmSync(join(directory, awaits), { force: true });
      await launch([...prefix, ...argv], log(name), pid(name));
      if (awaits === undefined) continue;
      await until(
        `${name} on ${this.name}`,
        () => {
          if (runningProcess(pid(name)) === undefined) throw this.#ended(name);
          return existsSync(join(directory, awaits)) ? undefined : `it has no ${awaits}`;
        },
        { timeoutMs: START_MS, hint: `its log is ${log(name)}` },
      );
    }
  }

  /** Ends its daemons and waits until they are gone. SIGTERM closes sessions; after SIGKILL the kernel goes on forwarding. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const names = this.running.reverse();
    for (const name of names) signalProcess(this.#paths.pid(name), signal);
    await until(
      `end of the daemons on ${this.name}`,
      () => (this.running.length === 0 ? undefined : `${this.running.join(', ')} run`),
      { timeoutMs: END_MS },
    );
    for (const name of names) forget(this.#paths.pid(name));
  }

  /** As when its power fails: every cable loses its carrier, its programs end, it forwards nothing. */
  async powerOff(): Promise<void> {
    await this.#devices('down');
    await this.stop('SIGKILL');
    const { kernelProtocol } = this.#daemon;
    if (kernelProtocol === undefined) return;
    for (const family of ['-4', '-6'])
      for (const table of ['main', 'all'])
        await run([
          ...['ip', '-n', netnsName(this.#context.names, this.name), family],
          ...['route', 'flush', 'table', table, 'proto', kernelProtocol],
        ]);
  }

  async powerOn(): Promise<void> {
    await this.#devices('up');
    await this.start();
  }

  /** Cuts or mends all its cables while its programs go on. */
  async cables(state: 'up' | 'down'): Promise<void> {
    for (const { name } of this.#place.devices)
      await setCable(this.#context, this.name, name, state);
  }

  /** What it says of its sessions. Throws `router-failed` when it does not answer. */
  async sessions(): Promise<RouterSession[]> {
    return this.#daemon.parseSessions(await this.#ask(this.#daemon.sessionsCommand));
  }

  /** What it says of its BFD sessions; none where it has no BFD. Throws `router-failed` when it does not answer. */
  async bfdSessions(): Promise<RouterBfd[]> {
    const { bfd } = this.#daemon;
    if (this.plan.bfd === undefined || bfd === undefined) return [];
    return bfd.parse(await this.#ask(bfd.command));
  }

  /** Routes that its daemon put into the kernel. */
  async routes(family: 'ipv4' | 'ipv6'): Promise<KernelRoute[]> {
    const netns = netnsName(this.#context.names, this.name);
    const output = await must(['ip', '-j', '-n', netns, family === 'ipv4' ? '-4' : '-6', 'route']);
    return (JSON.parse(output) as IpRoute[])
      .filter(({ protocol }) => OWN_PROTOCOLS.includes(protocol))
      .map(({ dst, protocol, gateway, via, nexthops }) => ({
        prefix: canonical(dst, family),
        protocol,
        via: (nexthops ?? [{ gateway, via }]).flatMap((hop) => hop.gateway ?? hop.via?.host ?? []),
      }));
  }

  /**
   * Which of its sessions with other routers are not up, in words; BFD's too, without which a router
   * that dies now is missed only when the hold time is over.
   */
  async missing(): Promise<Missing> {
    const dead = this.#programs.filter(({ name }) => !this.running.includes(name));
    if (dead.length > 0) throw this.#ended(dead[0]!.name);
    let sessions: RouterSession[];
    let guards: RouterBfd[];
    try {
      [sessions, guards] = await Promise.all([this.sessions(), this.bfdSessions()]);
    } catch (error) {
      if (error instanceof LabError && error.code === 'router-failed') return error.message;
      throw error;
    }
    const up = new Set(sessions.filter((each) => each.established).map((each) => each.remote));
    const down = this.plan.sessions.filter(({ remote }) => !up.has(remote));
    if (down.length > 0) return `no session with ${namesOf(down)}`;
    if (this.plan.bfd === undefined) return undefined;
    const guarded = new Set(guards.filter((each) => each.up).map((each) => each.remote));
    const bare = this.plan.sessions.filter((each) => each.bfd && !guarded.has(each.remote));
    return bare.length === 0 ? undefined : `no BFD session with ${namesOf(bare)}`;
  }

  exec(argv: readonly string[]) {
    const prefix = this.#context.prefix(this.#context.find(this.name));
    return run([...prefix, ...argv], { timeoutMs: 10_000 });
  }

  async #ask(command: readonly string[]): Promise<string> {
    const result = await this.exec(command);
    if (result.code === 0) return result.stdout;
    throw new LabError(
      'router-failed',
      `${command[0]} on ${this.name} failed: ${(result.stderr || result.stdout).trim()}`,
      { value: this.name, hint: `its logs are ${Object.values(this.logs).join(', ')}` },
    );
  }

  get #programs(): readonly RouterProgram[] {
    return this.#daemon.programs(this.#paths.config);
  }

  get #paths(): RouterPaths {
    return routerPaths(this.#context.state.name, this.name);
  }

  get #place() {
    return this.#context.state.plan.places.find(({ place }) => place === this.name)!;
  }

  async #devices(state: 'up' | 'down'): Promise<void> {
    const { devices } = this.#place;
    const netns = netnsName(this.#context.names, this.name);
    const lines = devices.map(({ name }) => `link set ${name} ${state}`);
    // IPv6 addresses go with the device.
    if (state === 'up')
      for (const { name, addresses } of devices)
        for (const { address, length } of addresses)
          if (address.includes(':'))
            lines.push(`address replace ${address}/${length} dev ${name} nodad`);
    await ipBatch(lines, netns);
    // A device is up when both ends are; a daemon that looks at once sees it down.
    if (state === 'up') await sleep(50);
  }

  #ended(program: string): LabError {
    const log = this.#paths.log(program);
    return new LabError(
      'router-failed',
      `${program} on ${this.name} does not run: ${lastLines(log)}`,
      { value: this.name, hint: `its log is ${log}` },
    );
  }
}

function namesOf(sessions: RouterPlan['sessions']): string {
  return sessions.map((each) => `${each.neighbor} (${each.remote})`).join(', ');
}

interface IpRoute {
  readonly dst: string;
  readonly protocol: string;
  readonly gateway?: string;
  readonly via?: { readonly host?: string };
  readonly nexthops?: readonly { gateway?: string; via?: { host?: string } }[];
}

/** What `ip` calls the protocols of routes from daemons. */
const OWN_PROTOCOLS: readonly string[] = ['bird', 'bgp', 'zebra'];

function canonical(destination: string, family: 'ipv4' | 'ipv6'): string {
  if (destination === 'default') return family === 'ipv4' ? '0.0.0.0/0' : '::/0';
  if (destination.includes('/')) return destination;
  return `${destination}/${family === 'ipv4' ? 32 : 128}`;
}

function lastLines(log: string): string {
  try {
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-3).join(' | ').slice(0, 600);
  } catch {
    return '(no log)';
  }
}
