import { ByteReader, type ByteWriter } from '@causeway/wire';
import type { AddressBytes } from '../sockets.ts';
import {
  bytes,
  nested,
  type PayloadCodec,
  readAttributes,
  row,
  u32,
  writeAttributes,
} from './attributes.ts';
import { addressFamily, type IpVersion } from './family.ts';
import { decoding } from './message.ts';

// RTM_*ROUTE: struct rtmsg, struct rtnexthop and RTA_* of linux/rtnetlink.h.

export const RouteMessageType = { new: 24, delete: 25, get: 26 } as const;
export const routeHeaderSize = 12;

/** RTNH_F_ONLINK, in rtm_flags as well as in a next hop's. */
export const onlinkFlag = 4;
export const RouteFlag = { cloned: 0x200, fibMatch: 0x2000 } as const;

// RTN_*, in order.
const routeTypes = [
  'unspecified',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
] as const;
export type RouteType = (typeof routeTypes)[number];

export function routeTypeNumber(type: RouteType): number {
  return routeTypes.indexOf(type);
}

/** RT_TABLE_* */
export const RouteTable = { default: 253, main: 254, local: 255 } as const;

/** An address of either family behind its AF_*: RTA_VIA. */
const viaAddress: PayloadCodec<AddressBytes> = {
  write: (writer, value) => {
    writer.u16(value.length === 4 ? addressFamily.ipv4 : addressFamily.ipv6).bytes(value);
  },
  read: (payload) => payload.slice(2),
};

/** RTAX_* */
const metricsTable = { mtu: row(2, u32), hopLimit: row(10, u32) } as const;

const nextHopTable = { gateway: row(5, bytes), via: row(18, viaAddress) } as const;

export interface NextHop {
  readonly via?: AddressBytes;
  readonly ifindex?: number;
  /** 1 to 256; 1 by default. */
  readonly weight?: number;
  readonly onlink?: boolean;
}

/** struct rtnexthop, one after the other, each with its attributes. */
const nextHops: PayloadCodec<readonly (NextHop & { readonly crossFamily?: boolean })[]> = {
  write: (writer, hops) => {
    for (const hop of hops) {
      const start = writer.length;
      writer
        .u16(0)
        .u8(hop.onlink ? onlinkFlag : 0)
        .u8((hop.weight ?? 1) - 1)
        .i32(hop.ifindex ?? 0);
      if (hop.via !== undefined)
        writeAttributes(writer, nextHopTable, { [hop.crossFamily ? 'via' : 'gateway']: hop.via });
      writer.patchU16(start, writer.length - start);
    }
  },
  read: (payload) => {
    const reader = new ByteReader(payload, 'little');
    const hops: NextHop[] = [];
    while (reader.left > 0) {
      const length = reader.u16();
      const flags = reader.u8();
      const weight = reader.u8() + 1;
      const ifindex = reader.i32();
      const attributes = readAttributes(reader.bytes(length - 8), nextHopTable);
      reader.align(4);
      const via = attributes.gateway ?? attributes.via;
      hops.push({
        ...(via !== undefined && { via }),
        ...(ifindex > 0 && { ifindex }),
        weight,
        onlink: (flags & onlinkFlag) !== 0,
      });
    }
    return hops;
  },
};

export const routeTable = {
  destination: row(1, bytes),
  source: row(2, bytes),
  iif: row(3, u32),
  oif: row(4, u32),
  gateway: row(5, bytes),
  priority: row(6, u32),
  preferredSource: row(7, bytes),
  metrics: row(8, nested(metricsTable)),
  multipath: row(9, nextHops),
  table: row(15, u32),
  mark: row(16, u32),
  via: row(18, viaAddress),
  nextHopId: row(30, u32),
} as const;

export interface Route {
  readonly family: IpVersion;
  /** Undefined: the default route. */
  readonly destination: AddressBytes | undefined;
  readonly prefixLength: number;
  readonly type: RouteType;
  readonly table: number;
  /** RTPROT_*: who made it. */
  readonly protocol: number;
  readonly via: AddressBytes | undefined;
  readonly ifindex: number | undefined;
  readonly onlink: boolean;
  /** RT_SCOPE_* */
  readonly scope: number;
  /** Preferred source. */
  readonly source: AddressBytes | undefined;
  readonly metric: number | undefined;
  readonly mtu: number | undefined;
  /** Of a multipath route; empty else. */
  readonly nextHops: readonly NextHop[];
  /** Id of a next hop object that the route uses. */
  readonly nextHopId: number | undefined;
}

/** The payload of an RTM_NEWROUTE or RTM_DELROUTE; undefined for families other than IP. */
export function decodeRoute(payload: Uint8Array): Route | undefined {
  return decoding(() => {
    const reader = new ByteReader(payload, 'little');
    const family = reader.u8();
    if (family !== addressFamily.ipv4 && family !== addressFamily.ipv6) return undefined;
    const prefixLength = reader.u8();
    reader.skip(2); // source prefix, tos
    const table = reader.u8();
    const protocol = reader.u8();
    const scope = reader.u8();
    const type = routeTypes[reader.u8()] ?? 'unspecified';
    const flags = reader.u32();
    const a = readAttributes(reader.rest(), routeTable);
    return {
      family: family === addressFamily.ipv4 ? 4 : 6,
      destination: prefixLength === 0 ? undefined : a.destination,
      prefixLength,
      type,
      table: a.table ?? table,
      protocol,
      via: a.gateway ?? a.via,
      ifindex: a.oif,
      onlink: (flags & onlinkFlag) !== 0,
      scope,
      source: a.preferredSource,
      metric: a.priority,
      mtu: a.metrics?.mtu,
      nextHops: a.multipath ?? [],
      nextHopId: a.nextHopId,
    };
  });
}

/** struct rtmsg, for requests of routes and of dumps. */
export function writeRouteHeader(
  writer: ByteWriter,
  header: {
    family: number;
    prefixLength?: number;
    sourceLength?: number;
    table?: number;
    protocol?: number;
    scope?: number;
    type?: number;
    flags?: number;
  },
): void {
  const { table = 0 } = header;
  writer
    .u8(header.family)
    .u8(header.prefixLength ?? 0)
    .u8(header.sourceLength ?? 0)
    .u8(0)
    .u8(table < 256 ? table : 0)
    .u8(header.protocol ?? 0)
    .u8(header.scope ?? 0)
    .u8(header.type ?? 0)
    .u32(header.flags ?? 0);
}
