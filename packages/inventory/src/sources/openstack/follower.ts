import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Clock, exponentialBackoff } from '@causeway/tables';
import { InventoryError } from '../../errors.ts';
import type { SourceSink } from '../../source.ts';
import type { OpenStackSourceConfig } from './config.ts';
import { type Errand, HintQueue } from './hint-queue.ts';
import { ListSchedule } from './list-schedule.ts';
import { isMachine } from './mapping.ts';
import type { Hint } from './notifications.ts';
import { Questions } from './questions.ts';
import type { Site } from './site.ts';
import { type Asked, SiteView } from './view.ts';
import { Wake } from './wake.ts';

/** Ports in one question; the address of such a question stays below 4 KiB. */
const PORTS_AT_ONCE = 50;
const MOST_ERRANDS = 20_000;
/** Absent ports that are asked for one by one; more at a time go through a snapshot, which the guard sees. */
const FEW_ABSENT = { share: 0.05, least: 10 };
const ROUNDS = 100;

export interface FollowerOptions {
  readonly config: OpenStackSourceConfig;
  readonly site: Site;
  readonly sink: SourceSink;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

type Lane = 'lists' | 'errands';

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
  readonly #schedule: ListSchedule;
  readonly #questions: Questions;
  readonly #errandsDue = new Wake();
  readonly #trouble = new Map<Lane, string>();
  #notificationTrouble: string | undefined;
  #unreadable = 0;
  #portsAtOnce = PORTS_AT_ONCE;
  /** Changes since then are asked for, by the services' clock; undefined: not known, so lists must do. */
  #since: { ports: number | undefined; servers: number | undefined } = {
    ports: undefined,
    servers: undefined,
  };

  constructor(options: FollowerOptions) {
    this.#options = options;
    const { config, site, clock } = options;
    this.#view = new SiteView(config);
    this.#schedule = new ListSchedule(config.poll, clock);
    this.#questions = new Questions(site, this.#view, (errand) => this.#add(errand));
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
      if (hint.type === 'ports') this.#schedule.call('roll');
      else this.#add(hint);
    }
  }

  /** Something may have been missed: whoever changed or went meanwhile is looked for at once. */
  lookAgain(): void {
    this.#schedule.call('changes');
    this.#schedule.call('roll');
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
    const list = await this.#schedule.due(signal);
    if (list === undefined) return;
    if (list === 'resync') await this.#resyncOrLater(signal);
    else if (list === 'changes') await this.#changes(signal);
    else await this.#roll(signal);
    for (const errand of this.#later.splice(0)) this.#add(errand);
  }

  async #resyncOrLater(signal: AbortSignal): Promise<void> {
    try {
      await this.#resync(signal);
    } catch (error) {
      this.#schedule.resyncFailed();
      throw error;
    }
  }

  /** Everything, as one snapshot; or, where some servers could not be known, what can be told without deleting. */
  async #resync(signal: AbortSignal): Promise<void> {
    const { site, sink } = this.#options;
    const view = this.#view;
    const made = this.#schedule.making('changes', 'roll', 'resync');
    if (!this.#schedule.synced) sink.report({ state: 'listing' });
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
    this.#report();
  }

  /** Nova leaves servers of cells that are out of reach out of its lists: only a 404 of its own takes one away. */
  async #confirmServers(
    named: ReadonlySet<string>,
    asked: Asked,
    signal: AbortSignal,
  ): Promise<void> {
    for (const id of this.#view.serversInUse())
      if (!named.has(id)) await this.#questions.server(id, signal);
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
          if (!(await this.#questions.server(each.id, signal))) lacking++;
        } else if (named) {
          this.#view.nameTheRest();
        } else {
          named = true;
          await this.#questions.names(signal);
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
    const made = this.#schedule.making('changes');
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
        if (ports !== undefined) this.#questions.saw(asked, ports);
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
    const made = this.#schedule.making('roll');
    const asked = view.ask();
    try {
      const machines = (await site.roll(signal)).filter((entry) =>
        isMachine(entry.deviceOwner, config.deviceOwners),
      );
      const { absent, news } = view.compareRoll(asked, machines);
      const few = Math.max(FEW_ABSENT.least, view.ports * FEW_ABSENT.share);
      // A Neutron that counts no revisions tells changes only by everything.
      const blind = machines.some((entry) => entry.revision === undefined);
      if (absent.length > few || blind) this.#schedule.call('resync');
      else for (const id of [...absent, ...news]) this.#add({ type: 'port', id });
    } finally {
      view.settle(asked);
    }
    this.#schedule.restAfterRoll(began);
    made();
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
        await this.#questions.ports(
          errands.map((errand) => (errand.type === 'port' ? errand.id : '')),
          signal,
        );
      } else if (first.type === 'server') {
        const had = this.#view.portsOf(first.id).length > 0;
        if (!(await this.#questions.server(first.id, signal))) this.#later.push(first);
        else if (had && !this.#view.hasServer(first.id))
          this.#add({ type: 'device', id: first.id });
      } else if (first.type === 'device') await this.#questions.device(first.id, signal);
      else {
        await this.#questions.names(signal);
        this.#view.nameTheRest();
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
    else this.#schedule.call('resync');
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
    if (!this.#schedule.synced) return;
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
