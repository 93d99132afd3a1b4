import type { ByteReader, ByteWriter } from '@causeway/wire';
import { BmpError } from '../errors.ts';
import { readTextTlvs, type TextTlv, type UnknownTlv, writeTextTlvs } from './tlv.ts';

/** RFC 7854 section 4.3: the first message of a feed. IANA, BMP Initiation Information TLVs. */
const INITIATION = Object.freeze({ string: 0, sysDescr: 1, sysName: 2, adminLabel: 4 });
export type InitiationTlv = TextTlv<keyof typeof INITIATION> | UnknownTlv;

export interface Initiation {
  readonly type: 'initiation';
  readonly information: readonly InitiationTlv[];
}

export function readInitiation(reader: ByteReader): Initiation {
  return { type: 'initiation', information: readTextTlvs(reader, INITIATION) };
}

export function writeInitiation(writer: ByteWriter, { information }: Initiation): void {
  writeTextTlvs(writer, INITIATION, information);
}

/**
 * RFC 7854 section 4.5: the last message of a feed. IANA, BMP Termination Message TLVs: 0 text, 1 a reason of
 * two bytes.
 */
export const TERMINATION_REASONS = Object.freeze([
  'administratively-closed',
  'unspecified',
  'out-of-resources',
  'redundant-connection',
  'permanently-administratively-closed',
] as const);
export type TerminationReason = (typeof TERMINATION_REASONS)[number];

const TERMINATION = Object.freeze({ string: 0 });
const REASON = 1;

export interface Termination {
  readonly type: 'termination';
  /** A number where the registry has no name for it. */
  readonly reason?: TerminationReason | number;
  readonly information: readonly (TextTlv<'string'> | UnknownTlv)[];
}

export function readTermination(reader: ByteReader): Termination {
  const all = readTextTlvs(reader, TERMINATION);
  const tlv = all.find((one) => one.type === 'unknown' && one.code === REASON);
  if (tlv === undefined || tlv.type !== 'unknown') return { type: 'termination', information: all };
  if (tlv.value.length !== 2) {
    throw new BmpError(
      'bad-length',
      tlv.value.length,
      `a reason for termination has 2 bytes, not ${tlv.value.length}`,
    );
  }
  const code = (tlv.value[0]! << 8) | tlv.value[1]!;
  return {
    type: 'termination',
    reason: TERMINATION_REASONS[code] ?? code,
    information: all.filter((one) => one !== tlv),
  };
}

export function writeTermination(writer: ByteWriter, message: Termination): void {
  writeTextTlvs(writer, TERMINATION, message.information);
  if (message.reason === undefined) return;
  const { reason } = message;
  writer.u16(REASON).u16(2);
  writer.u16(typeof reason === 'number' ? reason : TERMINATION_REASONS.indexOf(reason));
}
