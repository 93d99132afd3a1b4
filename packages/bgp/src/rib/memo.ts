import type { AttributeTable, SetListener } from './attribute-table.ts';
import { grown } from './grown.ts';

/**
 * What a policy made of attribute sets, by number: a set's number, or a negative verdict. A result other than
 * the set itself is held (one reference) as long as the set lives or until it is asked anew.
 */
export class SetMemo implements SetListener {
  readonly #sets: AttributeTable;
  #values: Int32Array;
  /** What else the value depended on: another key makes it void. A column only once there are two keys. */
  #keys: Int32Array | undefined;
  #onlyKey = 0;

  constructor(sets: AttributeTable) {
    this.#sets = sets;
    this.#values = new Int32Array(64);
    sets.listen(this);
  }

  get tableBytes(): number {
    return this.#values.byteLength + (this.#keys?.byteLength ?? 0);
  }

  /** 0: not known. */
  get(id: number, key: number): number {
    if (id >= this.#values.length) return 0;
    const known = this.#keys === undefined ? this.#onlyKey : this.#keys[id];
    return known === key ? this.#values[id]! : 0;
  }

  /** Takes its own reference. */
  set(id: number, key: number, value: number): void {
    if (id >= this.#values.length) {
      const capacity = Math.max(this.#values.length * 2, this.#sets.capacity);
      this.#values = grown(this.#values, capacity);
      if (this.#keys !== undefined) this.#keys = grown(this.#keys, capacity);
    }
    if (this.#keys === undefined && key !== this.#onlyKey) {
      if (this.#onlyKey !== 0) this.#keys = new Int32Array(this.#values.length).fill(this.#onlyKey);
      this.#onlyKey = key;
    }
    const old = this.#values[id]!;
    if (value > 0 && value !== id) this.#sets.retain(value);
    this.#values[id] = value;
    if (this.#keys !== undefined) this.#keys[id] = key;
    if (old > 0 && old !== id) this.#sets.release(old);
  }

  forget(id: number): void {
    if (id >= this.#values.length) return;
    const value = this.#values[id]!;
    this.#values[id] = 0;
    if (value > 0 && value !== id) this.#sets.release(value);
  }

  clear(): void {
    for (let id = 0; id < this.#values.length; id++) if (this.#values[id] !== 0) this.forget(id);
  }

  close(): void {
    this.clear();
    this.#sets.unlisten(this);
  }
}
