import { invalidArgument } from '../errors.ts';
import type { AddressBytes } from '../sockets.ts';

/** IP versions as callers name them, and AF_* as the kernel does. */
export type IpVersion = 4 | 6;

export const addressFamily = { unspecified: 0, ipv4: 2, bridge: 7, ipv6: 10 } as const;

export function familyOf(version: IpVersion): number {
  return version === 4 ? addressFamily.ipv4 : addressFamily.ipv6;
}

export function versionOf(family: number): IpVersion | undefined {
  if (family === addressFamily.ipv4) return 4;
  return family === addressFamily.ipv6 ? 6 : undefined;
}

/** 4 or 6 by the length of the address; refuses every other length. */
export function versionOfAddress(address: AddressBytes, field: string): IpVersion {
  if (address.length === 4) return 4;
  if (address.length === 16) return 6;
  throw invalidArgument('netlink', `${field} has 4 or 16 bytes, not ${address.length}`, address);
}

export function checkVersion(address: AddressBytes, version: IpVersion, field: string): void {
  if (versionOfAddress(address, field) !== version) {
    throw invalidArgument('netlink', `${field} is no IPv${version} address`, address);
  }
}

export function fullLength(version: IpVersion): number {
  return version === 4 ? 32 : 128;
}

export function checkPrefixLength(length: number, version: IpVersion, field: string): void {
  if (!Number.isInteger(length) || length < 0 || length > fullLength(version)) {
    throw invalidArgument(
      'netlink',
      `${field} is ${length}: an IPv${version} prefix length is 0 to ${fullLength(version)}`,
      length,
    );
  }
}

export function checkIfindex(index: number, field = 'ifindex'): void {
  if (!Number.isInteger(index) || index < 1 || index > 0x7fff_ffff) {
    throw invalidArgument('netlink', `${field} is ${index}: no interface has that index`, index);
  }
}
