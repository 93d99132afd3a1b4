import { Address, Prefix } from '@causeway/ip';
import type { TriePrefix } from './maps/ipcache.ts';

/** A prefix in the form of a trie's key: IPv4 under ::ffff:0:0/96. */
export function toTrie(prefix: Prefix): TriePrefix {
  const address = Prefix.address(prefix);
  const shift = Address.isIPv4(address) ? 96 : 0;
  return { length: Prefix.length(prefix) + shift, address: Address.toBytes16(address) };
}

export function fromTrie(key: TriePrefix): Prefix {
  const address = Address.fromBytes(key.address);
  return Prefix.from(address, Address.isIPv4(address) ? key.length - 96 : key.length);
}

/** IPv4 lies inside IPv6's space in the tries: without a row of its own, `::/0` would speak for it too. */
export const IPV4_SPACE: TriePrefix = toTrie(Prefix.parse('0.0.0.0/0'));
