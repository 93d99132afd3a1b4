import { NumericIdentity } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import { Gate, type InitialSource } from '@causeway/tables';
import { type NamedPort, NO_PORTS } from '../codec/ip.ts';
import { MeshError } from '../errors.ts';
import { SlotQueue } from './changes.ts';
import { Columns, type Place, SINGLE } from './columns.ts';
import type { IpEntriesView, IpEntry, PrintedIpEntry, PutResult } from './entry.ts';
import { Interned } from './interned.ts';
import { newPlace, placeOf, prefixOf, textOf } from './places.ts';

/** What a store says of a place; one object may serve for all that are read. */
export interface RawEntry extends Place {
  identity: number;
  host: Address | undefined;
  encryptionKey: number;
  ports: readonly NamedPort[];
  pod: string | undefined;
}

/** `ports`: only changes of entries that have, or had, named ports. */
export type ChangesOf = 'all' | 'ports';

/** What one reader has yet to look at: each place once, however often it changed. */
export interface EntryChanges extends Disposable {
  readonly name: string;
  readonly pending: number;
  /**
   * Visits at most `most` changed places, each by one of its slots; entries must not be changed
   * meanwhile. Returns how many.
   */
  take(most: number, visit: (slot: number) => void): number;
}

interface Cluster {
  readonly name: string;
  readonly number: number;
  /** Of the list that is being read, or was last; what shows an entry marks it with it. */
  list: number;
  count: number;
  /** How many entries carry the mark of `list`. */
  seen: number;
}

interface Reader {
  readonly bit: number;
  readonly of: ChangesOf;
  readonly queue: SlotQueue;
}

const FREE = 0;
const LIVE = 1;
const GRAVE = 2;
/** Lists are told from each other by a byte. */
const LAST_LIST = 255;

const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

const portsKey = (ports: readonly NamedPort[]): string =>
  ports.map(({ name, port, protocol }) => `${name}:${port}/${protocol}`).join();

/**
 * All clusters' IP entries in columns (see `Columns`). Readers of changes are told of places, not of
 * states in between, so what waits for a slow one never exceeds the number of places.
 */
export class IpEntries implements IpEntriesView {
  readonly own: string | undefined;
  readonly #columns = new Columns();
  readonly #clusters = new Map<string, Cluster>();
  readonly #names: string[] = [];
  readonly #hosts = new Interned<Address>((host) => host);
  readonly #ports = new Interned<readonly NamedPort[]>(portsKey);
  /** Names of the own cluster's pods. */
  readonly #pods = new Map<number, string>();
  readonly #readers = new Set<Reader>();
  readonly #listeners = new Set<() => void>();
  readonly #sources = new Map<string, number>();
  readonly #initialized = new Gate();
  readonly #place = newPlace();
  #size = 0;
  #announced = true;

  /** @param own the cluster that wins every address that it claims, and whose pods' names are kept. */
  constructor(own?: string) {
    this.own = own;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes that the columns take; hosts and sets of ports come on top, once each. */
  get bytes(): number {
    return this.#columns.bytes;
  }

  count(cluster: string): number {
    return this.#clusters.get(cluster)?.count ?? 0;
  }

  /**
   * Throws MeshError `too-many`.
   * @param most entries of the cluster.
   */
  put(cluster: string, raw: RawEntry, most = Number.POSITIVE_INFINITY): PutResult {
    const columns = this.#columns;
    const from = this.#cluster(cluster);
    const head = columns.find(raw);
    let slot = head;
    while (slot >= 0 && columns.cluster[slot] !== from.number) slot = columns.behind(slot);
    if (slot >= 0 && columns.state[slot] === LIVE) return this.#update(slot, from, raw);
    if (from.count >= most) {
      const message = `cluster ${cluster} has ${most} ip already, and no more are taken`;
      throw new MeshError('too-many', message, most);
    }
    if (head < 0) slot = columns.insert(raw);
    else if (columns.state[head] === GRAVE) slot = head;
    else slot = columns.join(head, raw, cluster === this.own);
    columns.state[slot] = LIVE;
    columns.cluster[slot] = from.number;
    columns.host[slot] = raw.host === undefined ? 0 : this.#hosts.acquire(raw.host);
    columns.ports[slot] = raw.ports.length === 0 ? 0 : this.#ports.acquire(raw.ports);
    columns.seen[slot] = from.list;
    from.seen++;
    from.count++;
    this.#size++;
    this.#write(slot, raw);
    // One that waits behind another changes nothing.
    if (head < 0 || slot === head || cluster === this.own) {
      this.#mark(slot, columns.ports[slot] !== 0 || (head >= 0 && columns.ports[head] !== 0));
    }
    return 'new';
  }

  #update(slot: number, from: Cluster, raw: RawEntry): PutResult {
    const columns = this.#columns;
    if (columns.seen[slot] !== from.list) {
      columns.seen[slot] = from.list;
      from.seen++;
    }
    const hostBefore = columns.host[slot]!;
    const portsBefore = columns.ports[slot]!;
    // The new ones are acquired first: what stays is not let go in between.
    const host = raw.host === undefined ? 0 : this.#hosts.acquire(raw.host);
    const ports = raw.ports.length === 0 ? 0 : this.#ports.acquire(raw.ports);
    const same =
      host === hostBefore &&
      ports === portsBefore &&
      columns.identity[slot] === raw.identity &&
      columns.encryptionKey[slot] === raw.encryptionKey;
    this.#hosts.release(hostBefore);
    this.#ports.release(portsBefore);
    columns.host[slot] = host;
    columns.ports[slot] = ports;
    this.#write(slot, raw);
    if (!same && this.#headOf(slot) === slot) this.#mark(slot, ports !== 0 || portsBefore !== 0);
    return same ? 'same' : 'changed';
  }

  #write(slot: number, raw: RawEntry): void {
    const columns = this.#columns;
    columns.identity[slot] = raw.identity;
    columns.encryptionKey[slot] = raw.encryptionKey;
    if (raw.pod === undefined || this.#names[columns.cluster[slot]!] !== this.own) {
      this.#pods.delete(slot);
    } else {
      this.#pods.set(slot, raw.pod);
    }
  }

  /** False if the cluster says nothing of it. */
  delete(cluster: string, address: string): boolean {
    const slot = this.#slotOf(cluster, address);
    if (slot < 0) return false;
    this.#remove(slot);
    return true;
  }

  #remove(slot: number): void {
    const columns = this.#columns;
    const from = this.#clusters.get(this.#names[columns.cluster[slot]!]!)!;
    const hadPorts = columns.ports[slot] !== 0;
    if (columns.seen[slot] === from.list) from.seen--;
    from.count--;
    this.#size--;
    this.#pods.delete(slot);
    this.#hosts.release(columns.host[slot]!);
    this.#ports.release(columns.ports[slot]!);
    columns.host[slot] = 0;
    columns.ports[slot] = 0;
    const head = this.#headOf(slot);
    if (columns.behind(head) >= 0) {
      const left = columns.remove(slot);
      if (slot === head) this.#mark(left, hadPorts || columns.ports[left] !== 0);
      return;
    }
    columns.state[slot] = GRAVE;
    this.#mark(slot, hadPorts);
    this.#bury(slot);
  }

  /** A grave is kept for as long as somebody has not heard of the death. */
  #bury(slot: number): void {
    if (this.#columns.state[slot] === GRAVE && this.#columns.dirty[slot] === 0) {
      this.#columns.remove(slot);
    }
  }

  /** A list of the cluster's entries begins: what it does not show will be missed at its end. */
  beginList(cluster: string): void {
    const from = this.#cluster(cluster);
    if (from.list === LAST_LIST) {
      for (const slot of this.#slots(from)) this.#columns.seen[slot] = 0;
      from.list = 0;
    }
    from.list++;
    from.seen = 0;
  }

  /** What the last list and the changes since have not shown goes. Returns how many. */
  endList(cluster: string): number {
    const from = this.#cluster(cluster);
    if (from.seen === from.count) return 0;
    let gone = 0;
    for (const slot of this.#slots(from)) {
      if (this.#columns.seen[slot] === from.list) continue;
      this.#remove(slot);
      gone++;
    }
    return gone;
  }

  /** Takes away everything that the cluster said; at most `most`. Returns how many. */
  drain(cluster: string, most = Number.POSITIVE_INFINITY): number {
    const from = this.#clusters.get(cluster);
    if (from === undefined) return 0;
    let gone = 0;
    for (const slot of this.#slots(from)) {
      if (gone >= most) break;
      this.#remove(slot);
      gone++;
    }
    return gone;
  }

  *#slots(of: Cluster): Generator<number, void, undefined> {
    const { state, cluster, top } = this.#columns;
    if (of.count === 0) return;
    for (let slot = 0; slot < top; slot++) {
      if (cluster[slot] === of.number && state[slot] === LIVE) yield slot;
    }
  }

  get(cluster: string, address: string): IpEntry | undefined {
    const slot = this.#slotOf(cluster, address);
    return slot < 0 ? undefined : this.entryAt(slot);
  }

  winner(address: string): IpEntry | undefined {
    const slot = this.winnerSlot(address);
    return slot < 0 ? undefined : this.entryAt(slot);
  }

  /** The slot of who has the address or prefix, or -1. A single address comes before its own /32. */
  winnerSlot(address: string): number {
    const place = this.#place;
    if (!placeOf(address, place)) return -1;
    if (place.length === 128) {
      place.length = SINGLE;
      const single = this.#live(place);
      if (single >= 0) return single;
      place.length = 128;
    }
    const found = this.#live(place);
    if (found >= 0 || place.length !== SINGLE) return found;
    place.length = 128;
    return this.#live(place);
  }

  claims(address: string): IpEntry[] {
    const first = this.winnerSlot(address);
    const claims: IpEntry[] = [];
    for (let slot = first; slot >= 0; slot = this.#columns.behind(slot)) {
      claims.push(this.entryAt(slot));
    }
    return claims;
  }

  *entriesOf(cluster: string): Generator<IpEntry, void, undefined> {
    const from = this.#clusters.get(cluster);
    if (from === undefined) return;
    for (const slot of this.#slots(from)) yield this.entryAt(slot);
  }

  *entries(): Generator<IpEntry, void, undefined> {
    for (let slot = 0; slot < this.#columns.top; slot++) {
      if (this.#columns.state[slot] === LIVE) yield this.entryAt(slot);
    }
  }

  printed(limit: number): PrintedIpEntry[] {
    const rows: PrintedIpEntry[] = [];
    const columns = this.#columns;
    for (let slot = 0; slot < columns.top && rows.length < limit; slot++) {
      if (columns.state[slot] !== LIVE) continue;
      const head = this.#headOf(slot);
      const yieldsTo = head === slot ? undefined : this.#names[columns.cluster[head]!];
      rows.push({ ...this.entryAt(slot), yieldsTo });
    }
    return rows;
  }

  /** Entries that wait behind another cluster's. */
  get contested(): number {
    return this.#columns.contested;
  }

  entryAt(slot: number): IpEntry {
    const columns = this.#columns;
    return {
      cluster: this.#names[columns.cluster[slot]!]!,
      address: textOf(columns.placeOf(slot, newPlace())),
      identity: NumericIdentity(columns.identity[slot]!),
      hostIP: this.#hosts.value(columns.host[slot]!),
      encryptionKey: columns.encryptionKey[slot]!,
      namedPorts: this.#ports.value(columns.ports[slot]!) ?? NO_PORTS,
      pod: this.#pods.get(slot),
    };
  }

  /** The slot that has the place of this one now, or -1. */
  winnerAt(slot: number): number {
    const head = this.#headOf(slot);
    return this.#columns.state[head] === LIVE ? head : -1;
  }

  /** A single address, not a prefix of whatever length. */
  isSingle(slot: number): boolean {
    return this.#columns.length[slot] === SINGLE;
  }

  prefixAt(slot: number): Prefix {
    return prefixOf(this.#columns.placeOf(slot, this.#place));
  }

  identityAt(slot: number): number {
    return this.#columns.identity[slot]!;
  }

  /** The number of the entry's host, the same for all entries with it; 0: none. */
  hostAt(slot: number): number {
    return this.#columns.host[slot]!;
  }

  hostAddress(number: number): Address | undefined {
    return this.#hosts.value(number);
  }

  /** Hosts that entries name. */
  get hosts(): number {
    return this.#hosts.size;
  }

  hasHost(host: Address): boolean {
    return this.#hosts.find(host) !== undefined;
  }

  /** Whether somebody claims the single address, given as 16 bytes. */
  hasBytes(address: Uint8Array): boolean {
    const place = this.#place;
    place.w0 = word(address, 0);
    place.w1 = word(address, 4);
    place.w2 = word(address, 8);
    place.w3 = word(address, 12);
    place.length = SINGLE;
    return this.#live(place) >= 0;
  }

  /** 16 bytes in network order, IPv4 under ::ffff:0:0/96. */
  writeAddress(slot: number, target: DataView, offset: number): void {
    const { words } = this.#columns;
    target.setUint32(offset, words[slot * 4]!);
    target.setUint32(offset + 4, words[slot * 4 + 1]!);
    target.setUint32(offset + 8, words[slot * 4 + 2]!);
    target.setUint32(offset + 12, words[slot * 4 + 3]!);
  }

  /** What is to be done for entries behind these hosts has changed: readers look at them again. */
  touch(hosts: Iterable<Address>): void {
    const numbers = new Set<number>();
    for (const host of hosts) {
      const number = this.#hosts.find(host);
      if (number !== undefined) numbers.add(number);
    }
    if (numbers.size === 0) return;
    const { state, host, top } = this.#columns;
    for (let slot = 0; slot < top; slot++) {
      if (state[slot] === LIVE && numbers.has(host[slot]!)) this.#mark(slot, false);
    }
  }

  #slotOf(cluster: string, address: string): number {
    const number = this.#clusters.get(cluster)?.number;
    if (number === undefined || !placeOf(address, this.#place)) return -1;
    const columns = this.#columns;
    let slot = columns.find(this.#place);
    while (slot >= 0 && columns.cluster[slot] !== number) slot = columns.behind(slot);
    return slot >= 0 && columns.state[slot] === LIVE ? slot : -1;
  }

  #live(place: Place): number {
    const slot = this.#columns.find(place);
    return slot >= 0 && this.#columns.state[slot] === LIVE ? slot : -1;
  }

  #headOf(slot: number): number {
    const columns = this.#columns;
    if (columns.contested === 0) return slot;
    return columns.find(columns.placeOf(slot, this.#place));
  }

  #cluster(name: string): Cluster {
    let cluster = this.#clusters.get(name);
    if (cluster === undefined) {
      cluster = { name, number: this.#names.length, list: 0, count: 0, seen: 0 };
      this.#names.push(name);
      this.#clusters.set(name, cluster);
    }
    return cluster;
  }

  #mark(slot: number, ports: boolean): void {
    const { dirty } = this.#columns;
    for (const { bit, of, queue } of this.#readers) {
      if ((of === 'ports' && !ports) || (dirty[slot]! & bit) !== 0) continue;
      dirty[slot]! |= bit;
      queue.push(slot);
    }
    this.#announce();
  }

  /** What stands comes first. At most eight readers at a time. */
  changes(name: string, of: ChangesOf = 'all'): EntryChanges {
    const columns = this.#columns;
    const taken = [...this.#readers].reduce((bits, each) => bits | each.bit, 0);
    // The lowest bit that nobody has.
    const bit = ~taken & (taken + 1);
    if (bit > 128) throw new MeshError('too-many', `${name}: eight read the entries already`, name);
    const reader: Reader = { bit, of, queue: new SlotQueue() };
    this.#readers.add(reader);
    for (let slot = 0; slot < columns.top; slot++) {
      // Of an earlier reader with this bit.
      columns.dirty[slot]! &= ~bit;
      if (columns.state[slot] !== LIVE || (of === 'ports' && columns.ports[slot] === 0)) continue;
      columns.dirty[slot]! |= bit;
      reader.queue.push(slot);
    }
    return {
      name,
      get pending() {
        return reader.queue.length;
      },
      take: (most, visit) => this.#take(reader, most, visit),
      [Symbol.dispose]: () => {
        if (!this.#readers.delete(reader)) return;
        for (let slot = 0; slot < columns.top; slot++) {
          columns.dirty[slot]! &= ~bit;
          this.#bury(slot);
        }
      },
    };
  }

  #take({ bit, queue }: Reader, most: number, visit: (slot: number) => void): number {
    const { dirty, state } = this.#columns;
    let taken = 0;
    while (taken < most && queue.length > 0) {
      const slot = queue.shift();
      dirty[slot]! &= ~bit;
      // Its place was given up and whoever has it now was told of by itself.
      if (state[slot] === FREE) continue;
      taken++;
      visit(slot);
      this.#bury(slot);
    }
    return taken;
  }

  /** Names a source whose first list must be in before anything is pruned. Register before it starts. */
  source(name: string): InitialSource {
    this.#sources.set(name, (this.#sources.get(name) ?? 0) + 1);
    let open = true;
    return {
      done: () => {
        if (!open) return;
        open = false;
        const left = (this.#sources.get(name) ?? 1) - 1;
        if (left > 0) this.#sources.set(name, left);
        else this.#sources.delete(name);
        if (!this.initialized) return;
        this.#initialized.open();
        this.#announce();
      },
    };
  }

  get initialized(): boolean {
    return this.#sources.size === 0;
  }

  /** The sources that `initialized` waits for. */
  get pendingSources(): readonly string[] {
    return [...this.#sources.keys()];
  }

  async whenInitialized(signal?: AbortSignal): Promise<void> {
    while (!this.initialized) {
      signal?.throwIfAborted();
      await this.#initialized.wait(signal);
    }
    signal?.throwIfAborted();
  }

  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Listeners hear once of all that one call stack changed. */
  #announce(): void {
    if (!this.#announced) return;
    this.#announced = false;
    queueMicrotask(() => {
      this.#announced = true;
      for (const listener of [...this.#listeners]) listener();
    });
  }
}
