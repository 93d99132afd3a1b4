import type { Chunk } from './chunk.ts';

/** Of chunks kept, at most. */
const mostBytes = 1 << 20;

/** Made from entries of a journal up to `end`. */
export interface JournalChunk {
  readonly chunk: Chunk;
  readonly end: number;
}

/** Made from items of a table up to `end`. */
export interface WalkChunk extends JournalChunk {
  /** Of the journal when it was made: who uses it must read from there on. */
  readonly position: number;
}

/** Chunks by where they begin, for the neighbours that come to the same place after the first. */
export class ChunkCache {
  readonly #chunks = new Map<number, JournalChunk>();
  readonly #walks = new Map<number, WalkChunk>();
  #generation = 0;
  bytes = 0;

  /** After a compaction of the journal places mean nothing any more. */
  follow(generation: number): void {
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.clear();
  }

  chunk(from: number): JournalChunk | undefined {
    return this.#chunks.get(from);
  }

  walk(from: number): WalkChunk | undefined {
    return this.#walks.get(from);
  }

  keep(from: number, chunk: JournalChunk): void {
    this.#room(chunk.chunk);
    this.#chunks.set(from, chunk);
  }

  keepWalk(from: number, chunk: WalkChunk): void {
    this.#room(chunk.chunk);
    this.#walks.set(from, chunk);
  }

  clear(): void {
    if (this.#chunks.size === 0 && this.#walks.size === 0) return;
    this.#chunks.clear();
    this.#walks.clear();
    this.bytes = 0;
  }

  #room({ bytes: { length } }: Chunk): void {
    this.bytes += length;
    for (const map of [this.#chunks, this.#walks]) {
      for (const [key, { chunk }] of map) {
        if (this.bytes <= mostBytes) return;
        map.delete(key);
        this.bytes -= chunk.bytes.length;
      }
    }
  }
}
