import { Address, Mac } from '@causeway/ip';
import { ByteReader, internetChecksum, pseudoHeaderSum } from '@causeway/wire';

/** A packet as a test compares it. Checksums are judged, not shown. */
export interface Packet {
  readonly source: Address;
  readonly destination: Address;
  readonly ttl: number;
  readonly protocol: number;
  /** Of the IP header (true for IPv6) and of L4; 'absent' for UDP without one or cut off. */
  readonly ipChecksum: boolean;
  readonly l4Checksum: boolean | 'absent';
  readonly sport?: number;
  readonly dport?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  /** Identifier of an echo. */
  readonly id?: number;
  /** MTU of "too big". */
  readonly mtu?: number;
  /** `flags` of "FSRPA", in that order. */
  readonly tcp?: { readonly seq: number; readonly ack: number; readonly flags: string };
  /** What an ICMP error quotes. */
  readonly quoted?: Packet;
  readonly payload: Uint8Array;
}

export interface Frame extends Packet {
  readonly sourceMac: Mac;
  readonly destinationMac: Mac;
}

const tcpFlags = (bits: number): string =>
  [...'FSRPA'].filter((_, bit) => bits & (1 << bit)).join('');

/** `complete`: false for quoted packets, whose end is cut off. */
export function dissectPacket(bytes: Uint8Array, complete = true): Packet {
  const version = bytes[0]! >> 4;
  const r = new ByteReader(bytes);
  let source: Address;
  let destination: Address;
  let ttl: number;
  let protocol: number;
  let ipChecksum = true;
  let fragmented = false;
  let length: number;
  if (version === 4) {
    const header = (bytes[0]! & 15) * 4;
    ipChecksum = internetChecksum(bytes.subarray(0, header)) === 0;
    r.skip(2);
    length = r.u16() - header;
    r.skip(2);
    fragmented = (r.u16() & 0x3fff) !== 0;
    ttl = r.u8();
    protocol = r.u8();
    r.skip(2);
    source = Address.fromBytes(r.bytes(4));
    destination = Address.fromBytes(r.bytes(4));
    r.skip(header - 20);
  } else {
    r.skip(4);
    length = r.u16();
    protocol = r.u8();
    ttl = r.u8();
    source = Address.fromBytes(r.bytes(16));
    destination = Address.fromBytes(r.bytes(16));
    while ([0, 43, 44, 60].includes(protocol)) {
      if (protocol === 44) fragmented = true;
      protocol = r.u8();
      r.skip(7);
      length -= 8;
    }
  }
  const common = { source, destination, ttl, protocol, ipChecksum };
  const l4 = r.rest().subarray(0, complete ? length : undefined);
  const v6 = version === 6;
  const intact = (pseudo: boolean): boolean | 'absent' => {
    if (!complete || fragmented) return 'absent';
    const initial = pseudo
      ? pseudoHeaderSum({
          source: Address.toBytes(source),
          destination: Address.toBytes(destination),
          protocol,
          length,
        })
      : 0;
    return internetChecksum(l4, initial) === 0;
  };
  const view = new DataView(l4.buffer, l4.byteOffset, l4.byteLength);
  if (protocol === 6 || protocol === 17 || protocol === 132) {
    if (l4.length < 4) return { ...common, l4Checksum: 'absent', payload: l4 };
    const absent =
      (protocol === 17 && l4.length >= 8 && view.getUint16(6) === 0) || protocol === 132;
    return {
      ...common,
      l4Checksum: absent ? 'absent' : intact(true),
      sport: view.getUint16(0),
      dport: view.getUint16(2),
      ...(protocol === 6 &&
        l4.length >= 20 && {
          tcp: { seq: view.getUint32(4), ack: view.getUint32(8), flags: tcpFlags(l4[13]!) },
        }),
      payload: l4.slice(protocol === 6 ? 20 : 8),
    };
  }
  if (protocol === (v6 ? 58 : 1) && l4.length >= 8) {
    const icmpType = l4[0]!;
    const error = v6 ? icmpType < 128 : [3, 4, 11, 12].includes(icmpType);
    const body = l4.slice(8);
    return {
      ...common,
      l4Checksum: intact(v6),
      icmpType,
      icmpCode: l4[1]!,
      ...(!error && { id: view.getUint16(4) }),
      ...(error && {
        mtu: v6 ? view.getUint32(4) : view.getUint16(6),
        quoted: dissectPacket(body, false),
      }),
      payload: body,
    };
  }
  return { ...common, l4Checksum: 'absent', payload: l4.slice() };
}

export function dissect(bytes: Uint8Array): Frame {
  return {
    ...dissectPacket(bytes.subarray(14)),
    destinationMac: Mac.fromBytes(bytes.subarray(0, 6)),
    sourceMac: Mac.fromBytes(bytes.subarray(6, 12)),
  };
}
