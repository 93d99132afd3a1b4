import type { Address } from '@causeway/ip';
import type { NamedPort } from '../codec/ip.ts';
import { MeshError } from '../errors.ts';
import { type ChangesOf, type EntryChanges, PlaceReaders } from './changes.ts';
import { GRAVE, LIVE } from './columns.ts';
import type { PutResult, RawEntry } from './entry.ts';
import { type Cluster, EntryReads } from './entry-reads.ts';

/** What one cluster may have at most. */
export interface MostEntries {
  readonly entries: number;
  /** Bytes of different sets of named ports: all else of an entry has one size. */
  readonly portBytes: number;
  /** What all clusters may have together. */
  readonly ofAll?: { readonly entries: number; readonly portBytes: number };
}

const ANY: MostEntries = {
  entries: Number.POSITIVE_INFINITY,
  portBytes: Number.POSITIVE_INFINITY,
};

/** Lists are told from each other by a byte. */
const LAST_LIST = 255;

/**
 * All clusters' IP entries in columns (see `Columns`). Readers of changes are told of places, not of
 * states in between, so what waits for a slow one never exceeds the number of places.
 */
export class IpEntries extends EntryReads {
  readonly #readers = new PlaceReaders(this.columns, (slot) => this.#bury(slot));
  /** Which cluster each set of named ports is charged to. */
  readonly #payers = new Map<number, Cluster>();
  #portBytes = 0;

  /** Throws MeshError `too-many`, and then nothing has changed. */
  put(cluster: string, raw: RawEntry, most = ANY): PutResult {
    const columns = this.columns;
    const from = this.#cluster(cluster);
    const head = columns.find(raw);
    let slot = head;
    while (slot >= 0 && columns.cluster[slot] !== from.number) slot = columns.behind(slot);
    if (slot >= 0 && columns.state[slot] === LIVE) return this.#update(slot, from, raw, most);
    if (from.count >= most.entries) {
      const message = `cluster ${cluster} has ${most.entries} ip already, and no more are taken`;
      throw new MeshError('too-many', message, most.entries);
    }
    const { ofAll } = most;
    if (ofAll !== undefined && this.stored >= ofAll.entries) {
      const message = `all clusters together have ${ofAll.entries} ip already, and no more are taken`;
      throw new MeshError('too-many', message, ofAll.entries);
    }
    const ports = this.#acquirePorts(from, raw.ports, most);
    if (head < 0) slot = columns.insert(raw);
    else if (columns.state[head] === GRAVE) slot = head;
    else slot = columns.join(head, raw, cluster === this.own);
    columns.state[slot] = LIVE;
    columns.cluster[slot] = from.number;
    columns.host[slot] = raw.host === undefined ? 0 : this.hostsInUse.acquire(raw.host);
    columns.ports[slot] = ports;
    columns.seen[slot] = from.list;
    from.seen++;
    from.count++;
    this.stored++;
    this.#write(slot, raw);
    // One that waits behind another changes nothing.
    if (head < 0 || slot === head || cluster === this.own) {
      this.#mark(slot, columns.ports[slot] !== 0 || (head >= 0 && columns.ports[head] !== 0));
    }
    return 'new';
  }

  #update(slot: number, from: Cluster, raw: RawEntry, most: MostEntries): PutResult {
    const columns = this.columns;
    // The new ones are acquired first: what stays is not let go in between.
    const ports = this.#acquirePorts(from, raw.ports, most);
    if (columns.seen[slot] !== from.list) {
      columns.seen[slot] = from.list;
      from.seen++;
    }
    const hostBefore = columns.host[slot]!;
    const portsBefore = columns.ports[slot]!;
    const host = raw.host === undefined ? 0 : this.hostsInUse.acquire(raw.host);
    const same =
      host === hostBefore &&
      ports === portsBefore &&
      columns.identity[slot] === raw.identity &&
      columns.encryptionKey[slot] === raw.encryptionKey;
    this.hostsInUse.release(hostBefore);
    this.#releasePorts(portsBefore);
    columns.host[slot] = host;
    columns.ports[slot] = ports;
    this.#write(slot, raw);
    if (!same && this.headOf(slot) === slot) this.#mark(slot, ports !== 0 || portsBefore !== 0);
    return same ? 'same' : 'changed';
  }

  #acquirePorts(from: Cluster, ports: readonly NamedPort[], most: MostEntries): number {
    if (ports.length === 0) return 0;
    const before = this.ports.size;
    const number = this.ports.acquire(ports);
    if (this.ports.size === before) return number;
    const bytes = bytesOf(ports);
    if (from.portBytes + bytes > most.portBytes) {
      this.ports.release(number);
      const message = `cluster ${from.name} would have more than ${most.portBytes} bytes of named ports, and no more are taken`;
      throw new MeshError('too-many', message, most.portBytes);
    }
    const { ofAll } = most;
    if (ofAll !== undefined && this.#portBytes + bytes > ofAll.portBytes) {
      this.ports.release(number);
      const message = `all clusters together would have more than ${ofAll.portBytes} bytes of named ports, and no more are taken`;
      throw new MeshError('too-many', message, ofAll.portBytes);
    }
    from.portBytes += bytes;
    this.#portBytes += bytes;
    this.#payers.set(number, from);
    return number;
  }

  #releasePorts(number: number): void {
    const ports = this.ports.value(number);
    this.ports.release(number);
    const payer = this.#payers.get(number);
    if (ports === undefined || payer === undefined) return;
    if (this.ports.value(number) !== undefined) return;
    payer.portBytes -= bytesOf(ports);
    this.#portBytes -= bytesOf(ports);
    this.#payers.delete(number);
  }

  #write(slot: number, raw: RawEntry): void {
    const columns = this.columns;
    columns.identity[slot] = raw.identity;
    columns.encryptionKey[slot] = raw.encryptionKey;
    if (raw.pod === undefined || this.names[columns.cluster[slot]!] !== this.own) {
      this.pods.delete(slot);
    } else {
      this.pods.set(slot, raw.pod);
    }
  }

  /** False if the cluster says nothing of it. */
  delete(cluster: string, address: string): boolean {
    const slot = this.slotOf(cluster, address);
    if (slot < 0) return false;
    this.#remove(slot);
    return true;
  }

  #remove(slot: number): void {
    const columns = this.columns;
    const from = this.clusters.get(this.names[columns.cluster[slot]!]!)!;
    const hadPorts = columns.ports[slot] !== 0;
    if (columns.seen[slot] === from.list) from.seen--;
    from.count--;
    this.stored--;
    this.pods.delete(slot);
    this.hostsInUse.release(columns.host[slot]!);
    this.#releasePorts(columns.ports[slot]!);
    columns.host[slot] = 0;
    columns.ports[slot] = 0;
    const head = this.headOf(slot);
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
    if (this.columns.state[slot] === GRAVE && this.columns.dirty[slot] === 0) {
      this.columns.remove(slot);
    }
  }

  /** A list of the cluster's entries begins: what it does not show will be missed at its end. */
  beginList(cluster: string): void {
    const from = this.#cluster(cluster);
    if (from.list === LAST_LIST) {
      for (const slot of this.slotsOf(from)) this.columns.seen[slot] = 0;
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
    for (const slot of this.slotsOf(from)) {
      if (this.columns.seen[slot] === from.list) continue;
      this.#remove(slot);
      gone++;
    }
    return gone;
  }

  /** Takes away everything that the cluster said; at most `most`. Returns how many. */
  drain(cluster: string, most = Number.POSITIVE_INFINITY): number {
    const from = this.clusters.get(cluster);
    if (from === undefined) return 0;
    let gone = 0;
    for (const slot of this.slotsOf(from)) {
      if (gone >= most) break;
      this.#remove(slot);
      gone++;
    }
    return gone;
  }

  /** What is to be done for entries behind these hosts has changed: readers look at them again. */
  touch(hosts: Iterable<Address>): void {
    const numbers = new Set<number>();
    for (const host of hosts) {
      const number = this.hostsInUse.find(host);
      if (number !== undefined) numbers.add(number);
    }
    if (numbers.size === 0) return;
    const { state, host, top } = this.columns;
    for (let slot = 0; slot < top; slot++) {
      if (state[slot] === LIVE && numbers.has(host[slot]!)) this.#mark(slot, false);
    }
  }

  #mark(slot: number, ports: boolean): void {
    this.#readers.mark(slot, ports);
    this.announce();
  }

  /** What stands comes first. At most eight readers at a time. */
  changes(name: string, of: ChangesOf = 'all'): EntryChanges {
    return this.#readers.open(name, of);
  }

  #cluster(name: string): Cluster {
    let cluster = this.clusters.get(name);
    if (cluster === undefined) {
      cluster = { name, number: this.names.length, list: 0, count: 0, seen: 0, portBytes: 0 };
      this.names.push(name);
      this.clusters.set(name, cluster);
    }
    return cluster;
  }
}

/** About what they take in memory. */
function bytesOf(ports: readonly NamedPort[]): number {
  let bytes = 0;
  for (const { name } of ports) bytes += 2 * name.length + 100;
  return bytes;
}
