import type { ByteReader, ByteWriter } from '@causeway/wire';
import { BGP_TYPE, readBgpMessage } from './bgp-message.ts';
import type { PeerHeader } from './peer-header.ts';
import { readTextTlvs, type TextTlv, type UnknownTlv, writeTextTlvs } from './tlv.ts';

/**
 * RFC 7854 section 4.9, behind the per-peer header: a reason of one byte and data that depend on it.
 * "Local" is the monitored router. Reason 6 is RFC 9069's.
 */
const REASON = Object.freeze({
  localNotification: 1,
  localEvent: 2,
  remoteNotification: 3,
  remoteClosed: 4,
  deconfigured: 5,
  localTlvs: 6,
});

/** RFC 9069 section 4.3: the table that a Loc-RIB's Peer Down speaks of. */
const DOWN_TLV = Object.freeze({ tableName: 3 });

export type PeerDownReason =
  /** The router closed the session and sent this NOTIFICATION (whole message). */
  | { readonly type: 'local-notification'; readonly notification: Uint8Array }
  /** The router closed without NOTIFICATION; `event` is the FSM's (RFC 4271 section 8.1), 0 if none fits. */
  | { readonly type: 'local-event'; readonly event: number }
  /** The peer closed with this NOTIFICATION. */
  | { readonly type: 'remote-notification'; readonly notification: Uint8Array }
  /** The peer closed, or the connection broke, without NOTIFICATION. */
  | { readonly type: 'remote-closed' }
  /** The session may be well: the router was told to speak of it no more. */
  | { readonly type: 'deconfigured' }
  /** RFC 9069: the router closed the Loc-RIB. */
  | {
      readonly type: 'local-tlvs';
      readonly information: readonly (TextTlv<'tableName'> | UnknownTlv)[];
    }
  /** A reason that has no meaning here. */
  | { readonly type: 'unknown'; readonly code: number; readonly data: Uint8Array };

export interface PeerDown {
  readonly type: 'peer-down';
  readonly peer: PeerHeader;
  readonly reason: PeerDownReason;
}

export function readPeerDown(reader: ByteReader, peer: PeerHeader): PeerDown {
  return { type: 'peer-down', peer, reason: readReason(reader) };
}

function readReason(reader: ByteReader): PeerDownReason {
  const code = reader.u8();
  switch (code) {
    case REASON.localNotification:
      return { type: 'local-notification', notification: notification(reader) };
    case REASON.localEvent:
      return { type: 'local-event', event: reader.u16() };
    case REASON.remoteNotification:
      return { type: 'remote-notification', notification: notification(reader) };
    case REASON.remoteClosed:
      return { type: 'remote-closed' };
    case REASON.deconfigured:
      return { type: 'deconfigured' };
    case REASON.localTlvs:
      return { type: 'local-tlvs', information: readTextTlvs(reader, DOWN_TLV) };
    default:
      return { type: 'unknown', code, data: reader.rest() };
  }
}

const notification = (reader: ByteReader) => readBgpMessage(reader, BGP_TYPE.notification);

export function writePeerDown(writer: ByteWriter, { reason }: PeerDown): void {
  switch (reason.type) {
    case 'local-notification':
      writer.u8(REASON.localNotification).bytes(reason.notification);
      return;
    case 'local-event':
      writer.u8(REASON.localEvent).u16(reason.event);
      return;
    case 'remote-notification':
      writer.u8(REASON.remoteNotification).bytes(reason.notification);
      return;
    case 'remote-closed':
      writer.u8(REASON.remoteClosed);
      return;
    case 'deconfigured':
      writer.u8(REASON.deconfigured);
      return;
    case 'local-tlvs':
      writeTextTlvs(writer.u8(REASON.localTlvs), DOWN_TLV, reason.information);
      return;
    case 'unknown':
      writer.u8(reason.code).bytes(reason.data);
      return;
    default:
      reason satisfies never;
  }
}
