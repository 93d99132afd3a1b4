/** Buffers kept of each size, at most. */
const most = 32;
const smallest = 1024;

/**
 * Copies of what was read, in buffers that are used again: thousands of small ones in a burst would be garbage that the
 * collector does not see the size of.
 */
export class Copies {
  readonly #spare = new Map<number, ArrayBuffer[]>();

  of(bytes: Uint8Array): Uint8Array {
    let size = smallest;
    while (size < bytes.length) size *= 2;
    const buffer = this.#spare.get(size)?.pop() ?? new ArrayBuffer(size);
    const copy = new Uint8Array(buffer, 0, bytes.length);
    copy.set(bytes);
    return copy;
  }

  /** Nobody looks at it any more. */
  giveBack({ buffer }: Uint8Array): void {
    const spare = this.#spare.get(buffer.byteLength);
    if (spare === undefined) this.#spare.set(buffer.byteLength, [buffer as ArrayBuffer]);
    else if (spare.length < most) spare.push(buffer as ArrayBuffer);
  }
}
