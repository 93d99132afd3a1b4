import { Address } from '@causeway/ip';
import {
  type AttributeEdit,
  AttributeWriter,
  findAttribute,
  prependPath,
  u32Bytes,
} from '../rib/attribute-bytes.ts';
import type { AttributeTable } from '../rib/attribute-table.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { hashBytes } from '../wire/hash.ts';
import {
  compileCommunityChange,
  extendedKind,
  type ListEdit,
  largeKind,
  standardKind,
} from './community-pattern.ts';
import { refusePolicy } from './errors.ts';
import type { PolicySets } from './policy-sets.ts';
import type { PolicySet } from './types.ts';

/** What a policy does with the next hop: nothing, ours, as it came, or the one in the set that it gave. */
export const NextHopMode = Object.freeze({
  standard: 0,
  self: 1,
  unchanged: 2,
  explicit: 3,
} as const);
export type NextHopMode = (typeof NextHopMode)[keyof typeof NextHopMode];

/** Gives the number of the changed set, one reference to which is the caller's. */
export type SetChange = (sets: AttributeTable, set: number, localAsn: number) => number;

export interface CompiledSet {
  readonly change: SetChange | undefined;
  readonly usesLocalAsn: boolean;
  readonly nextHop: NextHopMode;
}

const isU32 = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff;

type Edit = (
  old: Uint8Array | undefined,
  localAsn: number,
) => { readonly flags: number; readonly value: Uint8Array | undefined };

const writer = new AttributeWriter();

/** What a statement sets, as a change of attribute sets. */
export function compileSet(set: PolicySet, where: string, library: PolicySets): CompiledSet {
  const edits = new Map<number, Edit>();
  let nextHop: NextHopMode = NextHopMode.standard;
  let nextHopBytes: Uint8Array | undefined;
  if (set.origin !== undefined) {
    const code = ['igp', 'egp', 'incomplete'].indexOf(set.origin);
    if (code < 0) refusePolicy(`${where}, set origin`, set.origin, 'igp, egp or incomplete');
    edits.set(AttributeType.origin, () => ({ flags: 0x40, value: Uint8Array.of(code) }));
  }
  if (set.prepend !== undefined) {
    const { asn, count } = set.prepend;
    if (!Number.isInteger(count) || count < 1 || count > 32) {
      refusePolicy(`${where}, prepend count`, count, 'a number from 1 to 32');
    }
    if (asn !== undefined && (!isU32(asn) || asn === 0))
      refusePolicy(`${where}, prepend asn`, asn, 'an AS number');
    edits.set(AttributeType.asPath, (old, localAsn) => ({
      flags: 0x40,
      value: prependPath(old ?? new Uint8Array(0), asn ?? localAsn, count),
    }));
  }
  if (set.med !== undefined) {
    const { med } = set;
    if (med !== 'none' && !isU32(med) && !(typeof med === 'object' && Number.isInteger(med?.add))) {
      refusePolicy(`${where}, set med`, med, 'a number, {add}, or none');
    }
    edits.set(AttributeType.med, (old) => {
      if (med === 'none') return { flags: 0x80, value: undefined };
      if (typeof med === 'number') return { flags: 0x80, value: u32Bytes(med) };
      const before = old === undefined ? 0 : new DataView(old.buffer, old.byteOffset).getUint32(0);
      return { flags: 0x80, value: u32Bytes(Math.min(0xffff_ffff, Math.max(0, before + med.add))) };
    });
  }
  if (set.localPreference !== undefined) {
    const value = set.localPreference;
    if (!isU32(value))
      refusePolicy(`${where}, set localPreference`, value, 'a number from 0 to 4294967295');
    edits.set(AttributeType.localPreference, () => ({ flags: 0x40, value: u32Bytes(value) }));
  }
  for (const kind of [standardKind, largeKind, extendedKind]) {
    const change = set[kind.name as 'communities' | 'largeCommunities' | 'extendedCommunities'];
    if (change === undefined) continue;
    const edit: ListEdit = compileCommunityChange(
      change,
      kind,
      library.communitySets,
      `${where}, set ${kind.name}`,
    );
    edits.set(kind.attribute, (old) => ({ flags: 0xc0, value: edit(old) }));
  }
  if (set.nextHop === 'self') nextHop = NextHopMode.self;
  else if (set.nextHop === 'unchanged') nextHop = NextHopMode.unchanged;
  else if (set.nextHop !== undefined) {
    const address = Address.tryParse(set.nextHop);
    if (address === undefined) {
      return refusePolicy(`${where}, set nextHop`, set.nextHop, 'self, unchanged or an address');
    }
    nextHop = NextHopMode.explicit;
    nextHopBytes = Address.toBytes(address);
  }
  const order = [...edits.entries()].sort(([a], [b]) => a - b);
  const usesLocalAsn = set.prepend !== undefined && set.prepend.asn === undefined;
  if (order.length === 0 && nextHopBytes === undefined)
    return { change: undefined, usesLocalAsn, nextHop };
  const range = { start: 0, end: 0 };
  const change: SetChange = (sets, id, localAsn) => {
    const { bytes } = sets;
    const start = sets.start(id);
    const end = sets.end(id);
    const list: AttributeEdit[] = order.map(([type, edit]) => {
      const old = findAttribute(bytes, start, end, type, range)
        ? bytes.subarray(range.start, range.end)
        : undefined;
      return { type, ...edit(old, localAsn) };
    });
    const changed = writer.edit(bytes, start, end, list);
    const hop =
      nextHopBytes === undefined
        ? sets.nextHop[id]!
        : sets.nextHops.intern(nextHopBytes, 0, nextHopBytes.length);
    // A set is a message's at most; one that grew beyond it stays as it was.
    const result =
      changed.length > 65_000
        ? sets.intern(bytes, start, end, hashBytes(bytes, start, end), hop)
        : sets.intern(changed, 0, changed.length, hashBytes(changed, 0, changed.length), hop);
    if (nextHopBytes !== undefined) sets.nextHops.release(hop);
    return result;
  };
  return { change, usesLocalAsn, nextHop };
}
