import koffi from 'koffi';
import { callError, invalidArgument, LinuxError } from '../errors.ts';
import type { Fd } from '../fd.ts';
import { lastErrno, libc } from '../ffi/libc.ts';
import type { BpfMap } from './map.ts';
import { consumeRecords, type RingMemory } from './ring-records.ts';

export interface RingReaderOptions {
  readonly map: BpfMap;
  /** Gets a copy, free to keep. If it throws, reading ends and onError is told. */
  readonly onRecord: (record: Uint8Array) => void;
  readonly onError?: (error: unknown) => void;
  /** Records in one turn of the event loop, so that a flood of events cannot starve the rest. */
  readonly maxPerTurn?: number;
}

const protectRead = 1;
const protectWrite = 2;
const mapShared = 1;

/**
 * Reads a BPF ring buffer. The ring is mapped into this process and read without a system call; the
 * event loop polls the map's descriptor, which is readable while there is something (level
 * triggered), so no thread blocks and no timer ticks when nothing happens.
 */
export class RingReader implements Disposable {
  readonly #options: RingReaderOptions;
  readonly #fd: Fd;
  readonly #pageSize: number;
  readonly #dataSize: number;
  readonly #maps: { address: number | bigint; length: number }[] = [];
  #walking = false;
  #ring: RingMemory | undefined;
  #poll: InstanceType<typeof koffi.node.PollHandle> | undefined;

  constructor(options: RingReaderOptions) {
    const { info } = options.map;
    if (info.type !== 'ringbuf') {
      throw invalidArgument(
        'read ring',
        `map ${info.name} is a ${info.type}, no ringbuf`,
        info.name,
      );
    }
    this.#options = options;
    this.#pageSize = libc.getpagesize();
    this.#dataSize = info.maxEntries;
    this.#fd = options.map.fd.dup();
    try {
      const consumer = this.#mmap(this.#pageSize, 0, protectRead | protectWrite);
      const shared = this.#mmap(this.#pageSize + 2 * this.#dataSize, this.#pageSize, protectRead);
      this.#ring = {
        consumer: new BigUint64Array(consumer, 0, 1),
        producer: new BigUint64Array(shared, 0, 1),
        data: new Uint8Array(shared, this.#pageSize, 2 * this.#dataSize),
      };
      this.#poll = koffi.node.poll(this.#fd.number, { readable: true }, () => this.#turn());
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Reads what is there now; returns the count. For tests, and for a last look before closing. */
  drain(): number {
    let total = 0;
    for (;;) {
      if (this.#ring === undefined) {
        throw new LinuxError('closed', 'the ring reader is closed', { operation: 'drain' });
      }
      const count = this.#consume(1024);
      total += count;
      if (count < 1024) return total;
    }
  }

  /** Lets the process end while this waits. */
  unref(): void {
    this.#poll?.unref();
  }

  close(): void {
    this.#poll?.stop();
    this.#poll?.close();
    this.#poll = undefined;
    this.#ring = undefined;
    // onRecord may close us: the memory goes once the walk over it has ended.
    if (!this.#walking) this.#unmap();
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #turn(): void {
    if (this.#ring === undefined) return;
    try {
      this.#consume(this.#options.maxPerTurn ?? 1024);
    } catch (error) {
      this.close();
      this.#options.onError?.(error);
    }
  }

  #consume(limit: number): number {
    if (this.#ring === undefined || this.#walking) return 0;
    this.#walking = true;
    try {
      return consumeRecords(this.#ring, limit, (record) => {
        this.#options.onRecord(record);
        return this.#ring !== undefined;
      });
    } finally {
      this.#walking = false;
      if (this.#ring === undefined) this.#unmap();
    }
  }

  #unmap(): void {
    for (const { address, length } of this.#maps.splice(0)) libc.munmap(address, length);
  }

  #mmap(length: number, offset: number, protection: number): ArrayBuffer {
    const address = libc.mmap(null, length, protection, mapShared, this.#fd.number, offset);
    if (BigInt.asIntN(64, BigInt(address)) === -1n) {
      throw callError('map ring buffer', lastErrno(), this.#options.map.info.name);
    }
    this.#maps.push({ address, length });
    return koffi.view(BigInt(address), length);
  }
}
