import { ByteReader, ByteWriter, WireError } from '@causeway/wire';
import { BmpError } from '../errors.ts';
import { COMMON_HEADER, MESSAGE_TYPE, VERSION } from './framer.ts';
import { type PeerDown, readPeerDown, writePeerDown } from './peer-down.ts';
import {
  isKnownPeerType,
  type PeerHeader,
  readPeerHeader,
  writePeerHeader,
} from './peer-header.ts';
import { type PeerUp, readPeerUp, writePeerUp } from './peer-up.ts';
import {
  type RouteMirroring,
  type RouteMonitoring,
  readRouteMirroring,
  readRouteMonitoring,
  writeRouteMirroring,
} from './routes.ts';
import {
  type Initiation,
  readInitiation,
  readTermination,
  type Termination,
  writeInitiation,
  writeTermination,
} from './session-information.ts';
import { readStatistics, type StatisticsReport, writeStatistics } from './statistics.ts';

/** A message or peer type that is not in the registries known here; RFC 7854 section 4.1 has it ignored. */
export interface UnknownMessage {
  readonly type: 'unknown';
  readonly messageType: number;
  /** Everything behind the common header. */
  readonly body: Uint8Array;
}

/** Messages that have a per-peer header. */
export type PeerMessage = RouteMonitoring | StatisticsReport | PeerDown | PeerUp | RouteMirroring;
export type BmpMessage = PeerMessage | Initiation | Termination | UnknownMessage;

type Row = readonly [code: number, read: (reader: ByteReader, peer: PeerHeader) => PeerMessage];

const peerMessages: readonly Row[] = [
  [MESSAGE_TYPE.routeMonitoring, readRouteMonitoring],
  [MESSAGE_TYPE.statisticsReport, readStatistics],
  [MESSAGE_TYPE.peerDown, readPeerDown],
  [MESSAGE_TYPE.peerUp, readPeerUp],
  [MESSAGE_TYPE.routeMirroring, readRouteMirroring],
];
const readers = new Map(peerMessages);

/**
 * Decodes one frame of the framer's. Byte fields are views of the frame. Throws BmpError with the offset in
 * the message.
 */
export function decodeMessage(frame: Uint8Array): BmpMessage {
  const reader = new ByteReader(frame);
  try {
    reader.skip(COMMON_HEADER - 1);
    const messageType = reader.u8();
    const message = decodeBody(messageType, reader);
    reader.end();
    return message;
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    const code = cause.code === 'trailing-bytes' ? 'trailing-bytes' : 'truncated';
    throw new BmpError(code, cause.wanted, `${nameOf(frame[5])}: ${cause.message}`, {
      offset: cause.offset,
      cause,
    });
  }
}

function decodeBody(messageType: number, reader: ByteReader): BmpMessage {
  if (messageType === MESSAGE_TYPE.initiation) return readInitiation(reader);
  if (messageType === MESSAGE_TYPE.termination) return readTermination(reader);
  const read = readers.get(messageType);
  if (read === undefined || !isKnownPeerType(reader.peek())) {
    return { type: 'unknown', messageType, body: reader.rest() };
  }
  return read(reader, readPeerHeader(reader));
}

const names = new Map<number | undefined, string>(
  Object.entries(MESSAGE_TYPE).map(([name, code]) => [code, name]),
);
const nameOf = (code: number | undefined): string => names.get(code) ?? `message of type ${code}`;

/** The whole message with its common header. Throws BmpError `out-of-range`. */
export function encodeMessage(message: BmpMessage): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter('big', 256);
  writer.u8(VERSION).u32(0).u8(typeOf(message));
  try {
    if ('peer' in message) writePeerHeader(writer, message.peer);
    writeBody(writer, message);
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new BmpError('out-of-range', cause.wanted, `${message.type}: ${cause.message}`, {
      offset: cause.offset,
      cause,
    });
  }
  return writer.patchU32(1, writer.length).finish();
}

function typeOf(message: BmpMessage): number {
  switch (message.type) {
    case 'route-monitoring':
      return MESSAGE_TYPE.routeMonitoring;
    case 'statistics':
      return MESSAGE_TYPE.statisticsReport;
    case 'peer-down':
      return MESSAGE_TYPE.peerDown;
    case 'peer-up':
      return MESSAGE_TYPE.peerUp;
    case 'initiation':
      return MESSAGE_TYPE.initiation;
    case 'termination':
      return MESSAGE_TYPE.termination;
    case 'route-mirroring':
      return MESSAGE_TYPE.routeMirroring;
    case 'unknown':
      return message.messageType;
    default:
      return message satisfies never;
  }
}

function writeBody(writer: ByteWriter, message: BmpMessage): void {
  switch (message.type) {
    case 'route-monitoring':
      writer.bytes(message.update);
      return;
    case 'statistics':
      writeStatistics(writer, message);
      return;
    case 'peer-down':
      writePeerDown(writer, message);
      return;
    case 'peer-up':
      writePeerUp(writer, message);
      return;
    case 'initiation':
      writeInitiation(writer, message);
      return;
    case 'termination':
      writeTermination(writer, message);
      return;
    case 'route-mirroring':
      writeRouteMirroring(writer, message);
      return;
    case 'unknown':
      writer.bytes(message.body);
      return;
    default:
      message satisfies never;
  }
}
