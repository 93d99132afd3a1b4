import type { UpdateEncoder } from '../wire/update-encoder.ts';
import type { AttributeTable } from './attribute-table.ts';
import { grown } from './grown.ts';
import type { OutTable } from './out-table.ts';
import type { PrefixFields, PrefixTable } from './prefix-table.ts';

/**
 * UPDATEs for a run of items, made once for all neighbours of a group. What came from one peer is one range of
 * the bytes, so that it can be cut out for that peer; what only that peer needs (a withdrawal instead)
 * stands in `only`.
 */
export interface Chunk {
  readonly bytes: Uint8Array;
  readonly messages: number;
  /** By source peer. */
  readonly ranges: ReadonlyMap<number, ChunkRange>;
  readonly only: ReadonlyMap<number, Uint8Array> | undefined;
  readonly announced: number;
}

interface ChunkRange {
  readonly start: number;
  readonly end: number;
  readonly messages: number;
  readonly announced: number;
}

/** Where what a neighbour is given of chunks is gathered. */
export interface Gathered {
  readonly parts: Uint8Array[];
  bytes: number;
  messages: number;
  announced: number;
}

export function gather(into: Gathered, bytes: Uint8Array, messages: number): void {
  into.parts.push(bytes);
  into.bytes += bytes.length;
  into.messages += messages;
}

/** A neighbour's part: everything but what came from itself, and what is for it alone. */
export function cut(chunk: Chunk, peer: number, into: Gathered): void {
  const { bytes } = chunk;
  const range = chunk.ranges.get(peer);
  into.announced += chunk.announced;
  if (range === undefined) {
    if (bytes.length > 0) gather(into, bytes, chunk.messages);
  } else {
    const { start, end } = range;
    if (start > 0) gather(into, bytes.subarray(0, start), 0);
    if (end < bytes.length) gather(into, bytes.subarray(end), 0);
    into.messages += chunk.messages - range.messages;
    into.announced -= range.announced;
  }
  const only = chunk.only?.get(peer);
  if (only !== undefined) gather(into, only, countMessages(only));
}

function countMessages(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at + 19 <= bytes.length; count++) at += (bytes[at + 16]! << 8) | bytes[at + 17]!;
  return count;
}

export const mostItems = 16_384;
const enoughBytes = 65_536;

/** Collects items, then writes them grouped by source and attribute set. Kept and used again. */
export class ChunkBuilder {
  readonly #encoder: UpdateEncoder;
  readonly #sets: AttributeTable;
  readonly #prefixes: PrefixTable;
  readonly #out: OutTable;
  readonly #items = new Int32Array(mostItems);
  /** Next of the same bucket, as index + 1. */
  readonly #next = new Int32Array(mostItems);
  #count = 0;
  #bytes = 0;
  readonly #perItem: number;
  #withdrawn = 0;
  #withdrawals = 0;
  /** By set: its bucket + 1. */
  #bucketOf = new Int32Array(256);
  readonly #bucketSet: number[] = [];
  readonly #bucketSource: number[] = [];
  readonly #bucketHead: number[] = [];
  readonly #bucketTail: number[] = [];
  /** Buckets of sets that came from more than one source in this chunk. */
  readonly #others = new Map<number, number>();
  readonly #only = new Map<number, number[]>();
  readonly #fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };

  constructor(encoder: UpdateEncoder, sets: AttributeTable, prefixes: PrefixTable, out: OutTable) {
    this.#encoder = encoder;
    this.#sets = sets;
    this.#prefixes = prefixes;
    this.#out = out;
    this.#perItem = (prefixes.bits === 32 ? 4 : 7) + (out.isAddPath ? 4 : 0);
  }

  get isFull(): boolean {
    return this.#count >= mostItems || this.#bytes >= enoughBytes;
  }

  get count(): number {
    return this.#count;
  }

  /** `withWithdrawals`: those who read it may have had the item before. */
  add(item: number, withWithdrawals: boolean): void {
    const out = this.#out;
    const set = out.set[item]!;
    if (set === 0) {
      if (!withWithdrawals) return;
      const at = this.#count++;
      this.#items[at] = item;
      this.#next[at] = this.#withdrawn;
      this.#withdrawn = at + 1;
      this.#withdrawals++;
      this.#bytes += this.#perItem;
      return;
    }
    const source = out.sourceOf(item);
    const bucket = this.#bucket(set, source);
    const at = this.#count++;
    this.#items[at] = item;
    this.#next[at] = 0;
    const tail = this.#bucketTail[bucket]!;
    if (tail === 0) this.#bucketHead[bucket] = at + 1;
    else this.#next[tail - 1] = at + 1;
    this.#bucketTail[bucket] = at + 1;
    this.#bytes += this.#perItem;
    if (withWithdrawals && source !== 0 && out.mixed[item] !== 0) {
      const list = this.#only.get(source);
      if (list === undefined) this.#only.set(source, [item]);
      else list.push(item);
    }
  }

  #bucket(set: number, source: number): number {
    if (set >= this.#bucketOf.length) {
      this.#bucketOf = grown(this.#bucketOf, Math.max(set + 1, this.#sets.capacity));
    }
    const first = this.#bucketOf[set]! - 1;
    if (first >= 0 && this.#bucketSource[first] === source) return first;
    if (first < 0) {
      this.#bucketOf[set] = this.#bucketSet.length + 1;
      return this.#open(set, source);
    }
    const key = set * 65_536 + source;
    let bucket = this.#others.get(key);
    if (bucket === undefined) {
      bucket = this.#open(set, source);
      this.#others.set(key, bucket);
    }
    return bucket;
  }

  #open(set: number, source: number): number {
    this.#bytes += this.#sets.length[set]! + 40;
    this.#bucketSource.push(source);
    this.#bucketHead.push(0);
    this.#bucketTail.push(0);
    return this.#bucketSet.push(set) - 1;
  }

  take(): Chunk {
    const encoder = this.#encoder;
    if (this.#withdrawn !== 0) {
      encoder.withdraw();
      for (let at = this.#withdrawn; at !== 0; at = this.#next[at - 1]!)
        this.#write(this.#items[at - 1]!);
    }
    const order = this.#bucketSource.map((_, i) => i);
    const sources = this.#bucketSource;
    if (sources.some((source) => source !== sources[0])) {
      order.sort((a, b) => sources[a]! - sources[b]! || a - b);
    }
    const ranges = new Map<number, ChunkRange>();
    for (let i = 0; i < order.length; ) {
      const source = sources[order[i]!]!;
      // A range begins and ends with whole messages.
      const start = encoder.finish();
      const before = encoder.messages;
      let announced = 0;
      for (; i < order.length && sources[order[i]!] === source; i++) {
        announced += this.#writeBucket(order[i]!);
      }
      // What was originated here is nobody's to be cut out.
      if (source === 0) continue;
      const end = encoder.finish();
      ranges.set(source, { start, end, messages: encoder.messages - before, announced });
    }
    encoder.finish();
    const { messages } = encoder;
    const chunk: Chunk = {
      bytes: encoder.take(),
      messages,
      ranges,
      only: this.#takeOnly(),
      announced: this.#count - this.#withdrawals,
    };
    this.#reset();
    return chunk;
  }

  #writeBucket(bucket: number): number {
    let count = 0;
    const set = this.#bucketSet[bucket]!;
    const sets = this.#sets;
    this.#encoder.announce(
      sets.bytes,
      sets.start(set),
      sets.end(set),
      sets.nextHops.bytes(sets.nextHop[set]!),
    );
    for (let at = this.#bucketHead[bucket]!; at !== 0; at = this.#next[at - 1]!) {
      this.#write(this.#items[at - 1]!);
      count++;
    }
    return count;
  }

  /** Withdrawals of items as they stand, apart from any chunk. */
  withdrawals(items: readonly number[]): Uint8Array {
    this.#encoder.withdraw();
    for (const item of items) this.#write(item);
    return this.#encoder.take();
  }

  #takeOnly(): ReadonlyMap<number, Uint8Array> | undefined {
    if (this.#only.size === 0) return undefined;
    const only = new Map<number, Uint8Array>();
    for (const [source, items] of this.#only) {
      only.set(source, this.withdrawals(items));
    }
    return only;
  }

  #write(item: number): void {
    const fields = this.#fields;
    this.#prefixes.read(this.#out.prefixOf(item), fields);
    this.#encoder.prefix(
      this.#out.pathIdOf(item),
      fields.length,
      fields.w0,
      fields.w1,
      fields.w2,
      fields.w3,
    );
  }

  #reset(): void {
    for (const set of this.#bucketSet) this.#bucketOf[set] = 0;
    this.#bucketSet.length = 0;
    this.#bucketSource.length = 0;
    this.#bucketHead.length = 0;
    this.#bucketTail.length = 0;
    this.#others.clear();
    this.#only.clear();
    this.#count = 0;
    this.#bytes = 0;
    this.#withdrawn = 0;
    this.#withdrawals = 0;
  }
}
