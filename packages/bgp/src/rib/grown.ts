/**
 * A column made longer; what it holds stays. The old one is empty from then on: its memory is given back at once, not
 * when the collector comes by.
 */
export function grown<T extends Int32Array | Uint32Array | Uint16Array | Uint8Array>(
  column: T,
  length: number,
): T {
  const make = column.constructor as new (buffer: ArrayBuffer) => T;
  const { buffer, BYTES_PER_ELEMENT } = column;
  return new make((buffer as ArrayBuffer).transfer(length * BYTES_PER_ELEMENT));
}
