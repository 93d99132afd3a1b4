/** What a reconciler still has to do: ready work in the order in which it came, and failed work by its due time. */

export interface Work<Row, K> {
  readonly type: 'update' | 'delete';
  readonly key: K;
  readonly row: Row;
  readonly revision: number;
  /** Failures in a row of this key's work. */
  readonly attempts: number;
}

interface Deferred<K> {
  readonly due: number;
  readonly key: K;
  readonly ticket: number;
}

export class WorkQueue<Row, K> {
  readonly #ready = new Map<K, Work<Row, K>>();
  readonly #failed = new Map<K, { readonly work: Work<Row, K>; readonly ticket: number }>();
  /** A binary heap by due time; items whose ticket is out of date are passed over. */
  readonly #heap: Deferred<K>[] = [];
  #ticket = 0;

  get ready(): number {
    return this.#ready.size;
  }

  get failed(): number {
    return this.#failed.size;
  }

  get size(): number {
    return this.#ready.size + this.#failed.size;
  }

  has(key: K): boolean {
    return this.#ready.has(key) || this.#failed.has(key);
  }

  /** New intent: replaces whatever waits for the key, and forgets its failures. */
  add(work: Work<Row, K>): void {
    this.#failed.delete(work.key);
    this.#ready.delete(work.key);
    this.#ready.set(work.key, work);
  }

  /** Puts failed work aside until `due`, unless newer intent has come. */
  defer(work: Work<Row, K>, due: number): void {
    if (this.#ready.has(work.key)) return;
    const ticket = ++this.#ticket;
    this.#failed.set(work.key, { work, ticket });
    this.#push({ due, key: work.key, ticket });
  }

  /** When the next failed work is due. */
  nextDue(): number | undefined {
    for (let top = this.#heap[0]; top; top = this.#heap[0]) {
      if (this.#failed.get(top.key)?.ticket === top.ticket) return top.due;
      this.#pop();
    }
    return undefined;
  }

  /** Makes ready what is due. */
  release(now: number): void {
    for (let due = this.nextDue(); due !== undefined && due <= now; due = this.nextDue()) {
      const item = this.#pop();
      const failed = item && this.#failed.get(item.key);
      if (!item || !failed) continue;
      this.#failed.delete(item.key);
      this.#ready.set(item.key, failed.work);
    }
  }

  /** The oldest ready work of one type: the type of the very oldest, and only as long as it lasts. */
  take(most: number): Work<Row, K>[] {
    const batch: Work<Row, K>[] = [];
    for (const work of this.#ready.values()) {
      if (batch.length >= most || (batch[0] && batch[0].type !== work.type)) break;
      batch.push(work);
    }
    for (const work of batch) this.#ready.delete(work.key);
    return batch;
  }

  #push(item: Deferred<K>): void {
    const heap = this.#heap;
    let i = heap.push(item) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up] as Deferred<K>;
      if (parent.due <= item.due) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = item;
  }

  #pop(): Deferred<K> | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const item = heap.pop();
    if (!top || !item || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= heap.length) break;
      const right = heap[down + 1];
      if (right && right.due < (heap[down] as Deferred<K>).due) down++;
      const child = heap[down] as Deferred<K>;
      if (child.due >= item.due) break;
      heap[i] = child;
      i = down;
    }
    heap[i] = item;
    return top;
  }
}
