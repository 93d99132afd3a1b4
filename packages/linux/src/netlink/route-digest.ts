import { routeHeaderSize } from './route.ts';

/** RTA_CACHEINFO: when an IPv6 route was last used, and how often. It says nothing of where the route leads. */
const CACHE_INFO = 12;
const TYPE_MASK = 0x3fff;

const wordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

/**
 * A number below 2^52 for an RTM_NEWROUTE's payload as a dump has it: equal for equal routes and, but by a chance of
 * that size, for no others. Nothing is decoded for it, so tens of thousands of routes cost some ten milliseconds.
 */
export function hashRoute(payload: Uint8Array): number {
  let low = 0x811c9dc5;
  let high = payload.length;
  const add = (from: number, to: number) => {
    for (let at = from; at + 4 <= to; at += 4) {
      const word = wordAt(payload, at);
      low = Math.imul(low ^ word, 0x9e3779b1);
      low ^= low >>> 15;
      high = Math.imul(high + word, 0x85ebca6b);
      high ^= high >>> 13;
    }
  };
  add(0, routeHeaderSize);
  for (let at = routeHeaderSize; at + 4 <= payload.length; ) {
    const header = wordAt(payload, at);
    const length = ((header & 0xffff) + 3) & ~3;
    if (length < 4) break;
    if (((header >>> 16) & TYPE_MASK) !== CACHE_INFO)
      add(at, Math.min(at + length, payload.length));
    at += length;
  }
  return (low >>> 0) + ((high >>> 0) & 0xfffff) * 2 ** 32;
}

/** One text for routes in any order. */
export function digestOf(hashes: readonly number[]): string {
  let sum = 0;
  for (const hash of hashes) sum = (sum + hash) % 2 ** 52;
  return `${hashes.length}:${sum.toString(16)}`;
}
