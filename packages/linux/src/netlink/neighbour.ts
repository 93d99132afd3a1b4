import { ByteReader, ByteWriter } from '@causeway/wire';
import type { AddressBytes } from '../sockets.ts';
import { bytes, readAttributes, row, u8, writeAttributes } from './attributes.ts';
import { addressFamily, checkIfindex, familyOf, versionOfAddress } from './family.ts';
import { decoding, NlFlag, type RtRequest } from './message.ts';

// RTM_*NEIGH: struct ndmsg and NDA_* of linux/neighbour.h.

export const NeighbourType = { new: 28, delete: 29, get: 30 } as const;
const headerSize = 12;

export const neighbourTable = {
  address: row(1, bytes),
  mac: row(2, bytes),
  protocol: row(12, u8),
} as const;

/** NUD_* */
export const NeighbourState = {
  incomplete: 1,
  reachable: 2,
  stale: 4,
  delay: 8,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const;
export const proxyFlag = 8; // NTF_PROXY

export interface Neighbour {
  /** 4 and 6, and 7 for entries of a bridge. */
  readonly family: 4 | 6 | 7;
  readonly ifindex: number;
  readonly address: AddressBytes | undefined;
  readonly mac: Uint8Array | undefined;
  /** NUD_*: see NeighbourState. */
  readonly state: number;
  readonly proxy: boolean;
}

export interface NeighbourSelector {
  readonly ifindex: number;
  readonly address: AddressBytes;
  readonly proxy?: boolean;
}

export interface NeighbourSpec extends NeighbourSelector {
  readonly mac?: Uint8Array;
  /** 'permanent' by default. */
  readonly state?: 'permanent' | 'reachable' | 'noarp' | 'stale';
}

/** Makes the entry or changes it. */
export function setNeighbour(spec: NeighbourSpec): RtRequest {
  return {
    type: NeighbourType.new,
    flags: NlFlag.create | NlFlag.replace,
    name: 'new-neighbour',
    body: body(spec, NeighbourState[spec.state ?? 'permanent'], spec.mac),
    schema: { headerSize, table: neighbourTable },
  };
}

export function deleteNeighbour(spec: NeighbourSelector): RtRequest {
  return {
    type: NeighbourType.delete,
    flags: 0,
    name: 'delete-neighbour',
    body: body(spec, 0, undefined),
    schema: { headerSize, table: neighbourTable },
  };
}

function body(spec: NeighbourSelector, state: number, mac: Uint8Array | undefined): Uint8Array {
  checkIfindex(spec.ifindex);
  const writer = new ByteWriter('little');
  writer
    .u8(familyOf(versionOfAddress(spec.address, 'address')))
    .u8(0)
    .u16(0)
    .i32(spec.ifindex)
    .u16(spec.proxy ? 0 : state)
    .u8(spec.proxy ? proxyFlag : 0)
    .u8(0);
  writeAttributes(writer, neighbourTable, { address: spec.address, mac });
  return writer.finish();
}

/** The payload of an RTM_NEWNEIGH or RTM_DELNEIGH; undefined for other families. */
export function decodeNeighbour(payload: Uint8Array): Neighbour | undefined {
  return decoding(() => {
    const reader = new ByteReader(payload, 'little');
    const family = reader.u8();
    reader.skip(3);
    const ifindex = reader.i32();
    const state = reader.u16();
    const flags = reader.u8();
    reader.skip(1);
    const attributes = readAttributes(reader.rest(), neighbourTable);
    const versions: Readonly<Record<number, 4 | 6 | 7>> = {
      [addressFamily.ipv4]: 4,
      [addressFamily.ipv6]: 6,
      [addressFamily.bridge]: 7,
    };
    const version = versions[family];
    if (version === undefined) return undefined;
    return {
      family: version,
      ifindex,
      address: attributes.address,
      mac: attributes.mac,
      state,
      proxy: (flags & proxyFlag) !== 0,
    };
  });
}
