import { Address, Prefix } from '@causeway/ip';
import { NO_PORTS } from '../codec/ip.ts';
import { MeshError } from '../errors.ts';
import { type Place, SINGLE } from './columns.ts';
import type { RawEntry } from './entry.ts';

const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);

export const newPlace = (): Place => ({ w0: 0, w1: 0, w2: 0, w3: 0, length: 0 });

const isMapped = (place: Place): boolean =>
  place.w0 === 0 && place.w1 === 0 && place.w2 === 0xffff && place.length >= 96;

/** False for what is neither an address nor a prefix. */
export function placeOf(text: string, place: Place): boolean {
  const prefix = text.includes('/') ? Prefix.tryParse(text) : undefined;
  const address = prefix === undefined ? Address.tryParse(text) : Prefix.address(prefix);
  if (address === undefined) return false;
  Address.write16(address, bytes, 0);
  place.w0 = view.getUint32(0);
  place.w1 = view.getUint32(4);
  place.w2 = view.getUint32(8);
  place.w3 = view.getUint32(12);
  if (prefix === undefined) place.length = SINGLE;
  else place.length = Prefix.length(prefix) + (Address.isIPv4(address) ? 96 : 0);
  return true;
}

/** An address, or a prefix: as the entry's key in the store has it. */
export function textOf(place: Place): Address | Prefix {
  if (isMapped(place)) {
    const { w3 } = place;
    const text = `${w3 >>> 24}.${(w3 >>> 16) & 255}.${(w3 >>> 8) & 255}.${w3 & 255}`;
    return (place.length === SINGLE ? text : `${text}/${place.length - 96}`) as Address | Prefix;
  }
  view.setUint32(0, place.w0);
  view.setUint32(4, place.w1);
  view.setUint32(8, place.w2);
  view.setUint32(12, place.w3);
  const address = Address.fromBytes(bytes);
  return place.length === SINGLE ? address : Prefix.from(address, place.length);
}

export function prefixOf(place: Place): Prefix {
  const text = textOf(place);
  return place.length === SINGLE ? Prefix.host(text as Address) : (text as Prefix);
}

/** An entry of our own making. Throws MeshError `bad-key`. */
export function rawEntry(
  address: string,
  fields: { readonly identity: number } & Partial<Omit<RawEntry, keyof Place>>,
): RawEntry {
  const place = newPlace();
  if (!placeOf(address, place)) {
    throw new MeshError('bad-key', `${address} is neither an address nor a prefix`, address);
  }
  return {
    host: undefined,
    encryptionKey: 0,
    ports: NO_PORTS,
    pod: undefined,
    ...fields,
    ...place,
  };
}
