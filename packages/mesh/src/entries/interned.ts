/**
 * Values that many entries share, each under a small number for as long as somebody uses it. 0 is the
 * value of those that have none. Uses are counted, so it holds no more values than there are entries.
 */
export class Interned<T> {
  readonly #keyOf: (value: T) => string;
  readonly #numbers = new Map<string, number>();
  readonly #values: (T | undefined)[] = [undefined];
  readonly #uses: number[] = [0];
  readonly #free: number[] = [];

  constructor(keyOf: (value: T) => string) {
    this.#keyOf = keyOf;
  }

  get size(): number {
    return this.#numbers.size;
  }

  /** The number of the value with this key, if somebody uses one. */
  find(key: string): number | undefined {
    return this.#numbers.get(key);
  }

  /** One more use. */
  acquire(value: T): number {
    const key = this.#keyOf(value);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#values.length;
      this.#values[number] = value;
      this.#uses[number] = 0;
      this.#numbers.set(key, number);
    }
    this.#uses[number]!++;
    return number;
  }

  release(number: number): void {
    if (number === 0 || --this.#uses[number]! > 0) return;
    this.#numbers.delete(this.#keyOf(this.#values[number]!));
    this.#values[number] = undefined;
    this.#free.push(number);
  }

  value(number: number): T | undefined {
    return this.#values[number];
  }
}
