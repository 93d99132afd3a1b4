// The layout that BPF_MAP_TYPE_RINGBUF maps into user space: Documentation/bpf/ringbuf.rst.

export interface RingMemory {
  /** Where we have read to: ours to write. */
  readonly consumer: BigUint64Array;
  /** Where the kernel has written to. */
  readonly producer: BigUint64Array;
  /** The data, mapped twice in a row so that no record is cut at the end; length is twice the size. */
  readonly data: Uint8Array;
}

const busy = 0x8000_0000;
const discarded = 0x4000_0000;
const headerSize = 8;

/**
 * Hands up to `limit` finished records to `onRecord`, as copies, and gives the room back to the
 * kernel; stops early when it gives false. Returns how many. Atomics are the acquire and release that the kernel's side relies on.
 */
export function consumeRecords(
  ring: RingMemory,
  limit: number,
  onRecord: (record: Uint8Array) => boolean,
): number {
  const size = ring.data.length / 2;
  const mask = size - 1;
  const words = new Int32Array(ring.data.buffer, ring.data.byteOffset, ring.data.length / 4);
  let position = Number(Atomics.load(ring.consumer, 0));
  let count = 0;
  try {
    while (count < limit) {
      const end = Number(Atomics.load(ring.producer, 0));
      if (position >= end) break;
      // The rest of a power-of-two division, also beyond 32 bits.
      const at = position % (mask + 1);
      const header = Atomics.load(words, at >>> 2) >>> 0;
      if ((header & busy) !== 0) break; // reserved, not yet committed: the kernel will wake us
      const length = header & ~(busy | discarded);
      position += headerSize + ((length + 7) & ~7);
      if ((header & discarded) !== 0) continue;
      const start = at + headerSize;
      count++;
      if (!onRecord(ring.data.slice(start, start + length))) break;
    }
  } finally {
    // Also after onRecord threw: a record that was handed out is not handed out again.
    Atomics.store(ring.consumer, 0, BigInt(position));
  }
  return count;
}
