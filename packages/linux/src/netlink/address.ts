import { ByteReader, ByteWriter } from '@causeway/wire';
import { invalidArgument } from '../errors.ts';
import type { AddressBytes } from '../sockets.ts';
import { bytes, readAttributes, row, text, u8, u32, writeAttributes } from './attributes.ts';
import { checkIfindex, checkPrefixLength, familyOf, versionOfAddress } from './family.ts';
import { decoding, NlFlag, type RtRequest } from './message.ts';

// RTM_*ADDR: struct ifaddrmsg and IFA_* of linux/if_addr.h.

export const AddressType = { new: 20, delete: 21, get: 22 } as const;
const headerSize = 8;

export const addressTable = {
  address: row(1, bytes),
  local: row(2, bytes),
  label: row(3, text),
  flags: row(8, u32),
  protocol: row(11, u8),
} as const;

/** IFA_F_* */
export const AddressFlag = {
  noDad: 0x02,
  dadFailed: 0x08,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  noPrefixRoute: 0x200,
} as const;

/** RT_SCOPE_* of linux/rtnetlink.h */
export const scopes = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;

export interface InterfaceAddress {
  readonly ifindex: number;
  readonly address: AddressBytes;
  readonly prefixLength: number;
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number;
  /** IFA_F_*: see AddressFlag. */
  readonly flags: number;
  /** Of a point-to-point link. */
  readonly peer: AddressBytes | undefined;
  readonly label: string | undefined;
  readonly protocol: number | undefined;
}

export interface AddressSelector {
  readonly ifindex: number;
  readonly address: AddressBytes;
  readonly prefixLength: number;
}

export interface AddressSpec extends AddressSelector {
  readonly peer?: AddressBytes;
  readonly scope?: 'global' | 'link' | 'host';
  /** No duplicate address detection: usable at once (IPv6). */
  readonly noDad?: boolean;
  /** The kernel makes no route to the prefix. */
  readonly noPrefixRoute?: boolean;
  /** Changes an address that is there; else it is an error, code exists. */
  readonly replace?: boolean;
}

export function addAddress(spec: AddressSpec): RtRequest {
  const flags =
    (spec.noDad ? AddressFlag.noDad : 0) | (spec.noPrefixRoute ? AddressFlag.noPrefixRoute : 0);
  return {
    type: AddressType.new,
    flags: NlFlag.create | (spec.replace ? NlFlag.replace : NlFlag.exclusive),
    name: 'new-address',
    body: body(spec, spec.peer, scopes[spec.scope ?? 'global'], flags),
    schema: { headerSize, table: addressTable },
  };
}

export function deleteAddress(spec: AddressSelector): RtRequest {
  return {
    type: AddressType.delete,
    flags: 0,
    name: 'delete-address',
    body: body(spec, undefined, 0, 0),
    schema: { headerSize, table: addressTable },
  };
}

function body(
  spec: AddressSelector,
  peer: AddressBytes | undefined,
  scope: number,
  flags: number,
): Uint8Array {
  const version = versionOfAddress(spec.address, 'address');
  checkPrefixLength(spec.prefixLength, version, 'prefixLength');
  checkIfindex(spec.ifindex);
  if (peer !== undefined && peer.length !== spec.address.length) {
    throw invalidArgument('netlink', 'peer is of another family than address', peer);
  }
  const writer = new ByteWriter('little');
  writer
    .u8(familyOf(version))
    .u8(spec.prefixLength)
    .u8(flags & 0xff)
    .u8(scope)
    .u32(spec.ifindex);
  writeAttributes(writer, addressTable, {
    address: peer ?? spec.address,
    local: spec.address,
    flags: flags === 0 ? undefined : flags,
  });
  return writer.finish();
}

/** The payload of an RTM_NEWADDR or RTM_DELADDR. Throws netlink-malformed. */
export function decodeAddress(payload: Uint8Array): InterfaceAddress {
  return decoding(() => {
    const reader = new ByteReader(payload, 'little');
    reader.skip(1);
    const prefixLength = reader.u8();
    const flags = reader.u8();
    const scope = reader.u8();
    const ifindex = reader.u32();
    const attributes = readAttributes(reader.rest(), addressTable);
    const address = attributes.local ?? attributes.address ?? new Uint8Array(0);
    const other = attributes.address;
    const isPeer = other !== undefined && Buffer.compare(other, address) !== 0;
    return {
      ifindex,
      address,
      prefixLength,
      scope,
      flags: attributes.flags ?? flags,
      peer: isPeer ? other : undefined,
      label: attributes.label,
      protocol: attributes.protocol,
    };
  });
}
