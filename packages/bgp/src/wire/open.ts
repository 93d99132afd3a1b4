/**
 * RFC 4271 section 4.2:
 *
 *     version (1) | my AS (2) | hold time (2) | BGP identifier (4) | parameters' length (1) | parameters
 *
 * with parameters of type (1), length (1), value; or, RFC 9072, length and first type 255, then a length of two
 * octets and parameters with lengths of two octets.
 */
import { ByteReader, ByteWriter, WireError } from '@causeway/wire';
import { BgpError } from '../errors.ts';
import { Asn, RouterId } from '../types.ts';
import { type Capability, decodeCapability, encodeCapability } from './capabilities.ts';
import { frame, MessageType } from './message.ts';
import { ErrorCode, notification } from './notification.ts';

export interface OpenMessage {
  readonly version: number;
  /** The 2-octet field: AS_TRANS when the number does not fit. `openAsn` gives the real one. */
  readonly myAs: number;
  /** Seconds. */
  readonly holdTime: number;
  readonly routerId: RouterId;
  readonly capabilities: readonly Capability[];
}

/** OPEN Message Error subcodes (RFC 4271 section 6.2). */
export const OpenSubcode = Object.freeze({
  unspecific: 0,
  version: 1,
  peerAs: 2,
  identifier: 3,
  parameter: 4,
  holdTime: 6,
  capability: 7,
} as const);

export function openError(
  subcode: number,
  message: string,
  details: { value?: unknown; offset?: number; data?: Uint8Array; cause?: unknown } = {},
): BgpError {
  const { data, ...rest } = details;
  return new BgpError('open-error', message, {
    ...rest,
    notification: notification(ErrorCode.open, subcode, data),
  });
}

/** RFC 6793 section 4.1: the number in the capability counts, when there is one. */
export function openAsn(open: OpenMessage): Asn {
  const wide = open.capabilities.find((one) => one.type === 'four-octet-as');
  return wide?.type === 'four-octet-as' ? wide.asn : (open.myAs as Asn);
}

const capabilitiesParameter = 2;
const extended = 255;

/** Throws BgpError `open-error`. What depends on who the neighbour should be is checked by the session. */
export function decodeOpen(body: Uint8Array): OpenMessage {
  try {
    return decode(body);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw openError(
      OpenSubcode.unspecific,
      `the OPEN's parameters do not add up: ${error.message}`,
      {
        offset: error.offset,
        cause: error,
      },
    );
  }
}

function decode(body: Uint8Array): OpenMessage {
  const reader = new ByteReader(body);
  const version = reader.u8();
  if (version !== 4) {
    throw openError(OpenSubcode.version, `BGP version ${version}, not 4`, {
      value: version,
      offset: 0,
      // "the largest, locally-supported version number less than the version the remote BGP peer bid"
      data: Uint8Array.of(0, 4),
    });
  }
  const myAs = reader.u16();
  const holdTime = reader.u16();
  const id = reader.u32();
  const capabilities = parameters(reader);
  const open = { version, myAs, holdTime, routerId: RouterId.fromNumber(id), capabilities };
  const asn = openAsn(open);
  if (asn === 0) {
    // RFC 7607 section 2.
    throw openError(OpenSubcode.peerAs, 'AS number 0', { value: 0, offset: 1 });
  }
  if (holdTime === 1 || holdTime === 2) {
    throw openError(OpenSubcode.holdTime, `a hold time of ${holdTime} s: 0, or at least 3`, {
      value: holdTime,
      offset: 3,
    });
  }
  if (id === 0) {
    // RFC 6286 section 2.1.
    throw openError(OpenSubcode.identifier, 'BGP identifier 0.0.0.0', { value: id, offset: 5 });
  }
  return open;
}

function parameters(reader: ByteReader): Capability[] {
  let length = reader.u8();
  // RFC 9072 section 2: both must be 255; a type of 255 in a list of another length is just unknown.
  const wide = length === extended && !reader.done && reader.peek() === extended;
  if (wide) {
    reader.skip(1);
    length = reader.u16();
  }
  const list = reader.sub(length);
  reader.end();
  const capabilities: Capability[] = [];
  while (!list.done) {
    const at = list.offset;
    const type = list.u8();
    const value = list.sub(wide ? list.u16() : list.u8());
    if (type !== capabilitiesParameter) {
      throw openError(OpenSubcode.parameter, `optional parameter ${type}`, {
        value: type,
        offset: at,
      });
    }
    while (!value.done) {
      const code = value.u8();
      capabilities.push(decodeCapability(code, value.bytes(value.u8())));
    }
  }
  return capabilities;
}

/** The whole message: one parameter with all capabilities, in RFC 9072's form when they need it. */
export function encodeOpen(open: OpenMessage): Uint8Array {
  const list = new ByteWriter();
  for (const capability of open.capabilities) list.bytes(encodeCapability(capability));
  const capabilities = list.finish();
  const writer = new ByteWriter();
  writer.u8(open.version).u16(open.myAs).u16(open.holdTime).u32(RouterId.toNumber(open.routerId));
  if (capabilities.length === 0) {
    writer.u8(0);
  } else if (capabilities.length <= 253) {
    writer
      .u8(capabilities.length + 2)
      .u8(capabilitiesParameter)
      .u8(capabilities.length);
  } else {
    writer
      .u8(extended)
      .u8(extended)
      .u16(capabilities.length + 3);
    writer.u8(capabilitiesParameter).u16(capabilities.length);
  }
  writer.bytes(capabilities);
  return frame(MessageType.open, writer.finish());
}

/** The 2-octet field for a number. */
export function myAsField(asn: Asn): number {
  return Asn.fitsTwoOctets(asn) ? asn : Asn.trans;
}
