import { as4PathOf, fitsTwoOctets, readAsPath, writeAsPath } from './as-path.ts';
import { AttributeFlag } from './attribute-table.ts';

interface Slice {
  readonly flags: number;
  readonly type: number;
  /** Of the header. */
  readonly from: number;
  readonly start: number;
  readonly end: number;
}

function* slices(bytes: Uint8Array): Generator<Slice> {
  let at = 0;
  while (at < bytes.length) {
    const flags = bytes[at]!;
    const extended = flags & AttributeFlag.extendedLength;
    const length = extended ? (bytes[at + 2]! << 8) | bytes[at + 3]! : bytes[at + 2]!;
    const start = at + (extended ? 4 : 3);
    yield { flags, type: bytes[at + 1]!, from: at, start, end: start + length };
    at = start + length;
  }
}

/** RFC 6793 section 4.2.2: the same attributes for a neighbour that has two octets for an AS. */
export function narrow(attributes: Uint8Array): Uint8Array {
  const out: number[] = [];
  const later: { type: number; value: Uint8Array }[] = [];
  const put = (flags: number, type: number, value: Uint8Array) => {
    const long = value.length > 255;
    const plain = flags & ~AttributeFlag.extendedLength;
    out.push(long ? plain | AttributeFlag.extendedLength : plain, type);
    if (long) out.push(value.length >>> 8);
    out.push(value.length & 255, ...value);
  };
  for (const { flags, type, from, start, end } of slices(attributes)) {
    const next = later[0];
    if (next !== undefined && type > next.type) {
      for (const { type: t, value } of later.splice(0)) put(0xc0, t, value);
    }
    if (type === 2) {
      const path = readAsPath(attributes, start, end, 4);
      put(flags, type, writeAsPath(path, 2));
      if (!fitsTwoOctets(path)) later.push({ type: 17, value: writeAsPath(as4PathOf(path), 4) });
    } else if (type === 7) {
      const wide = attributes[start] !== 0 || attributes[start + 1] !== 0;
      const asn = wide ? [23456 >>> 8, 23456 & 255] : attributes.subarray(start + 2, start + 4);
      put(flags, type, Uint8Array.from([...asn, ...attributes.subarray(start + 4, end)]));
      if (wide) later.push({ type: 18, value: attributes.slice(start, end) });
    } else {
      for (let i = from; i < end; i++) out.push(attributes[i]!);
    }
  }
  for (const { type, value } of later) put(0xc0, type, value);
  return Uint8Array.from(out);
}
