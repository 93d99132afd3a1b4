export {
  internetChecksum,
  onesSum,
  type PseudoHeader,
  pseudoHeaderSum,
  updateChecksum,
  updateChecksumBytes,
} from './src/checksum.ts';
export { WireError, type WireErrorCode } from './src/errors.ts';
export { hash32 } from './src/hash.ts';
export { ByteReader, type Endian } from './src/reader.ts';
export { ByteWriter } from './src/writer.ts';
