/** What one reader of changes has yet to look at: numbers of slots, first in, first out, in a ring. */
export class SlotQueue {
  #ring = new Uint32Array(1024);
  #from = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(slot: number): void {
    if (this.#length === this.#ring.length) this.#resize(this.#ring.length * 2);
    this.#ring[(this.#from + this.#length++) & (this.#ring.length - 1)] = slot;
  }

  /** The caller has seen that there is one. */
  shift(): number {
    const slot = this.#ring[this.#from]!;
    this.#from = (this.#from + 1) & (this.#ring.length - 1);
    // What a first list took is given back.
    if (--this.#length === 0 && this.#ring.length > 65_536) this.#resize(1024);
    return slot;
  }

  #resize(capacity: number): void {
    const ring = new Uint32Array(capacity);
    for (let i = 0; i < this.#length; i++) {
      ring[i] = this.#ring[(this.#from + i) & (this.#ring.length - 1)]!;
    }
    this.#ring = ring;
    this.#from = 0;
  }
}
