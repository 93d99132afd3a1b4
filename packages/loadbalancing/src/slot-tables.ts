import { SLOTS_PER_CHUNK, type SlotTable } from './operations.ts';

/** Tables of so many slots are remembered, so that a change writes what differs; smaller ones are soon written anew. */
const KEPT_FROM = 4093;

export interface TableEdit {
  readonly table: SlotTable;
  readonly chunk: number;
  readonly backendIds: Uint32Array;
}

/**
 * A service's tables of backend ids, each id in as many slots as is its share. Of a large one that loses or gains one of
 * thousands of backends a tenth of the chunks differ: these are written where they stand. At every moment each slot
 * leads to a backend that is there, of the old table or of the new one, for who is gone goes after the slots.
 */
export class SlotTables {
  /** What they were made of. */
  readonly text: string;
  readonly main: Uint32Array;
  readonly local: Uint32Array | undefined;

  constructor(text: string, main: Uint32Array, local: Uint32Array | undefined) {
    this.text = text;
    this.main = main;
    this.local = local;
  }

  /** As it is to be remembered: of small tables only what they were made of. */
  kept(): SlotTables {
    return this.main.length < KEPT_FROM ? new SlotTables(this.text, NONE, undefined) : this;
  }

  /** The chunks that differ from those that are written; undefined if these are forgotten, or of another size. */
  editsOf(written: SlotTables): TableEdit[] | undefined {
    const { main, local } = this;
    if (written.main.length < KEPT_FROM) return undefined;
    if (main.length !== written.main.length || local?.length !== written.local?.length) {
      return undefined;
    }
    const edits = differing('main', main, written.main);
    if (local !== undefined && written.local !== undefined) {
      edits.push(...differing('local', local, written.local));
    }
    return edits;
  }
}

const NONE = new Uint32Array();

function differing(table: SlotTable, now: Uint32Array, before: Uint32Array): TableEdit[] {
  const edits: TableEdit[] = [];
  for (let slot = 0; slot < now.length; slot++) {
    if (now[slot] === before[slot]) continue;
    const chunk = Math.floor(slot / SLOTS_PER_CHUNK);
    edits.push({ table, chunk, backendIds: chunkOf(now, chunk) });
    // On to the next one.
    slot = (chunk + 1) * SLOTS_PER_CHUNK - 1;
  }
  return edits;
}

/** SLOTS_PER_CHUNK ids, 0 beyond the last slot. */
export function chunkOf(ids: readonly number[] | Uint32Array, chunk: number): Uint32Array {
  const backendIds = new Uint32Array(SLOTS_PER_CHUNK);
  backendIds.set(ids.slice(chunk * SLOTS_PER_CHUNK, (chunk + 1) * SLOTS_PER_CHUNK));
  return backendIds;
}
