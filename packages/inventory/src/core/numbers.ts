import { InventoryError } from '../errors.ts';

export interface NumbersOptions {
  /** First and last number of the cluster. */
  readonly min: number;
  readonly max: number;
  /** ms that a number without users keeps its key: readers hear of addresses and of identities apart. */
  readonly linger: number;
  /** ms that a number then stays out of use, so that nobody still has it under its old labels. */
  readonly rest: number;
}

interface Held {
  readonly number: number;
  readonly labels: string;
  uses: number;
  /** Its key stands in the store. */
  written: boolean;
  /** When the key goes, for one without users. */
  until: number;
}

/** What has to be written for the numbers whose time has come. */
export interface NumbersDue {
  /** Their keys go, and they rest. */
  readonly rest: readonly { readonly number: number; readonly labels: string }[];
  /** They are free again. */
  readonly free: readonly number[];
}

/**
 * A number for each label set, counted by its users. The labels say where the search begins, so that an
 * emptied store gives most sets their old numbers; a set that returns while its number rests has it back.
 * Time is handed in, in ms, and only its differences count.
 */
export class Numbers {
  readonly #options: NumbersOptions;
  readonly #byLabels = new Map<string, Held>();
  readonly #unused = new Set<Held>();
  readonly #taken = new Set<number>();
  readonly #resting = new Map<string, { readonly number: number; readonly until: number }>();

  constructor(options: NumbersOptions) {
    this.#options = options;
  }

  get used(): number {
    return this.#byLabels.size;
  }

  get resting(): number {
    return this.#resting.size;
  }

  get size(): number {
    return this.#options.max - this.#options.min + 1;
  }

  of(labels: string): number | undefined {
    return this.#byLabels.get(labels)?.number;
  }

  /** From the store, before anything is taken. False for a number or a set that has another already. */
  restore(number: number, labels: string, now: number): boolean {
    const { min, max, linger } = this.#options;
    if (number < min || number > max) return false;
    if (this.#taken.has(number) || this.#byLabels.has(labels)) return false;
    const held = { number, labels, uses: 0, written: true, until: now + linger };
    this.#taken.add(number);
    this.#byLabels.set(labels, held);
    this.#unused.add(held);
    return true;
  }

  /** A number whose key went before the restart: nobody noted when, so it rests its whole time again. */
  restoreResting(number: number, labels: string, now: number): boolean {
    const { min, max, rest } = this.#options;
    if (number < min || number > max || this.#taken.has(number)) return false;
    if (this.#byLabels.has(labels) || this.#resting.has(labels)) return false;
    this.#taken.add(number);
    this.#resting.set(labels, { number, until: now + rest });
    return true;
  }

  /** One more user. `fresh` says that the number's key has yet to be written. Throws `identities-exhausted`. */
  take(labels: string): { readonly number: number; readonly fresh: boolean } {
    const held = this.#byLabels.get(labels);
    if (held !== undefined) {
      held.uses++;
      this.#unused.delete(held);
      const fresh = !held.written;
      held.written = true;
      return { number: held.number, fresh };
    }
    const number = this.#resting.get(labels)?.number ?? this.#search(labels);
    this.#resting.delete(labels);
    this.#taken.add(number);
    this.#byLabels.set(labels, { number, labels, uses: 1, written: true, until: 0 });
    return { number, fresh: true };
  }

  /** The store was emptied: what is taken next is fresh, once for each. */
  forgetKeys(): void {
    for (const held of this.#byLabels.values()) held.written = false;
  }

  /** One user fewer. */
  give(labels: string, now: number): void {
    const held = this.#byLabels.get(labels);
    if (held === undefined || held.uses === 0) return;
    held.uses--;
    if (held.uses > 0) return;
    held.until = now + this.#options.linger;
    this.#unused.add(held);
  }

  due(now: number): NumbersDue {
    const rest: Held[] = [];
    for (const held of this.#unused) {
      if (held.until > now) continue;
      this.#unused.delete(held);
      this.#byLabels.delete(held.labels);
      this.#resting.set(held.labels, { number: held.number, until: now + this.#options.rest });
      rest.push(held);
    }
    const free: number[] = [];
    for (const [labels, { number, until }] of this.#resting) {
      if (until > now) continue;
      this.#resting.delete(labels);
      this.#taken.delete(number);
      free.push(number);
    }
    return { rest, free };
  }

  /** All whose keys stand. */
  *[Symbol.iterator](): Iterator<{
    readonly number: number;
    readonly labels: string;
    readonly uses: number;
  }> {
    for (const held of this.#byLabels.values()) if (held.written) yield held;
  }

  #search(labels: string): number {
    const { min } = this.#options;
    const { size } = this;
    if (this.#taken.size >= size) {
      throw new InventoryError(
        'identities-exhausted',
        `all ${size} numbers of the cluster are in use (${this.used}) or rest (${this.resting})`,
        {
          value: labels,
          hint: 'take labels that differ from machine to machine out of the mapping, such as names and serial numbers',
        },
      );
    }
    let at = hash(labels) % size;
    while (this.#taken.has(min + at)) at = (at + 1) % size;
    return min + at;
  }
}

/** FNV-1a over UTF-16 units, 32 bits. */
function hash(text: string): number {
  let value = 0x811c_9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x0100_0193) >>> 0;
  }
  return value;
}
