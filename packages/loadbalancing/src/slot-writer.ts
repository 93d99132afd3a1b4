import type { BackendUsers } from './backend-users.ts';
import { weightedTable } from './maglev.ts';
import type { Backend, Frontend } from './model.ts';
import { type ServiceRow, SLOTS_PER_CHUNK, type SlotTable } from './operations.ts';
import type { BackendChanges } from './patch.ts';
import { SlotList } from './slot-list.ts';
import { chunkOf, SlotTables } from './slot-tables.ts';
import { dropSlots, type Steps } from './steps.ts';

/** What a service's slots were made of: tables, or a list that can be edited. */
export type SlotSource = SlotTables | SlotList;

interface SlottedRow {
  readonly slotsOf: SlotSource | undefined;
  readonly row: ServiceRow;
}

interface WrittenSlots extends Pick<ServiceRow, 'generation' | 'slots' | 'localSlots'> {
  readonly slotsOf: SlotSource;
}

const NO_SLOTS = { generation: 0, slots: 0, localSlots: 0 };
const MAX_GENERATION = 0xffff;

/** The slots of services, from which the kernel chooses: few of them change where few backends do. */
export class SlotWriter {
  readonly #backends: Pick<BackendUsers, 'id' | 'idInSlots'>;
  /** Of the changes under way. */
  readonly #tables = new Map<string, Uint32Array>();

  constructor(backends: Pick<BackendUsers, 'id' | 'idInSlots'>) {
    this.#backends = backends;
  }

  /** @param patch which backends are others than they were, if that is known. */
  write(
    before: SlottedRow | undefined,
    serviceId: number,
    frontend: Frontend,
    steps: Steps,
    patch: BackendChanges | undefined,
  ): WrittenSlots {
    const edited = before && this.#edit(before, frontend, steps, patch);
    return edited ?? this.#rewrite(before, serviceId, frontend, steps);
  }

  /** The changes under way are over. */
  settle(): void {
    this.#tables.clear();
  }

  /** Edits the slots where they stand, if both what they were and what they shall be are lists. */
  #edit(
    before: SlottedRow,
    frontend: Frontend,
    steps: Steps,
    patch: BackendChanges | undefined,
  ): WrittenSlots | undefined {
    const { slotsOf: list, row } = before;
    if (!(list instanceof SlotList) || !isList(frontend)) return undefined;
    const { serviceId, generation } = row;
    const { added, removed } =
      patch === undefined
        ? list.difference(frontend.chosen.map(({ key }) => this.#backends.id(key)!))
        : this.#differenceBy(list, frontend, patch);
    const chunks = Math.ceil(list.ids.length / SLOTS_PER_CHUNK);
    // A few chunks are soon written anew, and so is a list that is mostly another.
    if (added.length + removed.length > 0 && chunks < 2 + added.length + removed.length) {
      return undefined;
    }
    const edits = list.edit(added, removed);
    for (const { chunk, backendIds } of edits.chunks) {
      const at = { serviceId, generation, table: 'main', chunk } as const;
      steps.slots.push({ type: 'slots-put', ...at, backendIds, live: true });
    }
    for (const chunk of edits.dropped) {
      steps.oldSlots.push({ type: 'slots-delete', serviceId, generation, table: 'main', chunk });
    }
    return { slotsOf: list, generation, slots: list.ids.length, localSlots: 0 };
  }

  #differenceBy(list: SlotList, frontend: Frontend, patch: BackendChanges) {
    const added: number[] = [];
    const removed: number[] = [];
    for (const [key, backend] of patch) {
      // Of one that is gone the number is given back already; its slots are found by the number that it had.
      const id = this.#backends.idInSlots(key);
      if (id === undefined) continue;
      const chosen = backend !== undefined && frontend.chosen.includes(backend);
      if (chosen && !list.has(id)) added.push(id);
      else if (!chosen && list.has(id)) removed.push(id);
    }
    return { added, removed };
  }

  /** Writes all slots under a new generation, unless they are what they were, or a large table that differs in few. */
  #rewrite(
    before: SlottedRow | undefined,
    serviceId: number,
    frontend: Frontend,
    steps: Steps,
  ): WrittenSlots {
    const { algorithm, chosen, chosenLocal } = frontend;
    let { generation, slots, localSlots } = before?.row ?? NO_SLOTS;
    if (isList(frontend)) {
      const list = new SlotList(chosen.map(({ key }) => this.#backends.id(key)!));
      if (before !== undefined) dropSlots(before.row, steps.oldSlots);
      generation = (generation % MAX_GENERATION) + 1;
      putChunks({ serviceId, generation, table: 'main' }, list.ids, steps);
      return { slotsOf: list, generation, slots: list.ids.length, localSlots: 0 };
    }
    const text = JSON.stringify([
      algorithm,
      this.#weighed(chosen),
      chosenLocal && this.#weighed(chosenLocal),
    ]);
    const known = before?.slotsOf instanceof SlotTables ? before.slotsOf : undefined;
    if (known?.text === text) return { slotsOf: known, generation, slots, localSlots };
    const made = new SlotTables(
      text,
      this.#slotTable(frontend, chosen),
      chosenLocal && this.#slotTable(frontend, chosenLocal),
    );
    const edits = known && made.editsOf(known);
    if (edits !== undefined) {
      for (const { table, chunk, backendIds } of edits) {
        const at = { serviceId, generation, table, chunk };
        steps.slots.push({ type: 'slots-put', ...at, backendIds, live: true });
      }
      return { slotsOf: made.kept(), generation, slots, localSlots };
    }
    if (before !== undefined) dropSlots(before.row, steps.oldSlots);
    generation = (generation % MAX_GENERATION) + 1;
    putChunks({ serviceId, generation, table: 'main' }, made.main, steps);
    if (made.local !== undefined) {
      putChunks({ serviceId, generation, table: 'local' }, made.local, steps);
    }
    slots = made.main.length;
    localSlots = made.local?.length ?? 0;
    return { slotsOf: made.kept(), generation, slots, localSlots };
  }

  #weighed(backends: readonly Backend[]): (readonly [number, number])[] {
    return backends.map(({ key, weight }) => [this.#backends.id(key)!, weight] as const);
  }

  /** A service's addresses and node ports mostly lead to the same backends: their table is made once. */
  #tableOf(chosen: readonly Backend[]): Uint32Array {
    const key = JSON.stringify(this.#weighed(chosen));
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const table = weightedTable(chosen);
    this.#tables.set(key, table);
    return table;
  }

  /** The backend ids that slots hold, in order. */
  #slotTable({ algorithm }: Frontend, chosen: readonly Backend[]): Uint32Array {
    const ids = chosen.map(({ key }) => this.#backends.id(key)!);
    // Of unequal backends also a random choice is made among slots that are shared out by weight.
    if (algorithm === 'random' && equal(chosen)) return Uint32Array.from(ids);
    return this.#tableOf(chosen).map((index) => ids[index]!);
  }
}

function putChunks(
  at: { readonly serviceId: number; readonly generation: number; readonly table: SlotTable },
  ids: readonly number[] | Uint32Array,
  steps: Steps,
): void {
  for (let chunk = 0; chunk * SLOTS_PER_CHUNK < ids.length; chunk++) {
    const backendIds = chunkOf(ids, chunk);
    steps.slots.push({ type: 'slots-put', ...at, chunk, backendIds, live: false });
  }
}

const equal = (backends: readonly Backend[]): boolean =>
  backends.every(({ weight }) => weight === backends[0]!.weight);

/** One slot for each backend: a random choice among equals, by one table for everybody. */
const isList = ({ algorithm, chosen, chosenLocal }: Frontend): boolean =>
  algorithm === 'random' && chosenLocal === undefined && chosen.length > 0 && equal(chosen);
