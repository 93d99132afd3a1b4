import { NumericIdentity } from '@causeway/identity';
import type { Address, Prefix } from '@causeway/ip';
import { type NamedPort, NO_PORTS } from '../codec/ip.ts';
import { Columns, LIVE, type Place, SINGLE } from './columns.ts';
import type { IpEntry, PrintedIpEntry } from './entry.ts';
import { Followed } from './followed.ts';
import { Interned } from './interned.ts';
import { newPlace, placeOf, prefixOf, textOf } from './places.ts';
import { Turns } from './turns.ts';

export interface Cluster {
  readonly name: string;
  readonly number: number;
  /** Of the list that is being read, or was last; what shows an entry marks it with it. */
  list: number;
  count: number;
  /** How many entries carry the mark of `list`. */
  seen: number;
  /** What the sets of named ports take that it was the first to tell of. */
  portBytes: number;
}

const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

const portsKey = (ports: readonly NamedPort[]): string =>
  ports.map(({ name, port, protocol }) => `${name}:${port}/${protocol}`).join();

/** What can be asked of entries in columns. */
export abstract class EntryReads extends Followed {
  readonly own: string | undefined;
  protected readonly columns: Columns;
  protected readonly clusters = new Map<string, Cluster>();
  protected readonly names: string[] = [];
  protected readonly hostsInUse = new Interned<Address>((host) => host);
  protected readonly ports = new Interned<readonly NamedPort[]>(portsKey);
  /** Names of the own cluster's pods. */
  protected readonly pods = new Map<number, string>();
  /** Other clusters' lists that are read at a time. */
  readonly turns = new Turns(8);
  protected stored = 0;
  readonly #place = newPlace();

  /**
   * @param own the cluster that wins every address that it claims, and whose pods' names are kept.
   * @param seed 32 random bits for the places of addresses among the columns.
   */
  constructor(own?: string, seed = 0) {
    super();
    this.own = own;
    this.columns = new Columns(seed);
  }

  get size(): number {
    return this.stored;
  }

  /** Bytes that the columns take; hosts and sets of ports come on top, once each. */
  get bytes(): number {
    return this.columns.bytes;
  }

  count(cluster: string): number {
    return this.clusters.get(cluster)?.count ?? 0;
  }

  protected *slotsOf(of: Cluster): Generator<number, void, undefined> {
    const columns = this.columns;
    const { top } = columns;
    if (of.count === 0) return;
    // Who walks may let others run in between, and the columns may have grown into new arrays by then.
    for (let slot = 0; slot < top; slot++) {
      if (columns.cluster[slot] === of.number && columns.state[slot] === LIVE) yield slot;
    }
  }

  get(cluster: string, address: string): IpEntry | undefined {
    const slot = this.slotOf(cluster, address);
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
    for (let slot = first; slot >= 0; slot = this.columns.behind(slot)) {
      claims.push(this.entryAt(slot));
    }
    return claims;
  }

  *entriesOf(cluster: string): Generator<IpEntry, void, undefined> {
    const from = this.clusters.get(cluster);
    if (from === undefined) return;
    for (const slot of this.slotsOf(from)) yield this.entryAt(slot);
  }

  *entries(): Generator<IpEntry, void, undefined> {
    for (let slot = 0; slot < this.columns.top; slot++) {
      if (this.columns.state[slot] === LIVE) yield this.entryAt(slot);
    }
  }

  printed(limit: number): PrintedIpEntry[] {
    const rows: PrintedIpEntry[] = [];
    const columns = this.columns;
    for (let slot = 0; slot < columns.top && rows.length < limit; slot++) {
      if (columns.state[slot] !== LIVE) continue;
      const head = this.headOf(slot);
      const yieldsTo = head === slot ? undefined : this.names[columns.cluster[head]!];
      rows.push({ ...this.entryAt(slot), yieldsTo });
    }
    return rows;
  }

  /** Entries that wait behind another cluster's. */
  get contested(): number {
    return this.columns.contested;
  }

  entryAt(slot: number): IpEntry {
    const columns = this.columns;
    return {
      cluster: this.names[columns.cluster[slot]!]!,
      address: textOf(columns.placeOf(slot, newPlace())),
      identity: NumericIdentity(columns.identity[slot]!),
      hostIP: this.hostsInUse.value(columns.host[slot]!),
      encryptionKey: columns.encryptionKey[slot]!,
      namedPorts: this.ports.value(columns.ports[slot]!) ?? NO_PORTS,
      pod: this.pods.get(slot),
    };
  }

  /** The slot that has the place of this one now, or -1. */
  winnerAt(slot: number): number {
    const head = this.headOf(slot);
    return this.columns.state[head] === LIVE ? head : -1;
  }

  /** A single address, not a prefix of whatever length. */
  isSingle(slot: number): boolean {
    return this.columns.length[slot] === SINGLE;
  }

  prefixAt(slot: number): Prefix {
    return prefixOf(this.columns.placeOf(slot, this.#place));
  }

  identityAt(slot: number): number {
    return this.columns.identity[slot]!;
  }

  /** The number of the entry's host, the same for all entries with it; 0: none. */
  hostAt(slot: number): number {
    return this.columns.host[slot]!;
  }

  hostAddress(number: number): Address | undefined {
    return this.hostsInUse.value(number);
  }

  /** Hosts that entries name. */
  get hosts(): number {
    return this.hostsInUse.size;
  }

  hasHost(host: Address): boolean {
    return this.hostsInUse.find(host) !== undefined;
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
    const { words } = this.columns;
    target.setUint32(offset, words[slot * 4]!);
    target.setUint32(offset + 4, words[slot * 4 + 1]!);
    target.setUint32(offset + 8, words[slot * 4 + 2]!);
    target.setUint32(offset + 12, words[slot * 4 + 3]!);
  }

  protected slotOf(cluster: string, address: string): number {
    const number = this.clusters.get(cluster)?.number;
    if (number === undefined || !placeOf(address, this.#place)) return -1;
    const columns = this.columns;
    let slot = columns.find(this.#place);
    while (slot >= 0 && columns.cluster[slot] !== number) slot = columns.behind(slot);
    return slot >= 0 && columns.state[slot] === LIVE ? slot : -1;
  }

  #live(place: Place): number {
    const slot = this.columns.find(place);
    return slot >= 0 && this.columns.state[slot] === LIVE ? slot : -1;
  }

  protected headOf(slot: number): number {
    const columns = this.columns;
    if (columns.contested === 0) return slot;
    return columns.find(columns.placeOf(slot, this.#place));
  }
}
