/** Of buffers kept, at most. */
const mostBytes = 256 * 1024;
const smallest = 1024;

/**
 * Copies of what was read, in buffers that are used again: thousands of small ones in a burst would be garbage that the
 * collector does not see the size of.
 */
export class Copies {
  readonly #spare = new Map<number, ArrayBuffer[]>();
  #spareBytes = 0;

  of(bytes: Uint8Array): Uint8Array {
    let size = smallest;
    while (size < bytes.length) size *= 2;
    const spare = this.#spare.get(size)?.pop();
    if (spare !== undefined) this.#spareBytes -= size;
    const buffer = spare ?? new ArrayBuffer(size);
    const copy = new Uint8Array(buffer, 0, bytes.length);
    copy.set(bytes);
    return copy;
  }

  /** Nobody looks at it any more. */
  giveBack({ buffer }: Uint8Array): void {
    const { byteLength } = buffer;
    if (this.#spareBytes + byteLength > mostBytes) {
      // Given back at once: sessions point into what they read last, for as long as their neighbours are silent.
      (buffer as ArrayBuffer).transfer(0);
      return;
    }
    this.#spareBytes += byteLength;
    const spare = this.#spare.get(byteLength);
    if (spare === undefined) this.#spare.set(byteLength, [buffer as ArrayBuffer]);
    else spare.push(buffer as ArrayBuffer);
  }
}
