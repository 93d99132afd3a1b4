import type { Address } from '@causeway/ip';
import { MeshError } from '../errors.ts';
import { type ChangesOf, type EntryChanges, PlaceReaders } from './changes.ts';
import { GRAVE, LIVE } from './columns.ts';
import type { PutResult, RawEntry } from './entry.ts';
import { type Cluster, EntryReads } from './entry-reads.ts';

/** Lists are told from each other by a byte. */
const LAST_LIST = 255;

/**
 * All clusters' IP entries in columns (see `Columns`). Readers of changes are told of places, not of
 * states in between, so what waits for a slow one never exceeds the number of places.
 */
export class IpEntries extends EntryReads {
  readonly #readers = new PlaceReaders(this.columns, (slot) => this.#bury(slot));

  /**
   * Throws MeshError `too-many`.
   * @param most entries of the cluster.
   */
  put(cluster: string, raw: RawEntry, most = Number.POSITIVE_INFINITY): PutResult {
    const columns = this.columns;
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
    columns.host[slot] = raw.host === undefined ? 0 : this.hostsInUse.acquire(raw.host);
    columns.ports[slot] = raw.ports.length === 0 ? 0 : this.ports.acquire(raw.ports);
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

  #update(slot: number, from: Cluster, raw: RawEntry): PutResult {
    const columns = this.columns;
    if (columns.seen[slot] !== from.list) {
      columns.seen[slot] = from.list;
      from.seen++;
    }
    const hostBefore = columns.host[slot]!;
    const portsBefore = columns.ports[slot]!;
    // The new ones are acquired first: what stays is not let go in between.
    const host = raw.host === undefined ? 0 : this.hostsInUse.acquire(raw.host);
    const ports = raw.ports.length === 0 ? 0 : this.ports.acquire(raw.ports);
    const same =
      host === hostBefore &&
      ports === portsBefore &&
      columns.identity[slot] === raw.identity &&
      columns.encryptionKey[slot] === raw.encryptionKey;
    this.hostsInUse.release(hostBefore);
    this.ports.release(portsBefore);
    columns.host[slot] = host;
    columns.ports[slot] = ports;
    this.#write(slot, raw);
    if (!same && this.headOf(slot) === slot) this.#mark(slot, ports !== 0 || portsBefore !== 0);
    return same ? 'same' : 'changed';
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
    this.ports.release(columns.ports[slot]!);
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
      cluster = { name, number: this.names.length, list: 0, count: 0, seen: 0 };
      this.names.push(name);
      this.clusters.set(name, cluster);
    }
    return cluster;
  }
}
