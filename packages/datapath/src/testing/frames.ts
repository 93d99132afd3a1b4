import { Address, Mac } from '@causeway/ip';
import { ByteWriter, internetChecksum, pseudoHeaderSum } from '@causeway/wire';

/** What stands behind the IP header of a frame to build. Checksums are filled in. */
export type Payload =
  | {
      readonly type: 'tcp';
      readonly sport: number;
      readonly dport: number;
      /** Of "SAFR". */
      readonly flags?: string;
      readonly data?: Uint8Array;
    }
  | {
      readonly type: 'udp';
      readonly sport: number;
      readonly dport: number;
      readonly data?: Uint8Array;
      /** Zero: the sender computed none (IPv4). */
      readonly checksum?: 'zero';
    }
  | {
      readonly type: 'echo';
      readonly id: number;
      readonly reply?: boolean;
      readonly data?: Uint8Array;
    }
  | {
      readonly type: 'icmp';
      readonly icmpType: number;
      readonly code?: number;
      /** The second word of the header: MTU, or unused. */
      readonly word?: number;
      /** A quoted packet without its Ethernet header, or any body. */
      readonly body: Uint8Array;
    }
  | { readonly type: 'raw'; readonly protocol: number; readonly data: Uint8Array };

export interface FrameSpec {
  readonly source: Address;
  readonly destination: Address;
  readonly payload: Payload;
  readonly ttl?: number;
  readonly dontFragment?: boolean;
  /** `offset` in bytes, a multiple of 8; `part` cuts the L4 bytes to this range. */
  readonly fragment?: {
    readonly id: number;
    readonly offset: number;
    readonly more: boolean;
    readonly length: number;
  };
  /** IPv6: [type, length in bytes] of extension headers in order; IPv4: bytes of options. */
  readonly extensions?: readonly number[];
  readonly ipv4Options?: number;
  readonly sourceMac?: Mac;
  readonly destinationMac?: Mac;
}

const TCP_FLAGS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16 };
const ZERO = new Uint8Array(0);

function protocolOf(payload: Payload, v6: boolean): number {
  switch (payload.type) {
    case 'tcp':
      return 6;
    case 'udp':
      return 17;
    case 'echo':
    case 'icmp':
      return v6 ? 58 : 1;
    case 'raw':
      return payload.protocol;
    default:
      return payload satisfies never;
  }
}

function encodePayload(spec: FrameSpec, v6: boolean): Uint8Array {
  const { payload } = spec;
  const w = new ByteWriter();
  let checksumAt: number;
  switch (payload.type) {
    case 'tcp': {
      const flags = [...(payload.flags ?? 'A')].reduce((sum, each) => sum | TCP_FLAGS[each]!, 0);
      w.u16(payload.sport).u16(payload.dport).u32(1).u32(1).u8(0x50).u8(flags).u16(1000);
      w.u16(0)
        .u16(0)
        .bytes(payload.data ?? ZERO);
      checksumAt = 16;
      break;
    }
    case 'udp': {
      const data = payload.data ?? ZERO;
      w.u16(payload.sport)
        .u16(payload.dport)
        .u16(8 + data.length)
        .u16(0)
        .bytes(data);
      if (payload.checksum === 'zero') return w.finish();
      checksumAt = 6;
      break;
    }
    case 'echo': {
      const type = v6 ? (payload.reply ? 129 : 128) : payload.reply ? 0 : 8;
      w.u8(type).u8(0).u16(0).u16(payload.id).u16(1);
      w.bytes(payload.data ?? Uint8Array.of(1, 2, 3, 4));
      checksumAt = 2;
      break;
    }
    case 'icmp':
      w.u8(payload.icmpType)
        .u8(payload.code ?? 0)
        .u16(0)
        .u32(payload.word ?? 0)
        .bytes(payload.body);
      checksumAt = 2;
      break;
    case 'raw':
      return payload.data;
    default:
      return payload satisfies never;
  }
  const bytes = w.finish();
  const noPseudo = !v6 && (payload.type === 'echo' || payload.type === 'icmp');
  const initial = noPseudo
    ? 0
    : pseudoHeaderSum({
        source: Address.toBytes(spec.source),
        destination: Address.toBytes(spec.destination),
        protocol: protocolOf(payload, v6),
        length: bytes.length,
      });
  const sum = internetChecksum(bytes, initial);
  // RFC 768: a computed zero is sent as all ones.
  const sent = sum === 0 && payload.type === 'udp' ? 0xffff : sum;
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(checksumAt, sent);
  return bytes;
}

/** An Ethernet frame. */
export function frame(spec: FrameSpec): Uint8Array {
  const v6 = Address.isIPv6(spec.source);
  const whole = encodePayload(spec, v6);
  const { fragment } = spec;
  const l4 = fragment ? whole.subarray(fragment.offset, fragment.offset + fragment.length) : whole;
  const protocol = protocolOf(spec.payload, v6);
  const w = new ByteWriter();
  w.bytes(Mac.toBytes(spec.destinationMac ?? Mac.parse('02:00:00:00:00:02')));
  w.bytes(Mac.toBytes(spec.sourceMac ?? Mac.parse('02:00:00:00:00:01')));
  w.u16(v6 ? 0x86dd : 0x0800);
  if (v6) {
    const extensions = [...(spec.extensions ?? []), ...(fragment ? [44] : [])];
    const chain = [...extensions, protocol];
    w.u32(0x6000_0000).u16(extensions.length * 8 + l4.length);
    w.u8(chain[0]!).u8(spec.ttl ?? 64);
    w.bytes(Address.toBytes(spec.source)).bytes(Address.toBytes(spec.destination));
    extensions.forEach((type, index) => {
      w.u8(chain[index + 1]!).u8(0);
      if (type === 44 && fragment) w.u16(fragment.offset | Number(fragment.more)).u32(fragment.id);
      else if (type === 44) w.u16(0).u32(1);
      else w.u16(0x0104).u32(0); // PadN of four
    });
    return w.bytes(l4).finish();
  }
  const options = spec.ipv4Options ?? 0;
  const start = 14;
  w.u8(0x45 + options / 4)
    .u8(0)
    .u16(20 + options + l4.length);
  w.u16(fragment?.id ?? 0x1234);
  w.u16(
    (spec.dontFragment ? 0x4000 : 0) |
      (fragment ? (fragment.more ? 0x2000 : 0) | (fragment.offset >> 3) : 0),
  );
  w.u8(spec.ttl ?? 64)
    .u8(protocol)
    .u16(0);
  w.bytes(Address.toBytes(spec.source)).bytes(Address.toBytes(spec.destination));
  for (let i = 0; i < options; i++) w.u8(1); // no operation
  const bytes = w.bytes(l4).finish();
  const header = bytes.subarray(start, start + 20 + options);
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(start + 10, internetChecksum(header));
  return bytes;
}

/** A frame's IP packet: what an ICMP error quotes of it. */
export const packetOf = (bytes: Uint8Array, length = 28): Uint8Array =>
  bytes.slice(14, 14 + length);

const arpMac = Mac.parse('02:00:00:00:00:01');

export function arpRequest(sender: Address, target: Address, mac: Mac = arpMac): Uint8Array {
  const w = new ByteWriter();
  w.bytes(new Uint8Array(6).fill(0xff)).bytes(Mac.toBytes(mac)).u16(0x0806);
  w.u16(1).u16(0x0800).u8(6).u8(4).u16(1);
  w.bytes(Mac.toBytes(mac)).bytes(Address.toBytes(sender));
  return w.zeros(6).bytes(Address.toBytes(target)).finish();
}

export function neighbourSolicitation(source: Address, target: Address, ttl = 255): Uint8Array {
  const body = new Uint8Array(24);
  body.set(Address.toBytes(target));
  body.set([1, 1, 2, 0, 0, 0, 0, 1], 16);
  return frame({
    source,
    destination: Address.parse('ff02::1:ff00:1'),
    ttl,
    payload: { type: 'icmp', icmpType: 135, body },
  });
}
