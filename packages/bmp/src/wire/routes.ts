import type { ByteReader, ByteWriter } from '@causeway/wire';
import { BmpError } from '../errors.ts';
import { BGP_TYPE, readBgpMessage } from './bgp-message.ts';
import type { PeerHeader } from './peer-header.ts';

/** RFC 7854 section 4.6: behind the per-peer header stands one whole UPDATE. */
export interface RouteMonitoring {
  readonly type: 'route-monitoring';
  readonly peer: PeerHeader;
  readonly update: Uint8Array;
}

export function readRouteMonitoring(reader: ByteReader, peer: PeerHeader): RouteMonitoring {
  return { type: 'route-monitoring', peer, update: readBgpMessage(reader, BGP_TYPE.update) };
}

/**
 * RFC 7854 section 4.7: verbatim copies of what was received. TLV 0 is a BGP message, which may be broken
 * (that is what mirroring is for) and so is not looked into; TLV 1 is a code. "The BGP Message TLV MUST occur last".
 */
const TLV = Object.freeze({ bgpMessage: 0, information: 1 });
export const MIRRORING_CODES = Object.freeze(['errored-pdu', 'messages-lost'] as const);

export type MirroringTlv =
  | { readonly type: 'bgp-message'; readonly message: Uint8Array }
  | { readonly type: 'information'; readonly code: (typeof MIRRORING_CODES)[number] | number }
  | { readonly type: 'unknown'; readonly code: number; readonly value: Uint8Array };

export interface RouteMirroring {
  readonly type: 'route-mirroring';
  readonly peer: PeerHeader;
  readonly tlvs: readonly MirroringTlv[];
}

export function readRouteMirroring(reader: ByteReader, peer: PeerHeader): RouteMirroring {
  const tlvs: MirroringTlv[] = [];
  while (!reader.done) {
    const code = reader.u16();
    const value = reader.bytes(reader.u16());
    if (code === TLV.bgpMessage) tlvs.push({ type: 'bgp-message', message: value });
    else if (code !== TLV.information) tlvs.push({ type: 'unknown', code, value });
    else if (value.length === 2) {
      const number = (value[0]! << 8) | value[1]!;
      tlvs.push({ type: 'information', code: MIRRORING_CODES[number] ?? number });
    } else {
      throw new BmpError(
        'bad-length',
        value.length,
        `an Information TLV of Route Mirroring has 2 bytes, not ${value.length}`,
        { offset: reader.offset },
      );
    }
  }
  return { type: 'route-mirroring', peer, tlvs };
}

export function writeRouteMirroring(writer: ByteWriter, { tlvs }: RouteMirroring): void {
  for (const tlv of tlvs) {
    switch (tlv.type) {
      case 'bgp-message':
        writer.u16(TLV.bgpMessage).u16(tlv.message.length).bytes(tlv.message);
        break;
      case 'information':
        writer.u16(TLV.information).u16(2);
        writer.u16(typeof tlv.code === 'number' ? tlv.code : MIRRORING_CODES.indexOf(tlv.code));
        break;
      case 'unknown':
        writer.u16(tlv.code).u16(tlv.value.length).bytes(tlv.value);
        break;
      default:
        tlv satisfies never;
    }
  }
}
