import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Clock, exponentialBackoff } from '@causeway/tables';
import { InventoryError } from '../../errors.ts';
import type { SourceSink } from '../../source.ts';
import type { OpenStackSourceConfig } from './config.ts';
import { type Errand, HintQueue } from './hint-queue.ts';
import { isMachine } from './mapping.ts';
import type { Hint } from './notifications.ts';
import type { Port } from './objects.ts';
import type { Objects, Site } from './site.ts';
import { type Asked, SiteView } from './view.ts';
import { Wake } from './wake.ts';

/** Ports in one question; the address of such a question stays below 4 KiB. */
const PORTS_AT_ONCE = 50;
const MOST_ERRANDS = 20_000;
/** Absent ports that are asked for one by one; more at a time go through a snapshot, which the guard sees. */
const FEW_ABSENT = { share: 0.05, least: 10 };
const ROUNDS = 100;
const AFTER_FAILED_RESYNC_S = 60;

export interface FollowerOptions {
  readonly config: OpenStackSourceConfig;
  readonly site: Site;
  readonly sink: SourceSink;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

type Lane = 'lists' | 'errands';
type List = 'changes' | 'roll' | 'resync';

/**
 * Keeps the inventory told of a site. Two lanes work side by side: one asks lists by the clock (changes,
 * then who is there at all, now and then everything), the other asks for single objects that lists or
 * notifications hinted at. No question's failure says that something is absent; only an answer does.
 */
export class Follower {
  readonly #options: FollowerOptions;
  readonly #view: SiteView;
  readonly #errands = new HintQueue(MOST_ERRANDS);
  /** Asked for again when the lists have been asked: their service could not tell. */
  #later: Errand[] = [];
  readonly #listsDue = new Wake();
  readonly #errandsDue = new Wake();
  readonly #trouble = new Map<Lane, string>();
  #notificationTrouble: string | undefined;
  #unreadable = 0;
  #portsAtOnce = PORTS_AT_ONCE;
  #synced = false;
  #next: Record<List, number> = { changes: 0, roll: 0, resync: 0 };
  /** Lists that were called for since they were begun last. */
  readonly #called = new Set<List>();
  #rollRestUntil = 0;
  /** Changes since then are asked for, by the services' clock; undefined: not known, so lists must do. */
  #since: { ports: number | undefined; servers: number | undefined } = {
    ports: undefined,
    servers: undefined,
  };

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#view = new SiteView(options.config);
  }

  /** Works until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#options.sink.report({ state: 'connecting' });
    await Promise.all([
      this.#lane('lists', signal, () => this.#lists(signal)),
      this.#lane('errands', signal, () => this.#runErrands(signal)),
    ]);
  }

  hint(hints: readonly Hint[]): void {
    for (const hint of hints) {
      if (hint.type === 'ports') this.#due('roll');
      else this.#add(hint);
    }
  }

  /** Something may have been missed: whoever changed or went meanwhile is looked for at once. */
  lookAgain(): void {
    this.#due('changes');
    this.#due('roll');
  }

  notificationState(trouble: string | undefined): void {
    this.#notificationTrouble = trouble;
    this.#report();
  }

  async #lane(lane: Lane, signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    const { clock, random, log } = this.#options;
    const backoff = exponentialBackoff(random, { min: 500, max: 60_000 });
    for (let failures = 0; !signal.aborted; ) {
      try {
        await step();
        failures = 0;
        if (this.#trouble.delete(lane)) this.#report();
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        const message = messageWithCauses(error);
        this.#trouble.set(lane, message);
        this.#report();
        log.warn({ lane, error: message, failures }, 'OpenStack cannot be followed; trying again');
        await clock.sleep(backoff(failures), signal);
      }
    }
  }

  /** The one list that is due first. */
  async #lists(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const at = { ...this.#next, roll: Math.max(this.#next.roll, this.#rollRestUntil) };
    const [name, due] = (['resync', 'changes', 'roll'] as const)
      .map((each) => [each, this.#synced || each === 'resync' ? at[each] : Infinity] as const)
      .reduce((first, each) => (each[1] < first[1] ? each : first));
    const wait = due - clock.now();
    if (wait > 0) {
      await this.#listsDue.wait(clock, wait, signal);
      return;
    }
    if (name === 'resync') await this.#resyncOrLater(signal);
    else if (name === 'changes') await this.#changes(signal);
    else await this.#roll(signal);
    for (const errand of this.#later.splice(0)) this.#add(errand);
  }

  /** A full list that fails must not keep those for changes and deletions from being asked. */
  async #resyncOrLater(signal: AbortSignal): Promise<void> {
    try {
      await this.#resync(signal);
    } catch (error) {
      const seconds = Math.min(AFTER_FAILED_RESYNC_S, this.#options.config.poll.resyncSeconds);
      this.#next.resync = this.#options.clock.now() + (this.#synced ? seconds * 1000 : 0);
      throw error;
    }
  }

  /** Everything, as one snapshot; or, where some servers could not be known, what can be told without deleting. */
  async #resync(signal: AbortSignal): Promise<void> {
    const { site, sink } = this.#options;
    const view = this.#view;
    const made = this.#making('changes', 'roll', 'resync');
    if (!this.#synced) sink.report({ state: 'listing' });
    view.setNames(await site.names(signal));
    const asked = view.ask();
    const askedServers = view.ask();
    try {
      const ports = await site.ports(signal);
      const servers = await site.servers(signal);
      this.#unreadable = ports.unknown.size;
      for (const [id, why] of ports.unknown)
        this.#options.log.warn({ port: id, why }, 'a port cannot be read and stays as it was');
      for (const server of servers.objects) view.sawServer(askedServers, server);
      await this.#confirmServers(
        new Set([...servers.objects.map((each) => each.id), ...servers.unknown.keys()]),
        askedServers,
        signal,
      );
      for (const port of ports.objects) view.sawPort(asked, port);
      await this.#fillIn(signal);
      view.sawAllPorts(asked, ports.objects, new Set(ports.unknown.keys()));
      view.takeChanged();
      sink.snapshot(view.items());
      this.#since = { ports: markOf(ports), servers: markOf(servers) };
    } finally {
      view.settle(asked);
      view.settle(askedServers);
    }
    made();
    this.#synced = true;
    this.#report();
  }

  /** Nova leaves servers of cells that are out of reach out of its lists: only a 404 of its own takes one away. */
  async #confirmServers(
    named: ReadonlySet<string>,
    asked: Asked,
    signal: AbortSignal,
  ): Promise<void> {
    for (const id of this.#view.serversInUse()) if (!named.has(id)) await this.#server(id, signal);
    this.#view.forgetServers(asked, named);
  }

  /** Asks for all that ports lack, until each can be told of. */
  async #fillIn(signal: AbortSignal): Promise<void> {
    let named = false;
    for (let round = 0; round < ROUNDS; round++) {
      const wanted = this.#view.wanted();
      if (wanted.length === 0) return;
      let lacking = 0;
      for (const each of wanted) {
        if (each.type === 'server') {
          if (!(await this.#server(each.id, signal))) lacking++;
        } else if (named) {
          this.#nameTheRest();
        } else {
          named = true;
          await this.#names(signal);
        }
      }
      if (lacking > 0) {
        this.#tell();
        throw new InventoryError(
          'source-unreachable',
          `Nova cannot tell of ${lacking} servers, whose cells are out of reach: nothing is deleted until it can`,
          { field: 'endpoints.compute', value: lacking },
        );
      }
    }
    throw new InventoryError('bad-answer', 'ports name new servers faster than Nova tells of them');
  }

  async #changes(signal: AbortSignal): Promise<void> {
    const { config, site } = this.#options;
    const view = this.#view;
    const made = this.#making('changes');
    const overlap = config.poll.overlapSeconds * 1000;
    if (config.compute && this.#since.servers !== undefined) {
      const asked = view.ask();
      try {
        const servers = await site.serversChangedSince(this.#since.servers - overlap, signal);
        for (const server of servers.objects) {
          // Its ports go with it or find another owner.
          const had = view.portsOf(server.id).length > 0;
          if (server.status === 'DELETED' && had) this.#add({ type: 'device', id: server.id });
          view.sawServer(asked, server);
        }
        this.#since.servers = markOf(servers) ?? this.#since.servers;
      } finally {
        view.settle(asked);
      }
    }
    if (this.#since.ports !== undefined) {
      const asked = view.ask();
      try {
        const ports = await site.portsChangedSince(this.#since.ports - overlap, signal);
        if (ports !== undefined) this.#sawPorts(asked, ports);
        this.#since.ports = ports === undefined ? undefined : (markOf(ports) ?? this.#since.ports);
      } finally {
        view.settle(asked);
      }
    }
    made();
    this.#tell();
  }

  async #roll(signal: AbortSignal): Promise<void> {
    const { config, site, clock } = this.#options;
    const began = clock.now();
    const view = this.#view;
    const made = this.#making('roll');
    const asked = view.ask();
    try {
      const machines = (await site.roll(signal)).filter((entry) =>
        isMachine(entry.deviceOwner, config.deviceOwners),
      );
      const { absent, news } = view.compareRoll(asked, machines);
      const few = Math.max(FEW_ABSENT.least, view.ports * FEW_ABSENT.share);
      // A Neutron that counts no revisions tells changes only by everything.
      const blind = machines.some((entry) => entry.revision === undefined);
      if (absent.length > few || blind) this.#due('resync');
      else for (const id of [...absent, ...news]) this.#add({ type: 'port', id });
    } finally {
      view.settle(asked);
    }
    const now = clock.now();
    this.#rollRestUntil = now + (now - began) * (1 / config.poll.rollCallShare - 1);
    made();
  }

  /**
   * Lists that are being made. The answer is called when they stand: from then on they have their time, but for those
   * that were called for meanwhile, as whoever did may know of what came too late for them.
   */
  #making(...names: readonly List[]): () => void {
    const { clock, config } = this.#options;
    const seconds = {
      changes: config.poll.changesSeconds,
      roll: config.poll.rollCallSeconds,
      resync: config.poll.resyncSeconds,
    };
    for (const name of names) this.#called.delete(name);
    return () => {
      for (const name of names) {
        if (!this.#called.has(name)) this.#next[name] = clock.now() + seconds[name] * 1000;
      }
    };
  }

  async #runErrands(signal: AbortSignal): Promise<void> {
    const errands = this.#errands.take(this.#portsAtOnce);
    const [first] = errands;
    if (first === undefined) {
      await this.#errandsDue.wait(this.#options.clock, 60_000, signal);
      return;
    }
    try {
      if (first.type === 'port') {
        await this.#ports(
          errands.map((errand) => (errand.type === 'port' ? errand.id : '')),
          signal,
        );
      } else if (first.type === 'server') {
        const had = this.#view.portsOf(first.id).length > 0;
        if (!(await this.#server(first.id, signal))) this.#later.push(first);
        else if (had && !this.#view.hasServer(first.id))
          this.#add({ type: 'device', id: first.id });
      } else if (first.type === 'device') await this.#device(first.id, signal);
      else {
        await this.#names(signal);
        this.#nameTheRest();
      }
      this.#portsAtOnce = Math.min(PORTS_AT_ONCE, this.#portsAtOnce * 2);
    } catch (error) {
      // One that cannot be asked for must not keep its neighbours from being so.
      this.#portsAtOnce = 1;
      for (const errand of errands) this.#add(errand);
      throw error;
    }
    this.#tell();
  }

  async #ports(ids: readonly string[], signal: AbortSignal): Promise<void> {
    const rest = new Set(ids);
    if (ids.length > 1) {
      const asked = this.#view.ask();
      try {
        const found = await this.#options.site.portsById(ids, signal);
        this.#sawPorts(asked, found);
        for (const { id } of found.objects) rest.delete(id);
        for (const id of found.unknown.keys()) rest.delete(id);
      } finally {
        this.#view.settle(asked);
      }
    }
    // A list may lack what it could not see; only asked by its id is a port said not to be.
    for (const id of rest) await this.#port(id, signal);
  }

  async #port(id: string, signal: AbortSignal): Promise<void> {
    const asked = this.#view.ask();
    try {
      const port = await this.#options.site.port(id, signal);
      if (port === undefined) this.#view.missedPort(asked, id);
      else if (port.type === 'object') this.#view.sawPort(asked, port.object);
    } finally {
      this.#view.settle(asked);
    }
  }

  async #device(id: string, signal: AbortSignal): Promise<void> {
    const before = this.#view.portsOf(id);
    const asked = this.#view.ask();
    try {
      const found = await this.#options.site.portsOf(id, signal);
      this.#sawPorts(asked, found);
      const named = new Set(found.objects.map((port) => port.id));
      for (const port of before) if (!named.has(port)) this.#add({ type: 'port', id: port });
    } finally {
      this.#view.settle(asked);
    }
  }

  /** False if Nova could not say whether there is one. */
  async #server(id: string, signal: AbortSignal): Promise<boolean> {
    const asked = this.#view.ask();
    try {
      const server = await this.#options.site.server(id, signal);
      if (server === undefined) this.#view.missedServer(asked, id);
      else if (server.type === 'object') this.#view.sawServer(asked, server.object);
      else return false;
      return true;
    } finally {
      this.#view.settle(asked);
    }
  }

  async #names(signal: AbortSignal): Promise<void> {
    this.#view.setNames(await this.#options.site.names(signal));
  }

  /** What has no name that we may see has none, until the next full list. */
  #nameTheRest(): void {
    this.#view.nameTheRest();
  }

  #sawPorts(asked: Asked, ports: Objects<Port>): void {
    for (const port of ports.objects) this.#view.sawPort(asked, port);
  }

  /** Tells of what changed, and asks for what keeps some of it from being told. */
  #tell(): void {
    const { sink } = this.#options;
    const changed = this.#view.takeChanged();
    for (const id of changed) {
      const item = this.#view.item(id);
      if (item === undefined) sink.delete(id);
      else if (item !== 'wanting') sink.put(item);
    }
    for (const wanted of this.#view.wanted(changed)) this.#add(wanted);
  }

  #add(errand: Errand): void {
    if (this.#errands.add(errand)) this.#errandsDue.wake();
    else this.#due('resync');
  }

  #due(name: List): void {
    this.#next[name] = 0;
    this.#called.add(name);
    this.#listsDue.wake();
  }

  #report(): void {
    const { sink } = this.#options;
    const troubles = [...this.#trouble.values()];
    if (troubles.length > 0) {
      sink.report({
        state: 'failed',
        message: `${troubles.join('; ')}; everything stays as it was last seen`,
      });
      return;
    }
    if (!this.#synced) return;
    const notes = [
      ...(this.#notificationTrouble === undefined ? [] : [this.#notificationTrouble]),
      ...(this.#unreadable === 0
        ? []
        : [`${this.#unreadable} ports cannot be read and stay as they were`]),
    ];
    sink.report({
      state: 'following',
      ...(notes.length === 0 ? {} : { message: notes.join('; ') }),
    });
  }
}

/** From when on changes are to be asked for next: the services' clock as the list was made. */
function markOf(list: {
  readonly objects: readonly { readonly updatedAt: number | undefined }[];
  readonly serverTime: number | undefined;
}): number | undefined {
  if (list.serverTime !== undefined) return list.serverTime;
  // A proxy may have taken the date away; then the newest change that is known.
  let newest: number | undefined;
  for (const { updatedAt } of list.objects)
    if (updatedAt !== undefined && updatedAt > (newest ?? 0)) newest = updatedAt;
  return newest;
}
