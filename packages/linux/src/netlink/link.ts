import { ByteReader } from '@causeway/wire';
import {
  type AttributeValues,
  be16,
  bool8,
  bytes,
  nested,
  readAttributes,
  row,
  text,
  u8,
  u32,
} from './attributes.ts';
import { decoding } from './message.ts';

// RTM_*LINK: struct ifinfomsg and IFLA_* of linux/if_link.h.

export const LinkType = { new: 16, delete: 17, get: 18, set: 19 } as const;
export const linkHeaderSize = 16;

/** IFF_* of linux/if.h. */
export const LinkFlag = {
  up: 1,
  loopback: 8,
  running: 0x40,
  noArp: 0x80,
  promiscuous: 0x100,
  allMulticast: 0x200,
  multicast: 0x1000,
} as const;

/** IFLA_INET6_* below IFLA_AF_SPEC. */
const inet6Table = { addressGeneration: row(8, u8) } as const;
/** AF_* below IFLA_AF_SPEC: only what we set. */
const familySpecTable = { inet6: row(10, nested(inet6Table)) } as const;

const linkInfoTable = {
  kind: row(1, text),
  data: row(2, bytes),
  slaveKind: row(4, text),
} as const;

export const linkTable = {
  address: row(1, bytes),
  name: row(3, text),
  mtu: row(4, u32),
  link: row(5, u32),
  master: row(10, u32),
  txQueueLength: row(13, u32),
  linkinfo: row(18, nested(linkInfoTable)),
  alias: row(20, text),
  stats: row(23, bytes),
  familySpec: row(26, nested(familySpecTable)),
  group: row(27, u32),
  namespaceFd: row(28, u32),
  extraMask: row(29, u32),
  gsoMaxSize: row(41, u32),
  alternativeName: row(53, text),
  groMaxSize: row(58, u32),
  gsoIpv4MaxSize: row(63, u32),
  groIpv4MaxSize: row(64, u32),
} as const;
export type LinkAttributes = AttributeValues<typeof linkTable>;

/** IFLA_VXLAN_* */
export const vxlanTable = {
  id: row(1, u32),
  underlay: row(3, u32),
  local: row(4, bytes),
  ttl: row(5, u8),
  learning: row(7, bool8),
  port: row(15, be16),
  local6: row(17, bytes),
  udpChecksum: row(18, bool8),
  udp6ZeroChecksumTx: row(19, bool8),
  udp6ZeroChecksumRx: row(20, bool8),
  collectMetadata: row(25, bool8),
} as const;
export type VxlanData = AttributeValues<typeof vxlanTable>;

/** IFLA_BR_* */
export const bridgeTable = {
  stp: row(5, u32),
  vlanFiltering: row(7, bool8),
  multicastSnooping: row(23, bool8),
} as const;
export type BridgeData = AttributeValues<typeof bridgeTable>;

/** VETH_INFO_PEER holds a whole ifinfomsg with its attributes. */
export const vethTable = { peer: row(1, bytes) } as const;

export interface LinkStats {
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
}

/** What is known of a link's kind beyond its name. */
export type LinkData =
  | { readonly type: 'vxlan'; readonly vxlan: VxlanData }
  | { readonly type: 'bridge'; readonly bridge: BridgeData };

export interface Link {
  readonly index: number;
  readonly name: string;
  /** "veth", "vxlan", "bridge"; undefined for physical devices and the loopback. */
  readonly kind: string | undefined;
  /** Six bytes for Ethernet; empty where there is none. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  /** By administration. */
  readonly up: boolean;
  /** Up and with a carrier. */
  readonly running: boolean;
  readonly loopback: boolean;
  readonly noArp: boolean;
  /** IFF_* as they came. */
  readonly flags: number;
  readonly master: number | undefined;
  /** The lower device's index; for a veth its peer's, which may be of another namespace. */
  readonly peerIndex: number | undefined;
  readonly alias: string | undefined;
  readonly gsoMaxSize: number | undefined;
  readonly groMaxSize: number | undefined;
  readonly data: LinkData | undefined;
  readonly stats: LinkStats | undefined;
}

/** The payload of an RTM_NEWLINK or RTM_DELLINK. Throws netlink-malformed. */
export function decodeLink(payload: Uint8Array): Link {
  return decoding(() => {
    const reader = new ByteReader(payload, 'little');
    reader.skip(4);
    const index = reader.i32();
    const flags = reader.u32();
    reader.skip(4);
    const attributes = readAttributes(reader.rest(), linkTable);
    return {
      index,
      name: attributes.name ?? '',
      kind: attributes.linkinfo?.kind,
      mac: attributes.address ?? new Uint8Array(0),
      mtu: attributes.mtu ?? 0,
      up: (flags & LinkFlag.up) !== 0,
      running: (flags & LinkFlag.running) !== 0,
      loopback: (flags & LinkFlag.loopback) !== 0,
      noArp: (flags & LinkFlag.noArp) !== 0,
      flags,
      master: attributes.master,
      peerIndex: attributes.link,
      alias: attributes.alias,
      gsoMaxSize: attributes.gsoMaxSize,
      groMaxSize: attributes.groMaxSize,
      data: decodeData(attributes.linkinfo?.kind, attributes.linkinfo?.data),
      stats: attributes.stats && decodeStats(attributes.stats),
    };
  });
}

function decodeData(kind: string | undefined, data: Uint8Array | undefined): LinkData | undefined {
  if (data === undefined) return undefined;
  if (kind === 'vxlan') return { type: 'vxlan', vxlan: readAttributes(data, vxlanTable) };
  if (kind === 'bridge') return { type: 'bridge', bridge: readAttributes(data, bridgeTable) };
  return undefined;
}

/** struct rtnl_link_stats64 */
function decodeStats(payload: Uint8Array): LinkStats {
  const reader = new ByteReader(payload, 'little');
  const [rxPackets, txPackets, rxBytes, txBytes] = [
    reader.u64(),
    reader.u64(),
    reader.u64(),
    reader.u64(),
  ];
  reader.skip(16);
  const [rxDropped, txDropped] = [reader.u64(), reader.u64()];
  return { rxPackets, txPackets, rxBytes, txBytes, rxDropped, txDropped };
}
