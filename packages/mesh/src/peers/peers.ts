import type { InitialSource } from '@causeway/tables';
import { nothing } from './counts.ts';
import { lookAfter, Peer, type PeerOptions, type PeerTarget } from './peer.ts';
import type { BadPeer, MeshPeerRow, PeerSpec } from './types.ts';

/** What one source says of peers, all of it. */
export interface PeerList {
  readonly peers: readonly PeerSpec[];
  readonly bad: readonly BadPeer[];
}

export type PeerListSource = PeerSpec['source'];

export interface PeersOptions extends Omit<PeerOptions, 'spec' | 'target'> {
  /** The own cluster's name: what a source says of it is of no use. */
  readonly own: string;
  readonly target: (name: string) => PeerTarget;
  /** The sources that will call `set`; until all have, it is not known which peers there are. */
  readonly sources: readonly PeerListSource[];
  /** Done when every peer was read once, or was given the time for it. */
  readonly initial: readonly InitialSource[];
  /** Milliseconds of that time. */
  readonly syncTimeout: number;
}

/** All peer clusters, as their sources have them. A peer that both name is read as its file says. */
export class Peers implements AsyncDisposable {
  readonly #options: PeersOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #lists = new Map<PeerListSource, PeerList>();
  readonly #stop = new AbortController();
  readonly #waiting: Promise<unknown>;
  /** Gave up, or is giving up; a peer of the same name begins when that is over. */
  readonly #leaving = new Map<string, Promise<void>>();
  #settled = false;

  constructor(options: PeersOptions) {
    this.#options = options;
    const { clock } = options;
    this.#waiting = Promise.all([
      this.#wait(),
      lookAfter(() => this.#peers.values(), clock, this.#stop.signal),
    ]);
  }

  /** Everything that the source says now. */
  set(source: PeerListSource, list: PeerList): void {
    this.#lists.set(source, list);
    this.#follow();
  }

  get(name: string): Peer | undefined {
    return this.#peers.get(name);
  }

  names(): string[] {
    return [...this.#peers.keys()];
  }

  /** The sockets of all peers' stores. */
  endpoints(): string[] {
    return [...this.#peers.values()].flatMap(({ spec }) => spec.endpoints);
  }

  /** Nobody waits for peers any more. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Peers that a start still waits for. */
  unread(): string[] {
    return [...this.#peers].filter(([, peer]) => !peer.settled).map(([name]) => name);
  }

  /** Descriptions that are not in force, and those that are in force for want of a better one. */
  problems(): string[] {
    const problems: string[] = [];
    for (const [source, { peers, bad }] of this.#lists) {
      for (const { name, reason } of bad) problems.push(`${name} (${source}): ${reason}`);
      if (source !== 'object') continue;
      for (const { name } of peers) {
        if (this.#ofFile(name)) {
          problems.push(`${name}: its MeshPeer is not used, for a file describes the peer too`);
        }
      }
    }
    return problems;
  }

  #ofFile(name: string): boolean {
    const list = this.#lists.get('file');
    return list !== undefined && [...list.peers, ...list.bad].some((each) => each.name === name);
  }

  #follow(): void {
    const { own } = this.#options;
    const wanted = new Map<string, PeerSpec>();
    const doubted = new Map<string, BadPeer>();
    for (const source of ['object', 'file'] as const) {
      const list = this.#lists.get(source);
      for (const spec of list?.peers ?? []) {
        if (spec.name === own) continue;
        wanted.set(spec.name, spec);
        doubted.delete(spec.name);
      }
      for (const each of list?.bad ?? []) doubted.set(each.name, each);
    }
    for (const name of this.#peers.keys()) {
      if (!wanted.has(name) && !doubted.has(name)) this.#leave(name);
    }
    for (const [name, spec] of wanted) {
      if (doubted.has(name)) continue;
      const peer = this.#peers.get(name);
      if (peer !== undefined) peer.describe(spec);
      else if (!this.#leaving.has(name)) this.#join(spec);
    }
    for (const [name, bad] of doubted) {
      const peer = this.#peers.get(name);
      if (peer !== undefined) peer.doubt(bad.reason);
      else this.#showBad(bad);
    }
    for (const row of [...this.#options.table.rows()]) {
      if (!this.#peers.has(row.name) && !doubted.has(row.name))
        this.#options.table.delete(row.name);
    }
  }

  #join(spec: PeerSpec): void {
    const { target } = this.#options;
    this.#peers.set(spec.name, new Peer({ ...this.#options, spec, target: target(spec.name) }));
  }

  #leave(name: string): void {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    this.#peers.delete(name);
    const leaving = peer.forget().finally(() => {
      this.#leaving.delete(name);
      // It may have come back meanwhile.
      if (!this.#stop.signal.aborted) this.#follow();
    });
    this.#leaving.set(name, leaving);
  }

  #showBad({ name, source, reason }: BadPeer): void {
    const { table, clock } = this.#options;
    const before = table.get(name);
    const row: MeshPeerRow = {
      name,
      source,
      id: undefined,
      endpoint: '',
      state: 'refused',
      since: before?.reason === reason ? before.since : clock.now(),
      lastContact: undefined,
      reason,
      losses: 0,
      counts: nothing(),
    };
    table.put(row);
  }

  /** Lets whoever waits go on once all peers are read, or have had their time. */
  async #wait(): Promise<void> {
    const { clock, syncTimeout, sources, initial } = this.#options;
    const { signal } = this.#stop;
    const due = clock.now() + syncTimeout;
    while (!signal.aborted && clock.now() < due) {
      const known = sources.every((each) => this.#lists.has(each));
      if (known && this.unread().length === 0) break;
      await clock.sleep(Math.min(50, due - clock.now()), signal);
    }
    if (signal.aborted) return;
    this.#settled = true;
    for (const each of initial) each.done();
  }

  /** Ends the reading; what is known of the peers stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#peers.values()].map((peer) => peer[Symbol.asyncDispose]()));
    await Promise.all(this.#leaving.values());
    await this.#waiting;
  }
}
