/**
 * A signed 32-bit hash of bytes for interning: murmur3's mixing over little-endian words. Not keyed: whoever
 * relies on it compares the bytes as well, and bounds how long a chain may get.
 */
export function hashBytes(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = end - start;
  let at = start;
  for (const whole = start + ((end - start) & ~3); at < whole; at += 4) {
    let word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    word = Math.imul(word, 0xcc9e2d51);
    word = (word << 15) | (word >>> 17);
    hash ^= Math.imul(word, 0x1b873593);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
