import { Address, Prefix } from '@causeway/ip';
import { MeshError } from '../errors.ts';
import { GoObject } from './go-json.ts';

/** Go's net.IPMask: base64 of the raw bytes. `/24` is `////AA==`. */
export function encodeMask(prefix: Prefix): string {
  const bytes = new Uint8Array(Prefix.family(prefix) === 'ipv4' ? 4 : 16);
  let left = Prefix.length(prefix);
  for (let i = 0; i < bytes.length && left > 0; i++, left -= 8) {
    bytes[i] = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff;
  }
  return bytes.toBase64();
}

/** The length of a mask of the given width in bits. */
export function decodeMask(text: string, width: number, path: string): number {
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.fromBase64(text, { lastChunkHandling: 'strict' });
  } catch {
    throw new MeshError('bad-value', `${path} is not base64`, text, path);
  }
  if (bytes.length * 8 !== width) {
    throw new MeshError(
      'bad-value',
      `${path} has ${bytes.length} bytes where the address has ${width / 8}`,
      text,
      path,
    );
  }
  let length = 0;
  let ended = false;
  for (const byte of bytes) {
    const ones = Math.clz32(~(byte << 24));
    const contiguous = ((0xff << (8 - ones)) & 0xff) === byte && !(ended && ones > 0);
    if (!contiguous) throw new MeshError('bad-value', `${path} is not a mask`, text, path);
    if (ones < 8) ended = true;
    length += ones;
  }
  return length;
}

/** `{"IP":"10.77.4.0","Mask":"////AA=="}`, or null. */
export function encodeCidr(prefix: Prefix | undefined): { IP: string; Mask: string } | null {
  if (prefix === undefined) return null;
  return { IP: Prefix.address(prefix), Mask: encodeMask(prefix) };
}

/** A CIDR written as text is refused: Cilium's readers fail on it too. */
export function decodeCidr(value: unknown, path: string): Prefix | undefined {
  if (value === undefined || value === null) return undefined;
  const object = GoObject.of(value, path);
  const address = requireAddress(object.string('IP'), object.at('IP'));
  const mask = object.string('Mask');
  return Prefix.from(
    address,
    decodeMask(mask, Address.width(Address.family(address)), object.at('Mask')),
  );
}

export function requireAddress(text: string, path: string): Address {
  const address = Address.tryParse(text);
  if (address === undefined) {
    throw new MeshError(
      'bad-value',
      `${path} ${JSON.stringify(text)} is not an IP address`,
      text,
      path,
    );
  }
  return address;
}

/** Go's net.IP as text: an empty one is "". */
export function optionalAddress(text: string, path: string): Address | undefined {
  return text === '' ? undefined : requireAddress(text, path);
}
