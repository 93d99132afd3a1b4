import type { Address } from '@causeway/ip';
import type { ByteReader, ByteWriter } from '@causeway/wire';
import { BGP_TYPE, readBgpMessage } from './bgp-message.ts';
import { addressOf, type PeerHeader, writeAddress } from './peer-header.ts';
import { readTextTlvs, type TextTlv, type UnknownTlv, writeTextTlvs } from './tlv.ts';

/**
 * RFC 7854 section 4.10, behind the per-peer header:
 *
 *     +---------------------------------------------------------------+
 *     |                 Local Address (16 bytes)                      |
 *     +-------------------------------+-------------------------------+
 *     |         Local Port            |        Remote Port            |
 *     +-------------------------------+-------------------------------+
 *     |                    Sent OPEN Message                          |
 *     |                    Received OPEN Message                      |
 *     |                    Information (variable)                     |
 *     +---------------------------------------------------------------+
 *
 * The Information TLVs have a registry of their own since RFC 9736; VRF/Table Name is RFC 9069's.
 */
const PEER_UP = Object.freeze({ string: 0, tableName: 3, adminLabel: 4 });
export type PeerUpTlv = TextTlv<keyof typeof PEER_UP> | UnknownTlv;

export interface PeerUp {
  readonly type: 'peer-up';
  readonly peer: PeerHeader;
  /** The router's end of the session; undefined for a Loc-RIB. */
  readonly localAddress?: Address;
  readonly localPort: number;
  readonly remotePort: number;
  /** Whole OPEN messages; those of a Loc-RIB are made up (RFC 9069 section 4.4). */
  readonly sentOpen: Uint8Array;
  readonly receivedOpen: Uint8Array;
  readonly information: readonly PeerUpTlv[];
}

export function readPeerUp(reader: ByteReader, peer: PeerHeader): PeerUp {
  const local = reader.bytes(16);
  return {
    type: 'peer-up',
    peer,
    // The V flag speaks of both ends (RFC 7854 section 4.10).
    ...(peer.type === 'loc-rib'
      ? {}
      : { localAddress: addressOf(local, peer.address.includes(':')) }),
    localPort: reader.u16(),
    remotePort: reader.u16(),
    sentOpen: readBgpMessage(reader, BGP_TYPE.open),
    receivedOpen: readBgpMessage(reader, BGP_TYPE.open),
    information: readTextTlvs(reader, PEER_UP),
  };
}

export function writePeerUp(writer: ByteWriter, message: PeerUp): void {
  writeAddress(writer, message.localAddress);
  writer.u16(message.localPort).u16(message.remotePort);
  writer.bytes(message.sentOpen).bytes(message.receivedOpen);
  writeTextTlvs(writer, PEER_UP, message.information);
}
