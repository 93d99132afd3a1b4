import { type Asn, RouterId } from '@causeway/bgp';
import { Address } from '@causeway/ip';
import type { ByteReader, ByteWriter } from '@causeway/wire';

/**
 * RFC 7854 section 4.2, the per-peer header, with RFC 8671 section 5 (O) and RFC 9069 section 4.2 (type 3, F):
 *
 *      0               1               2               3
 *     +---------------+---------------+---------------+---------------+
 *     |   Peer Type   |  Peer Flags   |   Peer Distinguisher (8) ...
 *     +---------------+---------------+
 *     |   Peer Address (16)                                           |
 *     |   Peer AS (4)                                                 |
 *     |   Peer BGP ID (4)                                             |
 *     |   Timestamp (seconds, 4)                                      |
 *     |   Timestamp (microseconds, 4)                                 |
 *     +---------------------------------------------------------------+
 *
 *     Flags of types 0 to 2:  V L A O - - - -      of type 3:  F - - - - - - -
 */
export const PEER_HEADER = 42;

export const PEER_TYPES = Object.freeze(['global', 'rd', 'local', 'loc-rib'] as const);
export type PeerType = (typeof PEER_TYPES)[number];

/**
 * Which of a router's tables a message speaks of. The two bits L (post-policy) and O (adj-RIB-out) of a
 * session's header, as one name; `loc` is the peer type of RFC 9069.
 */
export const RIB_VIEWS = Object.freeze([
  'in-pre',
  'in-post',
  'out-pre',
  'out-post',
  'loc',
] as const);
export type RibView = (typeof RIB_VIEWS)[number];
export type SessionView = Exclude<RibView, 'loc'>;

const FLAG = Object.freeze({ v: 0x80, l: 0x40, a: 0x20, o: 0x10, f: 0x80 });
const SESSION_VIEWS = ['in-pre', 'in-post', 'out-pre', 'out-post'] as const;

/** Header of a message about a BGP session. */
export interface SessionHeader {
  /** Instance that the session belongs to: the global one, one with a route distinguisher, or one local to the router. */
  readonly type: 'global' | 'rd' | 'local';
  readonly view: SessionView;
  /** The UPDATE's AS_PATH has 2-octet AS numbers (flag A). */
  readonly legacyAsPath: boolean;
  /** The route distinguisher, or the router's own number of the instance; 0 for the global one. */
  readonly distinguisher: bigint;
  /** Address of the router's peer. */
  readonly address: Address;
  /** AS of the router's peer. */
  readonly asn: Asn;
  readonly bgpId: RouterId;
  /** When it happened, by the router's clock: microseconds since 1970, 0 when the router does not say. */
  readonly timestamp: number;
}

/** Header of a message about a Loc-RIB (RFC 9069). */
export interface LocRibHeader {
  readonly type: 'loc-rib';
  readonly view: 'loc';
  /** Only a part of the Loc-RIB is sent (flag F). */
  readonly filtered: boolean;
  readonly distinguisher: bigint;
  /** The router's own AS and identifier. */
  readonly asn: Asn;
  readonly bgpId: RouterId;
  readonly timestamp: number;
}

export type PeerHeader = SessionHeader | LocRibHeader;

/** The peer type of a frame, known or not; the frame must have a per-peer header. */
export const isKnownPeerType = (code: number): boolean => code < PEER_TYPES.length;

/** Reads 42 bytes. The peer type must be a known one. */
export function readPeerHeader(reader: ByteReader): PeerHeader {
  const type = PEER_TYPES[reader.u8()]!;
  const flags = reader.u8();
  const distinguisher = reader.u64();
  const address = reader.bytes(16);
  // Not `Asn.of`: zero is what some routers say of a table that has no AS of its own.
  const asn = reader.u32() as Asn;
  const bgpId = RouterId.fromNumber(reader.u32());
  // More microseconds than a second has are some router's mistake, not worth the message.
  const timestamp = reader.u32() * 1_000_000 + Math.min(reader.u32(), 999_999);
  if (type === 'loc-rib') {
    const filtered = (flags & FLAG.f) !== 0;
    return { type, view: 'loc', filtered, distinguisher, asn, bgpId, timestamp };
  }
  return {
    type,
    view: SESSION_VIEWS[((flags & FLAG.o) === 0 ? 0 : 2) + ((flags & FLAG.l) === 0 ? 0 : 1)]!,
    legacyAsPath: (flags & FLAG.a) !== 0,
    distinguisher,
    address: addressOf(address, (flags & FLAG.v) !== 0),
    asn,
    bgpId,
    timestamp,
  };
}

function flagsOf(header: PeerHeader): number {
  if (header.type === 'loc-rib') return header.filtered ? FLAG.f : 0;
  return (
    (Address.isIPv6(header.address) ? FLAG.v : 0) |
    (header.view.endsWith('-post') ? FLAG.l : 0) |
    (header.legacyAsPath ? FLAG.a : 0) |
    (header.view.startsWith('out-') ? FLAG.o : 0)
  );
}

export function writePeerHeader(writer: ByteWriter, header: PeerHeader): void {
  writer.u8(PEER_TYPES.indexOf(header.type)).u8(flagsOf(header)).u64(header.distinguisher);
  // RFC 9069 section 4.1: "The Peer Address field MUST be zero-filled."
  writeAddress(writer, header.type === 'loc-rib' ? undefined : header.address);
  writer.u32(header.asn).u32(RouterId.toNumber(header.bgpId));
  writer.u32(Math.floor(header.timestamp / 1_000_000)).u32(header.timestamp % 1_000_000);
}

/** Sixteen bytes: IPv6, or "12 bytes of zero" and IPv4, which flag V tells apart. */
export function addressOf(bytes: Uint8Array, v6: boolean): Address {
  return Address.fromBytes(v6 ? bytes : bytes.subarray(12));
}

export function writeAddress(writer: ByteWriter, address: Address | undefined): void {
  const bytes = address === undefined ? undefined : Address.toBytes(address);
  writer.zeros(16 - (bytes?.length ?? 0));
  if (bytes !== undefined) writer.bytes(bytes);
}
