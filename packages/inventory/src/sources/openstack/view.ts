import { deepEqual } from '@causeway/tables';
import type { SourceItem } from '../../source.ts';
import { itemOf, type MappingOptions, type Names, takesPart } from './mapping.ts';
import type { Port, Server } from './objects.ts';

/** The number of a question. Questions run side by side, so answers come out of order. */
export type Asked = number & { readonly brand: 'asked' };

interface Held<T> {
  readonly object: T;
  /** The question whose answer this is. */
  readonly asked: Asked;
}

/** What is missing before a port can be told of: told without its server's labels it would be somebody else. */
export type Wanted = { readonly type: 'server'; readonly id: string } | { readonly type: 'names' };

/**
 * What is known of a site, put together from answers that come in any order. Each question has a number,
 * taken before it is sent: of two answers about one object the one that was asked for later counts, and an
 * object that appeared or went since a list was asked for is not undone by that list.
 *
 * Pure; the shell asks and tells the inventory what `takeChanged` names.
 */
export class SiteView {
  readonly #options: MappingOptions;
  readonly #ports = new Map<string, Held<Port>>();
  /** `object` undefined: Nova has no such server. */
  readonly #servers = new Map<string, Held<Server | undefined>>();
  readonly #portsOf = new Map<string, Set<string>>();
  /** Ports that an answer to a question still under way must not bring back. */
  readonly #gone = new Map<string, Asked>();
  readonly #underWay = new Set<Asked>();
  /** The latest question that was answered with all ports. */
  #whole = 0;
  #last = 0;
  #names: Names = { projects: new Map(), networks: new Map() };
  #changed = new Set<string>();
  readonly #compute: boolean;

  constructor(options: MappingOptions & { readonly compute: boolean }) {
    this.#options = options;
    this.#compute = options.compute;
  }

  get ports(): number {
    return this.#ports.size;
  }

  get servers(): number {
    return this.#servers.size;
  }

  ask(): Asked {
    const asked = ++this.#last as Asked;
    this.#underWay.add(asked);
    return asked;
  }

  /** The answer of `asked` was taken in, or never came. */
  settle(asked: Asked): void {
    this.#underWay.delete(asked);
    const oldest = Math.min(...this.#underWay, Number.POSITIVE_INFINITY);
    for (const [id, at] of this.#gone) if (at < oldest) this.#gone.delete(id);
  }

  sawPort(asked: Asked, port: Port): void {
    if (!takesPart(port, this.#options)) {
      this.missedPort(asked, port.id);
      return;
    }
    if (asked < (this.#gone.get(port.id) ?? 0)) return;
    const held = this.#ports.get(port.id);
    // A later list of all had no such port.
    if (held === undefined && asked < this.#whole) return;
    if (held !== undefined && !supersedes(asked, port.revision, held)) return;
    this.#ports.set(port.id, { object: port, asked });
    if (held !== undefined && deepEqual(held.object, port)) return;
    if (held !== undefined && held.object.device !== port.device) this.#unlink(held.object);
    this.#link(port);
    this.#changed.add(port.id);
  }

  /** It is certain that there is no such port, or that it takes no part. */
  missedPort(asked: Asked, id: string): void {
    const held = this.#ports.get(id);
    if (held !== undefined && asked < held.asked) return;
    this.#gone.set(id, asked);
    if (held === undefined) return;
    this.#ports.delete(id);
    this.#unlink(held.object);
    this.#changed.add(id);
  }

  /** All ports there are; those of `unknown` exist too, but could not be read. */
  sawAllPorts(asked: Asked, ports: readonly Port[], unknown: ReadonlySet<string>): void {
    const named = new Set(ports.map((port) => port.id));
    for (const port of ports) this.sawPort(asked, port);
    for (const id of [...this.#ports.keys()])
      if (!named.has(id) && !unknown.has(id)) this.missedPort(asked, id);
    if (asked > this.#whole) this.#whole = asked;
  }

  sawServer(asked: Asked, server: Server): void {
    this.#setServer(asked, server.id, server.status === 'DELETED' ? undefined : server);
  }

  /** Nova has said that there is none. */
  missedServer(asked: Asked, id: string): void {
    this.#setServer(asked, id, undefined);
  }

  setNames(names: Names): void {
    const before = this.#names;
    this.#names = names;
    for (const { object: port } of this.#ports.values())
      if (
        before.projects.get(port.project) !== names.projects.get(port.project) ||
        before.networks.get(port.network) !== names.networks.get(port.network)
      )
        this.#changed.add(port.id);
  }

  /** Projects and networks whose names nobody tells us have none, until names are set again. */
  nameTheRest(): void {
    const projects = new Map(this.#names.projects);
    const networks = new Map(this.#names.networks);
    for (const { object: port } of this.#ports.values()) {
      if (!projects.has(port.project)) projects.set(port.project, '');
      if (!networks.has(port.network)) networks.set(port.network, '');
    }
    this.setNames({ projects, networks });
  }

  portsOf(server: string): readonly string[] {
    return [...(this.#portsOf.get(server) ?? [])];
  }

  hasServer(id: string): boolean {
    return this.#servers.get(id)?.object !== undefined;
  }

  /** Servers that ports of ours name and that are held as there. */
  serversInUse(): readonly string[] {
    return [...this.#portsOf.keys()].filter((id) => this.#servers.get(id)?.object !== undefined);
  }

  /** Servers of no port that a complete list did not name: nothing depends on them. */
  forgetServers(asked: Asked, named: ReadonlySet<string>): void {
    for (const [id, held] of this.#servers)
      if (!named.has(id) && held.asked < asked && !this.#portsOf.has(id)) this.#servers.delete(id);
  }

  /**
   * Which held ports a list of bare ids and revisions lacks, and which of its entries are news. Hints only:
   * each is asked for by itself.
   */
  compareRoll(
    asked: Asked,
    roll: readonly { readonly id: string; readonly revision: number | undefined }[],
  ): { readonly absent: string[]; readonly news: string[] } {
    const named = new Set(roll.map((entry) => entry.id));
    const absent: string[] = [];
    for (const [id, held] of this.#ports) if (!named.has(id) && held.asked < asked) absent.push(id);
    const news = roll
      .filter(({ id, revision }) => {
        const held = this.#ports.get(id);
        if (held === undefined) return !this.#gone.has(id);
        return held.asked < asked && revision !== held.object.revision;
      })
      .map((entry) => entry.id);
    return { absent, news };
  }

  /** What must be asked before every port can be told of. */
  wanted(ids: Iterable<string> = this.#ports.keys()): Wanted[] {
    const servers = new Set<string>();
    let names = false;
    for (const id of ids) {
      const port = this.#ports.get(id)?.object;
      if (port === undefined) continue;
      if (this.#lacksServer(port)) servers.add(port.device);
      if (this.#lacksNames(port)) names = true;
    }
    return [
      ...[...servers].map((id) => ({ type: 'server' as const, id })),
      ...(names ? [{ type: 'names' as const }] : []),
    ];
  }

  /** undefined: there is none (any more); 'wanting': it must not be told of yet. */
  item(id: string): SourceItem | 'wanting' | undefined {
    const port = this.#ports.get(id)?.object;
    if (port === undefined) return undefined;
    if (this.#lacksServer(port) || this.#lacksNames(port)) return 'wanting';
    const server = this.#compute ? this.#servers.get(port.device)?.object : undefined;
    return itemOf(port, server, this.#names, this.#options);
  }

  items(): SourceItem[] {
    const items: SourceItem[] = [];
    for (const id of this.#ports.keys()) {
      const item = this.item(id);
      if (item !== undefined && item !== 'wanting') items.push(item);
    }
    return items;
  }

  /** Ids of ports whose item may differ from what was told; each is given once. */
  takeChanged(): string[] {
    const changed = [...this.#changed];
    this.#changed = new Set();
    return changed;
  }

  /** Whether an instance of Nova's stands behind the port: a port of another owner may name anything. */
  #namesServer(port: Port): boolean {
    return (
      this.#compute &&
      /^(compute|baremetal):/.test(port.deviceOwner) &&
      /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(port.device)
    );
  }

  #lacksServer(port: Port): boolean {
    return this.#namesServer(port) && !this.#servers.has(port.device);
  }

  #lacksNames(port: Port): boolean {
    return (
      (port.project !== '' && !this.#names.projects.has(port.project)) ||
      (port.network !== '' && !this.#names.networks.has(port.network))
    );
  }

  #setServer(asked: Asked, id: string, server: Server | undefined): void {
    const held = this.#servers.get(id);
    if (held !== undefined && asked < held.asked) return;
    if (server === undefined && !this.#portsOf.has(id)) this.#servers.delete(id);
    else this.#servers.set(id, { object: server, asked });
    if (held !== undefined && deepEqual(held.object, server)) return;
    for (const port of this.#portsOf.get(id) ?? []) this.#changed.add(port);
  }

  #link(port: Port): void {
    if (!this.#namesServer(port)) return;
    const ports = this.#portsOf.get(port.device) ?? new Set();
    this.#portsOf.set(port.device, ports.add(port.id));
  }

  #unlink(port: Port): void {
    const ports = this.#portsOf.get(port.device);
    ports?.delete(port.id);
    if (ports === undefined || ports.size > 0) return;
    this.#portsOf.delete(port.device);
    if (this.#servers.get(port.device)?.object === undefined) this.#servers.delete(port.device);
  }
}

/** A later question, or a revision that only a later state can have. */
const supersedes = (asked: Asked, revision: number | undefined, held: Held<Port>): boolean =>
  asked >= held.asked ||
  (revision !== undefined && held.object.revision !== undefined && revision > held.object.revision);
