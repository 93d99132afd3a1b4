import { SLOTS_PER_CHUNK } from './operations.ts';

/** What an edit of a list asks of the map. */
export interface SlotEdits {
  readonly chunks: readonly { readonly chunk: number; readonly backendIds: Uint32Array }[];
  /** Chunks that no slot is in any more. */
  readonly dropped: readonly number[];
}

/**
 * One slot for each backend, in any order, as a random choice among equals needs it. It is edited where it stands: a new
 * backend takes the place of one that is gone, or the next free slot; the last one moves into a place that is left. So
 * a change writes as many chunks as backends it touches, not all. At every moment each slot leads to a backend that is
 * there: what the row counts up to is written before the row, and who is gone from the slots goes after it.
 */
export class SlotList {
  readonly #ids: number[];
  readonly #at: Map<number, number>;

  constructor(ids: Iterable<number>) {
    this.#ids = [...ids];
    this.#at = new Map(this.#ids.map((id, slot) => [id, slot]));
  }

  get ids(): readonly number[] {
    return this.#ids;
  }

  has(id: number): boolean {
    return this.#at.has(id);
  }

  /** What must be edited for the list to hold these. */
  difference(ids: readonly number[]): { readonly added: number[]; readonly removed: number[] } {
    const wanted = new Set(ids);
    return {
      added: ids.filter((id) => !this.#at.has(id)),
      removed: this.#ids.filter((id) => !wanted.has(id)),
    };
  }

  edit(added: readonly number[], removed: readonly number[]): SlotEdits {
    const before = this.#ids.length;
    const dirty = new Set<number>();
    const place = (id: number, slot: number) => {
      this.#ids[slot] = id;
      this.#at.set(id, slot);
      dirty.add(Math.floor(slot / SLOTS_PER_CHUNK));
    };
    const fresh = [...added];
    for (const id of removed) {
      const slot = this.#at.get(id)!;
      this.#at.delete(id);
      const next = fresh.pop();
      if (next !== undefined) {
        place(next, slot);
        continue;
      }
      const last = this.#ids.pop()!;
      if (last !== id) place(last, slot);
    }
    for (const id of fresh) place(id, this.#ids.length);
    const count = Math.ceil(this.#ids.length / SLOTS_PER_CHUNK);
    const chunksBefore = Math.ceil(before / SLOTS_PER_CHUNK);
    return {
      chunks: [...dirty]
        .filter((chunk) => chunk < count)
        .sort((a, b) => a - b)
        .map((chunk) => ({ chunk, backendIds: this.#chunk(chunk, before) })),
      dropped: Array.from({ length: Math.max(0, chunksBefore - count) }, (_, i) => count + i),
    };
  }

  /** @param before slots that the row still counts: those that are no more lead to a backend that is there. */
  #chunk(chunk: number, before: number): Uint32Array {
    const ids = new Uint32Array(SLOTS_PER_CHUNK);
    for (let i = 0; i < SLOTS_PER_CHUNK; i++) {
      const slot = chunk * SLOTS_PER_CHUNK + i;
      ids[i] = this.#ids[slot] ?? (slot < before ? this.#ids[0]! : 0);
    }
    return ids;
  }
}
