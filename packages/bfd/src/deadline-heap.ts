/** What the heap keeps: when it is due, and where the heap has it. */
export interface Due {
  readonly deadline: number;
  heapIndex: number;
}

/**
 * A binary heap of what is due first. An item that comes due later than the heap believes may stay
 * where it is: it is looked at too early once, and put back. That makes the common case free, where
 * each packet moves a session's detection time on.
 */
export class DeadlineHeap<T extends Due> {
  readonly #items: T[] = [];
  /** What each place was sorted by. */
  readonly #keys: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** When the first may be due; never later than the truth. */
  get next(): number {
    return this.#keys[0] ?? Number.POSITIVE_INFINITY;
  }

  add(item: T): void {
    item.heapIndex = this.#items.length;
    this.#items.push(item);
    this.#keys.push(item.deadline);
    this.#up(item.heapIndex);
  }

  /** To be called when the item may be due sooner than before. */
  sooner(item: T): void {
    const at = item.heapIndex;
    if (at < 0 || item.deadline >= this.#keys[at]!) return;
    this.#keys[at] = item.deadline;
    this.#up(at);
  }

  remove(item: T): void {
    const at = item.heapIndex;
    if (at < 0) return;
    item.heapIndex = -1;
    const last = this.#items.pop()!;
    const key = this.#keys.pop()!;
    if (last === item) return;
    this.#put(at, last, key);
    this.#up(at);
    this.#down(last.heapIndex);
  }

  /** The first item if it is truly due by `now`; what was sorted too early is put right on the way. */
  firstDue(now: number): T | undefined {
    for (;;) {
      const item = this.#items[0];
      if (item === undefined || this.#keys[0]! > now) return undefined;
      if (item.deadline <= now) return item;
      this.settle(item);
    }
  }

  /** Sorts the item by its deadline as it is now, sooner or later. */
  settle(item: T): void {
    const at = item.heapIndex;
    if (at < 0) return;
    this.#keys[at] = item.deadline;
    this.#up(at);
    this.#down(item.heapIndex);
  }

  #put(at: number, item: T, key: number): void {
    this.#items[at] = item;
    this.#keys[at] = key;
    item.heapIndex = at;
  }

  #up(from: number): void {
    const item = this.#items[from]!;
    const key = this.#keys[from]!;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#keys[parent]! <= key) break;
      this.#put(at, this.#items[parent]!, this.#keys[parent]!);
      at = parent;
    }
    this.#put(at, item, key);
  }

  #down(from: number): void {
    const item = this.#items[from]!;
    const key = this.#keys[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#items.length) break;
      if (child + 1 < this.#items.length && this.#keys[child + 1]! < this.#keys[child]!) child++;
      if (this.#keys[child]! >= key) break;
      this.#put(at, this.#items[child]!, this.#keys[child]!);
      at = child;
    }
    this.#put(at, item, key);
  }
}
