/**
 * Secret, odd, and of this process: neighbours choose what is hashed, and with murmur3's own factors it is easy to
 * write as many attribute sets of one hash as one likes, a chain that every UPDATE would walk. A seed alone does not
 * help against that. Chance is not handed in here because nothing that can be seen depends on it.
 */
const secret = (): number => (Math.random() * 0x1_0000_0000) | 0x01000001;
const first = secret();
const second = secret();

/** A signed 32-bit hash of bytes for interning, of this process only: murmur3's mixing over little-endian words. */
export function hashBytes(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = end - start;
  let at = start;
  for (const whole = start + ((end - start) & ~3); at < whole; at += 4) {
    let word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    word = Math.imul(word, first);
    word = (word << 15) | (word >>> 17);
    hash ^= Math.imul(word, second);
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
