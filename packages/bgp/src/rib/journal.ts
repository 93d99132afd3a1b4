import { grown } from './grown.ts';

/** A place in a journal: everything before it has been read. Compaction moves it along. */
export interface JournalReader {
  position: number;
}

const firstCapacity = 1024;

/**
 * What changed, in order, as small numbers ("items"), for readers of different speed. An item that changed again
 * stands only at its last place, so that the journal never holds more live entries than there are items,
 * however slow a reader is. Readers take the item's present state, not that of the time of the entry.
 */
export class Journal {
  #entries: Int32Array = new Int32Array(firstCapacity);
  /** By item: its last place + 1; 0 if it has none. */
  #last: Int32Array;
  readonly #readers = new Set<JournalReader>();
  /** Behind the newest entry. */
  end = 0;
  /** Everything before it was read by somebody: an entry from here on need not be repeated. */
  #read = 0;
  /** Counts compactions: after one, places kept elsewhere mean nothing. */
  generation = 0;
  /** Counts entries ever written. */
  written = 0;

  constructor(items: number) {
    this.#last = new Int32Array(items);
  }

  get bytes(): number {
    return this.#entries.byteLength + this.#last.byteLength;
  }

  /** Items are numbers below `items` from now on. */
  resize(items: number): void {
    if (items <= this.#last.length) return;
    this.#last = this.written === 0 ? new Int32Array(items) : grown(this.#last, items);
  }

  open(): JournalReader {
    const reader = { position: 0 };
    this.adopt(reader);
    return reader;
  }

  /** `open` for a reader that the caller made. */
  adopt(reader: JournalReader): void {
    reader.position = this.end;
    this.#readers.add(reader);
    if (this.end > this.#read) this.#read = this.end;
  }

  close(reader: JournalReader): void {
    this.#readers.delete(reader);
  }

  get readers(): number {
    return this.#readers.size;
  }

  append(item: number): void {
    const last = this.#last[item]!;
    if (last > this.#read) return;
    if (this.end === this.#entries.length) this.compact();
    this.#entries[this.end] = item;
    this.end++;
    this.written++;
    this.#last[item] = this.end;
  }

  /** The item at a place, or 0 if it stands again further on. */
  at(position: number): number {
    const item = this.#entries[position]!;
    return this.#last[item] === position + 1 ? item : 0;
  }

  /** Tells that `reader` has read everything before `position`. */
  advance(reader: JournalReader, position: number): void {
    reader.position = position;
    if (position > this.#read) this.#read = position;
  }

  /** What changes from now on is written anew: somebody takes over the present state without reading. */
  seal(): void {
    this.#read = this.end;
  }

  /** Is there an entry of the item that a reader at `position` has not read? */
  isPending(item: number, position: number): boolean {
    return this.#last[item]! > position;
  }

  /** The place of the slowest reader; the end if there is none. */
  floor(): number {
    let floor = this.end;
    for (const reader of this.#readers) if (reader.position < floor) floor = reader.position;
    return floor;
  }

  /** The item is no more; only for items without a pending entry. */
  forget(item: number): void {
    this.#last[item] = 0;
  }

  /** Drops what all have read and what stands again further on; grows if that was not enough. */
  compact(): void {
    const readers = [...this.#readers].sort((a, b) => a.position - b.position);
    const floor = readers[0]?.position ?? this.end;
    const entries = this.#entries;
    const last = this.#last;
    for (let i = 0; i < floor; i++) {
      if (last[entries[i]!] === i + 1) last[entries[i]!] = 0;
    }
    let write = 0;
    let reader = 0;
    let read = -1;
    for (let i = floor; i < this.end; i++) {
      while (reader < readers.length && readers[reader]!.position <= i) {
        readers[reader++]!.position = write;
      }
      if (i === this.#read) read = write;
      const item = entries[i]!;
      if (last[item] !== i + 1) continue;
      entries[write++] = item;
      last[item] = write;
    }
    while (reader < readers.length) readers[reader++]!.position = write;
    this.#read = this.#read <= floor ? 0 : read === -1 ? write : read;
    this.end = write;
    this.generation++;
    if (write * 2 > entries.length) this.#entries = grown(entries, entries.length * 2);
  }
}
