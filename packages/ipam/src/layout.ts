import { Address, type Family, Prefix } from '@causeway/ip';
import { IpamError } from './errors.ts';

/**
 * What the addresses of a pod CIDR are for. The first usable one is the node's gateway.
 *
 *  - IPv4 to /30: the network and the broadcast address are reserved (RFC 1122 section 3.2.1.3).
 *  - IPv6 to /126: the subnet-router anycast address, the lowest, is reserved (RFC 4291 section 2.6.1).
 *  - IPv4 /31 (RFC 3021) and IPv6 /127 (RFC 6164): the gateway and one pod, nothing reserved beside it.
 *  - A single address leaves no room for a pod and is refused.
 */
export interface Layout {
  readonly prefix: Prefix;
  readonly family: Family;
  /** Addresses in the CIDR, the reserved ones included. */
  readonly size: bigint;
  readonly gateway: Address;
  readonly gatewayOffset: bigint;
  /** Offsets never given to a pod, the gateway's included. */
  readonly reserved: readonly bigint[];
  /** The offset of an address of this CIDR; undefined for any other address. */
  offsetOf(address: Address): bigint | undefined;
  addressAt(offset: bigint): Address;
}

/** Throws IpamError `cidr-too-small` for a /32 or /128. */
export function layout(prefix: Prefix): Layout {
  const family = Prefix.family(prefix);
  const size = Prefix.size(prefix);
  if (size < 2n) {
    throw new IpamError('cidr-too-small', `${prefix} has no room for a gateway and a pod`, {
      field: 'prefix',
      value: prefix,
      hint: 'give a pod CIDR of at least two addresses: /31 or /127 and shorter',
    });
  }
  const gatewayOffset = size === 2n ? 0n : 1n;
  const reserved = size === 2n ? [0n] : family === 'ipv4' ? [0n, 1n, size - 1n] : [0n, 1n];
  const base = Address.toBigInt(Prefix.address(prefix));
  return {
    prefix,
    family,
    size,
    gatewayOffset,
    gateway: Address.fromBigInt(family, base + gatewayOffset),
    reserved,
    offsetOf(address) {
      if (Address.family(address) !== family) return undefined;
      const offset = Address.toBigInt(address) - base;
      return offset >= 0n && offset < size ? offset : undefined;
    },
    addressAt: (offset) => Address.fromBigInt(family, base + offset),
  };
}
