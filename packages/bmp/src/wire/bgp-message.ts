import type { ByteReader } from '@causeway/wire';
import { BmpError } from '../errors.ts';

/**
 * BGP messages travel whole in BMP, with marker, length and type (RFC 4271 section 4.1). Here they are only
 * cut out; what they say is for @causeway/bgp.
 */
export const BGP_HEADER = 19;
export const BGP_TYPE = Object.freeze({ open: 1, update: 2, notification: 3 });

/** A view of the next BGP message, header and all. Throws `bad-bgp-message`. */
export function readBgpMessage(reader: ByteReader, type: number): Uint8Array {
  const { offset } = reader;
  const header = reader.bytes(BGP_HEADER);
  for (let i = 0; i < 16; i += 1) {
    if (header[i] !== 0xff) {
      throw new BmpError(
        'bad-bgp-message',
        header[i],
        `the marker of the BGP message at offset ${offset} has a byte of ${header[i]}, not 255`,
        { offset: offset + i },
      );
    }
  }
  const length = (header[16]! << 8) | header[17]!;
  if (length < BGP_HEADER) {
    throw new BmpError(
      'bad-bgp-message',
      length,
      `the BGP message at offset ${offset} says that it has ${length} bytes`,
      { offset: offset + 16 },
    );
  }
  if (header[18] !== type) {
    throw new BmpError(
      'bad-bgp-message',
      header[18],
      `the BGP message at offset ${offset} has type ${header[18]}, not ${type}`,
      { offset: offset + 18 },
    );
  }
  const body = reader.bytes(length - BGP_HEADER);
  return new Uint8Array(header.buffer, header.byteOffset, BGP_HEADER + body.length);
}
