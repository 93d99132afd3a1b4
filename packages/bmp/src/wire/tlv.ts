import type { ByteReader, ByteWriter } from '@causeway/wire';

/**
 * RFC 7854 section 4.4, an Information TLV; the other TLVs of BMP have the same form:
 *
 *     +-------------------------------+-------------------------------+
 *     |       Information Type        |      Information Length       |
 *     +-------------------------------+-------------------------------+
 *     |                 Information (variable)                        |
 *     +---------------------------------------------------------------+
 *
 * A TLV whose type is not in the table of its message is kept as `unknown` and written back as it was.
 */
export interface UnknownTlv {
  readonly type: 'unknown';
  readonly code: number;
  readonly value: Uint8Array;
}

/** UTF-8 text, "no requirement to terminate the string with a null". */
export interface TextTlv<Name extends string> {
  readonly type: Name;
  readonly text: string;
}

/** Which codes of a message's registry hold text, by name. */
export type TextTable<Name extends string> = Readonly<Record<Name, number>>;

export function readTextTlvs<Name extends string>(
  reader: ByteReader,
  table: TextTable<Name>,
): (TextTlv<Name> | UnknownTlv)[] {
  const names = Object.entries<number>(table);
  const found: (TextTlv<Name> | UnknownTlv)[] = [];
  while (!reader.done) {
    const code = reader.u16();
    const length = reader.u16();
    const name = names.find(([, known]) => known === code)?.[0] as Name | undefined;
    found.push(
      name === undefined
        ? { type: 'unknown', code, value: reader.bytes(length) }
        : { type: name, text: reader.text(length).replace(/\0+$/, '') },
    );
  }
  return found;
}

export function writeTextTlvs<Name extends string>(
  writer: ByteWriter,
  table: TextTable<Name>,
  tlvs: readonly (TextTlv<Name> | UnknownTlv)[],
): void {
  for (const tlv of tlvs) {
    if ('code' in tlv) {
      writer.u16(tlv.code).u16(tlv.value.length).bytes(tlv.value);
    } else {
      const text = encoder.encode(tlv.text);
      writer.u16(table[tlv.type]).u16(text.length).bytes(text);
    }
  }
}

const encoder = new TextEncoder();
