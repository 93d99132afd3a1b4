/** Hashes of prefixes, in which neighbours in address space come to lie beside each other. */
const nearbyBits = 3;

/** Neighbours choose the prefixes: which of them meet in a slot must not be theirs to know. */
function mix(h: number, seed: number): number {
  let mixed = Math.imul(h ^ seed, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
  return mixed ^ (mixed >>> 13);
}

export function hash32(length: number, w0: number, seed: number): number {
  const number = length === 0 ? 0 : w0 >>> (32 - length);
  const h = mix((number >>> nearbyBits) ^ (length << 24), seed);
  return (h << nearbyBits) ^ (number & ((1 << nearbyBits) - 1));
}

export function hash128(
  length: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  seed: number,
): number {
  return mix(mix(mix(mix(w0 ^ (length << 24), seed) ^ w1, seed) ^ w2, seed) ^ w3, seed);
}
