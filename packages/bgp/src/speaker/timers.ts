interface Entry {
  readonly at: number;
  readonly due: (now: number) => void;
}

/** What is to be called when: a binary heap, the next in front. */
export class Timers {
  readonly #heap: Entry[] = [];

  get next(): number | undefined {
    return this.#heap[0]?.at;
  }

  add(at: number, due: (now: number) => void): void {
    const heap = this.#heap;
    const entry = { at, due };
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (heap[up]!.at <= at) break;
      heap[i] = heap[up]!;
      i = up;
    }
    heap[i] = entry;
  }

  /** Takes the first out if it is due. */
  take(now: number): ((now: number) => void) | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.at > now) return undefined;
    const last = heap.pop()!;
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let down = i * 2 + 1;
        if (down >= heap.length) break;
        if (down + 1 < heap.length && heap[down + 1]!.at < heap[down]!.at) down++;
        if (heap[down]!.at >= last.at) break;
        heap[i] = heap[down]!;
        i = down;
      }
      heap[i] = last;
    }
    return first.due;
  }
}
