import type { MapOperation } from '@causeway/loadbalancing';

type Of<Type extends MapOperation['type']> = Extract<MapOperation, { type: Type }>;

/**
 * The writes of one service or backend that wait, whatever comes in between: of each kind only the
 * newest counts, so that it stays as small as one description of its owner.
 */
export class Backlog {
  #backend: Of<'backend-put'> | undefined;
  #slots: Of<'slots-put'>[] = [];
  #reverse: Of<'reverse-put'> | undefined;
  readonly #ranges = new Map<string, Of<'source-range-put'>>();
  #row: Of<'service-put'> | undefined;
  /** Of the generation that the kernel's row still names: they go when the new row is in. */
  #oldSlots: Of<'slots-delete'>[] = [];
  readonly #oldRanges = new Map<string, Of<'source-range-delete'>>();
  /** Generations that were given up before a row named them. */
  readonly #abandoned = new Set<number>();
  /** The generation that the kernel's row is known to name. */
  #live: number | undefined;

  get empty(): boolean {
    return this.operations().length === 0;
  }

  /** In the order in which they are to be done. */
  operations(): MapOperation[] {
    return [
      this.#backend,
      ...this.#slots,
      this.#reverse,
      ...this.#ranges.values(),
      this.#row,
      ...this.#oldSlots,
      ...this.#oldRanges.values(),
    ].filter((each) => each !== undefined);
  }

  /** Takes a write in, and gives those that need not wait. */
  add(operation: MapOperation): MapOperation[] {
    switch (operation.type) {
      case 'backend-put':
        this.#backend = operation;
        return [];
      case 'backend-delete':
        this.#backend = undefined;
        return [operation];
      case 'slots-put':
        this.#abandonBut(operation.generation);
        if (operation.live) this.#live = operation.generation;
        this.#slots = [...this.#slots.filter((each) => !sameSlots(each, operation)), operation];
        this.#oldSlots = this.#oldSlots.filter((each) => !sameSlots(each, operation));
        return [];
      case 'reverse-put':
        this.#reverse = operation;
        return [];
      case 'source-range-put':
        this.#oldRanges.delete(operation.prefix);
        this.#ranges.set(operation.prefix, operation);
        return [];
      case 'source-range-delete':
        this.#ranges.delete(operation.prefix);
        // The kernel's row may still ask for it.
        if (this.#row === undefined) return [operation];
        this.#oldRanges.set(operation.prefix, operation);
        return [];
      case 'service-put':
        this.#abandonBut(operation.row.generation);
        this.#row = operation;
        return [];
      case 'slots-delete':
        // No row ever named them: what was written of them is only in the way.
        if (this.#abandoned.has(operation.generation)) return [operation];
        this.#slots = this.#slots.filter((each) => !sameSlots(each, operation));
        this.#oldSlots.push(operation);
        return [];
      case 'service-delete': {
        const old = [...this.#oldSlots, ...this.#oldRanges.values()];
        this.#ranges.clear();
        this.#oldRanges.clear();
        this.#slots = [];
        this.#reverse = undefined;
        this.#row = undefined;
        this.#oldSlots = [];
        return [operation, ...old];
      }
      case 'reverse-delete':
        this.#reverse = undefined;
        return [operation];
      default:
        return operation satisfies never;
    }
  }

  #abandonBut(generation: number): void {
    const waiting = this.#slots[0]?.generation ?? this.#row?.row.generation;
    if (waiting === undefined || waiting === generation) return;
    this.#abandoned.clear();
    if (waiting !== this.#live) this.#abandoned.add(waiting);
    this.#slots = [];
    this.#row = undefined;
  }
}

const sameSlots = (a: Of<'slots-put' | 'slots-delete'>, b: Of<'slots-put' | 'slots-delete'>) =>
  a.generation === b.generation && a.table === b.table && a.chunk === b.chunk;
