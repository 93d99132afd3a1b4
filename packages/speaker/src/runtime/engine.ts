import {
  BgpError,
  BgpShell,
  type OriginatedPath,
  type PolicyLibrary,
  type ShellCore,
  Speaker,
  type SpeakerApi,
  type SpeakerEffect,
  type SpeakerEvent,
} from '@causeway/bgp';
import {
  codeOf,
  type EventStreams,
  type Log,
  messageWithCauses,
  sparingLog,
} from '@causeway/daemon';
import type { RtSocket } from '@causeway/linux';
import { BfdClient, type BfdSession } from '../bfd.ts';
import { coreConfigOf } from '../config/core.ts';
import { diffSettings } from '../config/diff.ts';
import type { ListenAddress, Settings } from '../config/settings.ts';
import { SpeakerError } from '../errors.ts';
import type { KernelObserver } from '../kernel/observer.ts';
import type { Hop } from '../kernel/plan.ts';
import { hopText } from '../kernel/reconciler.ts';
import { NextHopResolver } from '../next-hops.ts';
import { asPathError } from '../paths.ts';
import type { RestartPlan } from '../restart.ts';
import { type EventView, eventView, type OwnEvent } from '../views/event.ts';
import { LinkAdvertiser } from './advertise.ts';
import { BmpStations } from './bmp.ts';
import { KernelRoutes } from './kernel.ts';
import { type ChangeRow, Neighbours } from './neighbours.ts';
import type { TargetFinder } from './targets.ts';

export interface EngineOptions {
  readonly settings: Settings;
  readonly restart: RestartPlan | undefined;
  readonly socket: RtSocket;
  readonly observer: KernelObserver;
  readonly targets: TargetFinder;
  readonly log: Log;
  readonly events: EventStreams<EventView>;
  readonly hostname: string;
  readonly defaultBfdSocket: string;
  readonly carriedBfd: readonly BfdSession[];
  readonly onBfdAccepted: (sessions: readonly BfdSession[]) => void;
  /** Which sessions are up may have changed. */
  readonly onSessions: () => void;
}

const now = () => performance.now();

/**
 * A running speaker: the core, its sockets, and what is around it. Made when there is a configuration for the
 * first time; from then on configurations only change it.
 */
export class Engine implements AsyncDisposable {
  readonly core: SpeakerApi;
  readonly shell: BgpShell;
  readonly neighbours: Neighbours;
  readonly kernel: KernelRoutes;
  readonly bmp: BmpStations;
  readonly startedAt = now();
  readonly restart: RestartPlan | undefined;
  readonly #options: EngineOptions;
  /** For what strangers and neighbours can cause as often as they like. */
  readonly #sparing: Log;
  readonly #nextHops: NextHopResolver;
  readonly #advertiser: LinkAdvertiser;
  #bfd: BfdClient | undefined;
  #settings: Settings;
  #looking = false;

  constructor(options: EngineOptions) {
    const { settings, restart, socket, observer, log } = options;
    this.#options = options;
    this.#sparing = sparingLog(log);
    // Nothing is there yet that a first `apply` would find unchanged.
    this.#settings = emptied(settings);
    this.restart = restart;
    this.shell = new BgpShell({
      onUnknown: (endpoints) => this.neighbours.accept(endpoints),
      log: (message, fields) => this.#sparing.warn(fields, message),
    });
    try {
      this.core = new Speaker(
        {
          config: coreConfigOf(settings),
          random: Math.random,
          nextConnection: this.shell.nextConnection,
          emit: (effect) => this.#effect(effect),
          ...(restart === undefined ? {} : { restarting: restart }),
        },
        now(),
      );
    } catch (error) {
      throw asConfigError(error);
    }
    this.#nextHops = new NextHopResolver(this.core, observer.fib);
    this.#advertiser = new LinkAdvertiser(observer.fib, log, (ifindex, address) => {
      if (options.targets.heard(ifindex, address)) this.neighbourSeen();
    });
    this.neighbours = new Neighbours(this.#settings, {
      core: this.core,
      fib: observer.fib,
      targets: options.targets,
      log: this.#sparing,
      now,
      onEvent: (event) => this.#tell(event),
      onBfd: (peer, session) => this.#wantBfd(peer, session),
      onKeys: () => this.shell.setKeys(this.neighbours.keys()),
    });
    this.shell.attach(this.#forShell());
    this.bmp = new BmpStations({
      core: this.core,
      log,
      hostname: options.hostname,
      onEvent: (event) => this.#tell(event),
    });
    this.kernel = new KernelRoutes(this.core, socket, observer, settings.kernel, log);
  }

  /** The core as sockets see it. Whose a connection is we know without asking all of thousands. */
  #forShell(): ShellCore {
    const { core, neighbours } = this;
    return {
      get deadline() {
        return core.deadline;
      },
      work: (at) => core.work(at),
      input: (peer, input, at) => core.input(peer, input, at),
      produce: (peer, connection, maxBytes, at) => core.produce(peer, connection, maxBytes, at),
      peerFor: (endpoints) => neighbours.find(endpoints),
    };
  }

  get settings(): Settings {
    return this.#settings;
  }

  get bfd(): BfdClient | undefined {
    return this.#bfd;
  }

  /**
   * Makes the speaker what the settings say. @throws SpeakerError `listen-failed` or `invalid-config`; nothing
   * has changed then.
   */
  async apply(settings: Settings): Promise<ChangeRow[]> {
    const before = this.#settings;
    const diff = diffSettings(before, settings);
    await this.#listen(diff.listen.added);
    try {
      // While neighbours change, the policies of both configurations are there.
      if (diff.speaker || diff.library)
        this.core.configure(
          { ...coreConfigOf(settings), policies: joined(before.library, settings.library) },
          now(),
        );
    } catch (error) {
      for (const address of diff.listen.added) this.shell.unlisten(address);
      throw asConfigError(error);
    }
    for (const address of diff.listen.removed) this.shell.unlisten(address);
    this.#settings = settings;
    if (diff.bfdSocket) await this.#changeBfdSocket();
    if (diff.kernel) this.kernel.configure(settings.kernel);
    await this.bmp.apply(settings, diff);
    const changes = await this.neighbours.apply(settings, diff);
    this.#advertiser.set(this.neighbours.links());
    if (diff.library) this.core.setPolicies(settings.library, now());
    this.#afterwards();
    return changes;
  }

  /** @throws SpeakerError `bad-request` for what the core refuses; nothing has changed then. */
  setPaths(owner: string, paths: readonly OriginatedPath[]) {
    try {
      const change = this.core.setPaths(owner, paths, now());
      this.#afterwards();
      return change;
    } catch (error) {
      throw asPathError(error);
    }
  }

  /** For every call of the core that may have effects. */
  act<T>(work: (core: SpeakerApi, at: number) => T): T {
    try {
      return work(this.core, now());
    } finally {
      this.#afterwards();
    }
  }

  /** @throws SpeakerError `bad-request` for a route that is none. */
  testPolicy(...[policy, route]: Parameters<SpeakerApi['testPolicy']>) {
    try {
      return this.act((core) => core.testPolicy(policy, route));
    } catch (error) {
      throw asPathError(error);
    }
  }

  hopText(hop: Hop): string {
    return hopText(hop, this.#options.observer.fib);
  }

  /** Links, addresses or routes of others changed. */
  kernelChanged(): void {
    this.#nextHops.recheck();
    this.neighbours.refresh();
    this.#advertiser.again();
    this.kernel.recheck();
    this.#afterwards();
  }

  neighbourSeen(): void {
    this.neighbours.refresh();
    this.#afterwards();
  }

  /**
   * Ends. `detach`: connections are closed without a word and routes stay, for the process that follows;
   * `shutdown`: neighbours are told with the text, and our routes are taken out of the kernel.
   */
  async end(how: 'detach' | 'shutdown', text?: string): Promise<void> {
    if (how === 'shutdown') this.kernel.removeAll();
    this.core.stopAll(how === 'detach' ? 'detach' : 'admin-shutdown', now(), text);
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#advertiser[Symbol.dispose]();
    this.neighbours[Symbol.dispose]();
    this.#nextHops[Symbol.dispose]();
    await Promise.all([
      this.shell[Symbol.asyncDispose](),
      this.bmp[Symbol.asyncDispose](),
      this.#bfd?.[Symbol.asyncDispose](),
      this.kernel[Symbol.asyncDispose](),
    ]);
  }

  async #listen(addresses: readonly ListenAddress[]): Promise<void> {
    const opened: ListenAddress[] = [];
    for (const address of addresses) {
      try {
        await this.shell.listen(address);
        opened.push(address);
      } catch (cause) {
        for (const each of opened) this.shell.unlisten(each);
        throw new SpeakerError(
          'listen-failed',
          `cannot listen on ${address.address} port ${address.port}`,
          {
            field: 'listen',
            value: `${address.address} ${address.port}`,
            hint: 'is another BGP speaker running here? give other addresses, another port, or an empty list',
            cause,
          },
        );
      }
    }
  }

  #effect(effect: SpeakerEffect): void {
    switch (effect.type) {
      case 'event':
        this.#event(effect.event);
        return;
      case 'feed':
        if (!this.kernel.feed(effect.feed)) this.bmp.feed(effect.feed);
        return;
      case 'wake':
      case 'connect':
      case 'close':
      case 'send':
      case 'options':
        this.shell.effect(effect);
        this.#look();
        return;
      default:
        effect satisfies never;
    }
  }

  #event(event: SpeakerEvent): void {
    this.#log(event);
    this.bmp.event(event);
    const { events } = this.#options;
    if (events.readers > 0) events.publish(eventView(event, now()));
    if (event.type === 'peer-up' || event.type === 'peer-down') {
      this.neighbours.changed(event.peer, event.type === 'peer-up');
      this.#options.onSessions();
    }
    if (event.type === 'deferral-over') {
      // Not from within the core's call.
      setImmediate(() => {
        this.kernel.deferralOver();
        this.#bfd?.settled();
      });
    }
  }

  #log(event: SpeakerEvent): void {
    const { log } = this.#options;
    if (event.type === 'peer-state' || event.type === 'end-of-rib') return;
    const view = eventView(event, now());
    const { type, at: _, negotiated: __, ...fields } = view;
    const failed = event.type === 'peer-down' && !event.established;
    if (failed) log.debug(fields, type);
    else if (type === 'notice') this.#sparing.warn(fields, type);
    else if (type === 'peer-down' || type === 'max-prefix') log.warn(fields, type);
    else log.info(fields, type);
  }

  #tell(event: OwnEvent): void {
    this.#options.events.publish(eventView(event, now()));
  }

  /** Next hops that came into use are answered for after the turn in which they came. */
  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => {
      this.#looking = false;
      this.#nextHops.answer(now());
    });
  }

  #afterwards(): void {
    this.#look();
    this.shell.wakeUp();
  }

  #wantBfd(peer: string, session: BfdSession | undefined): void {
    if (this.#bfd === undefined && session === undefined) return;
    this.#client().want(peer, session);
  }

  #client(): BfdClient {
    const { log, carriedBfd, onBfdAccepted, defaultBfdSocket } = this.#options;
    this.#bfd ??= new BfdClient({
      socket: this.#settings.bfdSocket ?? defaultBfdSocket,
      log,
      carried: carriedBfd,
      onAccepted: onBfdAccepted,
      onState: (name, state) => {
        this.neighbours.bfdChanged(name, state);
        this.#afterwards();
      },
    });
    return this.#bfd;
  }

  /** Sessions that an earlier process left, and whom to ask for them. */
  startBfd(): void {
    if (this.#options.carriedBfd.length > 0) this.#client();
    if (this.restart === undefined) this.#bfd?.settled();
  }

  async #changeBfdSocket(): Promise<void> {
    const old = this.#bfd;
    this.#bfd = undefined;
    if (old === undefined) return;
    await old[Symbol.asyncDispose]();
    this.neighbours.rewatch();
  }
}

/** Settings of a speaker that has nothing yet. */
export const emptied = (settings: Settings): Settings => ({
  ...settings,
  listen: [],
  neighbors: new Map(),
  dynamicNeighbors: new Map(),
  bmp: new Map(),
});

function joined(before: PolicyLibrary, after: PolicyLibrary): PolicyLibrary {
  return {
    policies: { ...before.policies, ...after.policies },
    prefixSets: { ...before.prefixSets, ...after.prefixSets },
    communitySets: { ...before.communitySets, ...after.communitySets },
    asPathSets: { ...before.asPathSets, ...after.asPathSets },
  };
}

function asConfigError(error: unknown): unknown {
  if (!(error instanceof BgpError)) return error;
  return new SpeakerError('invalid-config', messageWithCauses(error), {
    ...(error.value === undefined ? {} : { value: error.value }),
    hint: codeOf(error),
  });
}
