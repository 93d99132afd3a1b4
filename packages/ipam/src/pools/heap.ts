/** A binary heap of distinct numbers, the smallest first. */
export class MinHeap {
  #items: bigint[] = [];

  get size(): number {
    return this.#items.length;
  }

  peek(): bigint | undefined {
    return this.#items[0];
  }

  push(value: bigint): void {
    const items = this.#items;
    let at = items.length;
    items.push(value);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const above = items[up] as bigint;
      if (above <= value) break;
      items[at] = above;
      at = up;
    }
    items[at] = value;
  }

  pop(): bigint | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= items.length) break;
      const right = items[down + 1];
      if (right !== undefined && right < (items[down] as bigint)) down += 1;
      const below = items[down] as bigint;
      if (last <= below) break;
      items[at] = below;
      at = down;
    }
    items[at] = last;
    return first;
  }

  /** Keeps what the test says, and nothing else. */
  keep(test: (value: bigint) => boolean): void {
    this.#items = this.#items.filter(test).sort((a, b) => (a < b ? -1 : 1));
  }
}
