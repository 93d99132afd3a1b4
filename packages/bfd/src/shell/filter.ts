import { Address } from '@causeway/ip';
import { type FilterInstruction, filterStep, longestFilter } from '@causeway/linux';
import type { Seal } from '../seal.ts';
import type { Hops } from '../values.ts';

const {
  accept,
  loadByte,
  loadWord,
  multiply,
  ofNetwork,
  refuse,
  shiftRight,
  skipIfAtLeast,
  skipIfEqual,
} = filterStep;

/** Where the fields stand: TTL or hop limit and source in the IP header, Your Discriminator behind that of UDP. */
const at = {
  ttl: { ipv4: ofNetwork(8), ipv6: ofNetwork(7) },
  source: { ipv4: [12], ipv6: [8, 12, 16, 20] },
  yourDiscriminator: 8 + 8,
} as const;

/**
 * What the kernel may drop for us, because the core would: the thread runs before everything else on
 * the machine, so a flood must not reach it. On one hop what does not come with TTL 255; what names a
 * session by a number without our seal; and what names none and does not come from a
 * peer. With more peers than fit, the last is left to the core.
 */
export function inletFilter(
  hops: Hops,
  family: 'ipv4' | 'ipv6',
  { factor, mark }: Seal,
  peers: Iterable<Address>,
): FilterInstruction[] {
  const ttl = hops === 'multi' ? [] : [loadByte(at.ttl[family]), skipIfAtLeast(255, 1, 0), refuse];
  const named = [
    loadWord(at.yourDiscriminator),
    skipIfEqual(0, 5, 0),
    multiply(factor),
    shiftRight(16),
    skipIfEqual(mark, 0, 1),
    accept,
    refuse,
  ];
  const own = [...new Set(peers)].filter((peer) => Address.family(peer) === family);
  const known = own.flatMap((peer) => fromPeer(Address.toBytes(peer), at.source[family]));
  const whole = [...ttl, ...named, ...known, refuse];
  return whole.length <= longestFilter ? whole : [...ttl, ...named, accept];
}

/** Accepts what comes from the address; else the next instruction after these is reached. */
function fromPeer(bytes: Uint8Array, words: readonly number[]): FilterInstruction[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return [
    ...words.flatMap((offset, i) => {
      // Past the rest of the words, two instructions each, and the acceptance.
      const left = 2 * (words.length - 1 - i) + 1;
      return [loadWord(ofNetwork(offset)), skipIfEqual(view.getUint32(4 * i), 0, left)];
    }),
    accept,
  ];
}
