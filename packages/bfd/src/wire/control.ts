import type { DiscardReason } from '../discards.ts';
import { BfdError } from '../errors.ts';
import {
  type Diagnostic,
  type Discriminator,
  diagnosticCode,
  diagnostics,
  type Micros,
  type SessionState,
  sessionStates,
  stateCode,
} from '../values.ts';

/**
 * The mandatory section of a BFD Control packet, RFC 5880 section 4.1:
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
 *    |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
 *    +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
 *    |                       My Discriminator                        |
 *    |                      Your Discriminator                       |
 *    |                    Desired Min TX Interval                    |
 *    |                   Required Min RX Interval                    |
 *    |                 Required Min Echo RX Interval                 |
 *    +---------------------------------------------------------------+
 */
export interface ControlPacket {
  readonly diagnostic: Diagnostic;
  readonly state: SessionState;
  readonly poll: boolean;
  readonly final: boolean;
  /** The sender's BFD does not share fate with its control plane. */
  readonly controlPlaneIndependent: boolean;
  /** An authentication section follows. */
  readonly authenticated: boolean;
  readonly demand: boolean;
  readonly multiplier: number;
  /** Of the whole packet, with its authentication section. */
  readonly length: number;
  readonly myDiscriminator: Discriminator;
  /** 0: not known yet. */
  readonly yourDiscriminator: Discriminator | 0;
  readonly desiredMinTx: Micros;
  readonly requiredMinRx: Micros;
  /** 0: the sender takes no Echo packets. */
  readonly requiredMinEchoRx: Micros;
}

export type MutableControlPacket = { -readonly [K in keyof ControlPacket]: ControlPacket[K] };

export const mandatoryLength = 24;
const version = 1;
const bit = { poll: 0x20, final: 0x10, independent: 8, authenticated: 4, demand: 2, multipoint: 1 };

/** One to read into: a session's packets then cost no memory. */
export function blankControl(): MutableControlPacket {
  return {
    diagnostic: 'none',
    state: 'down',
    poll: false,
    final: false,
    controlPlaneIndependent: false,
    authenticated: false,
    demand: false,
    multiplier: 0,
    length: 0,
    myDiscriminator: 0 as Discriminator,
    yourDiscriminator: 0,
    desiredMinTx: 0 as Micros,
    requiredMinRx: 0 as Micros,
    requiredMinEchoRx: 0 as Micros,
  };
}

const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;

/**
 * Reads the first `size` bytes as a packet into `into`; returns the reason to discard it by those rules
 * of section 6.8.6 that need no session, in their order. What was read before stays in `into` then.
 */
export function readControl(
  bytes: Uint8Array,
  size: number,
  into: MutableControlPacket,
): DiscardReason | undefined {
  if (size < 4) return 'truncated';
  const first = bytes[0]!;
  const flags = bytes[1]!;
  if (first >> 5 !== version) return 'bad-version';
  into.diagnostic = diagnostics[first & 31]!;
  into.state = sessionStates[(flags >> 6) as 0 | 1 | 2 | 3];
  into.poll = (flags & bit.poll) !== 0;
  into.final = (flags & bit.final) !== 0;
  into.controlPlaneIndependent = (flags & bit.independent) !== 0;
  into.authenticated = (flags & bit.authenticated) !== 0;
  into.demand = (flags & bit.demand) !== 0;
  into.multiplier = bytes[2]!;
  into.length = bytes[3]!;
  if (into.length < (into.authenticated ? mandatoryLength + 2 : mandatoryLength))
    return 'bad-length';
  if (size < mandatoryLength) return 'truncated';
  if (into.length > size) return 'length-beyond-payload';
  if (into.multiplier === 0) return 'zero-multiplier';
  if ((flags & bit.multipoint) !== 0) return 'multipoint';
  into.myDiscriminator = u32(bytes, 4) as Discriminator;
  into.yourDiscriminator = u32(bytes, 8) as Discriminator;
  into.desiredMinTx = u32(bytes, 12) as Micros;
  into.requiredMinRx = u32(bytes, 16) as Micros;
  into.requiredMinEchoRx = u32(bytes, 20) as Micros;
  if (into.myDiscriminator === 0) return 'zero-my-discriminator';
  // "If the Your Discriminator field is zero and the State field is not Down or AdminDown, the packet
  // MUST be discarded."
  if (into.yourDiscriminator === 0 && (into.state === 'init' || into.state === 'up'))
    return 'zero-your-discriminator';
  return undefined;
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = (value >>> 16) & 0xff;
  bytes[at + 2] = (value >>> 8) & 0xff;
  bytes[at + 3] = value & 0xff;
}

/** Writes the mandatory section to the start of `bytes`, which has room for it. */
export function writeControl(packet: ControlPacket, bytes: Uint8Array): void {
  bytes[0] = (version << 5) | diagnosticCode.get(packet.diagnostic)!;
  bytes[1] =
    (stateCode[packet.state] << 6) |
    (packet.poll ? bit.poll : 0) |
    (packet.final ? bit.final : 0) |
    (packet.controlPlaneIndependent ? bit.independent : 0) |
    (packet.authenticated ? bit.authenticated : 0) |
    (packet.demand ? bit.demand : 0);
  bytes[2] = packet.multiplier;
  bytes[3] = packet.length;
  putU32(bytes, 4, packet.myDiscriminator);
  putU32(bytes, 8, packet.yourDiscriminator);
  putU32(bytes, 12, packet.desiredMinTx);
  putU32(bytes, 16, packet.requiredMinRx);
  putU32(bytes, 20, packet.requiredMinEchoRx);
}

/** A packet of its own. Throws BfdError `bad-packet` whose value is the reason to discard it. */
export function decodeControl(bytes: Uint8Array): ControlPacket {
  const packet = blankControl();
  const reason = readControl(bytes, bytes.length, packet);
  if (reason !== undefined)
    throw new BfdError('bad-packet', `the packet must be discarded: ${reason}`, { value: reason });
  return packet;
}

/** The mandatory section alone; `authenticated` and a longer length are for the caller to keep. */
export function encodeControl(packet: ControlPacket): Uint8Array {
  const bytes = new Uint8Array(mandatoryLength);
  writeControl(packet, bytes);
  return bytes;
}
