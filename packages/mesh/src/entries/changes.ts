import { MeshError } from '../errors.ts';
import { type Columns, FREE, LIVE } from './columns.ts';

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

interface Reader {
  readonly bit: number;
  readonly of: ChangesOf;
  readonly queue: SlotQueue;
}

/** Who reads changes, and what each has yet to hear. */
export class PlaceReaders {
  readonly #columns: Columns;
  /** Lets go of a place that nobody has to hear of any more. */
  readonly #bury: (slot: number) => void;
  readonly #readers = new Set<Reader>();

  constructor(columns: Columns, bury: (slot: number) => void) {
    this.#columns = columns;
    this.#bury = bury;
  }

  /** What stands at the slot's place has changed; `ports`: it has, or had, named ports. */
  mark(slot: number, ports: boolean): void {
    const { dirty } = this.#columns;
    for (const { bit, of, queue } of this.#readers) {
      if ((of === 'ports' && !ports) || (dirty[slot]! & bit) !== 0) continue;
      dirty[slot]! |= bit;
      queue.push(slot);
    }
  }

  /** What stands comes first. At most eight readers at a time. Throws MeshError `too-many`. */
  open(name: string, of: ChangesOf): EntryChanges {
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
}

/** What one reader of changes has yet to look at: numbers of slots, first in, first out, in a ring. */
class SlotQueue {
  #ring = new Uint32Array(1024);
  #from = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(slot: number): void {
    if (this.#length === this.#ring.length) this.#resize(this.#ring.length * 2);
    this.#ring[(this.#from + this.#length++) & (this.#ring.length - 1)] = slot;
  }

  /** The caller has seen that there is one. */
  shift(): number {
    const slot = this.#ring[this.#from]!;
    this.#from = (this.#from + 1) & (this.#ring.length - 1);
    // What a first list took is given back.
    if (--this.#length === 0 && this.#ring.length > 65_536) this.#resize(1024);
    return slot;
  }

  #resize(capacity: number): void {
    const ring = new Uint32Array(capacity);
    for (let i = 0; i < this.#length; i++) {
      ring[i] = this.#ring[(this.#from + i) & (this.#ring.length - 1)]!;
    }
    this.#ring = ring;
    this.#from = 0;
  }
}
