import { Address } from '@causeway/ip';
import {
  type AttributeEdit,
  AttributeWriter,
  findAttribute,
  prependPath,
  u32Bytes,
} from '../rib/attribute-bytes.ts';
import type { AttributeTable } from '../rib/attribute-table.ts';
import { fieldsOf } from '../rib/prefix-table.ts';
import type { FamilyKey } from '../types.ts';
import { formatAsPath, readAsPath } from '../wire/as-path.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { hashBytes } from '../wire/hash.ts';
import { compileAsPathPattern } from './as-path-pattern.ts';
import {
  type BytesTest,
  compileCommunityChange,
  compileCommunityMatch,
  extendedKind,
  type ListEdit,
  largeKind,
  standardKind,
} from './community-pattern.ts';
import { refusePolicy } from './errors.ts';
import { PrefixMatcher } from './prefix-set.ts';
import type {
  AsPathMatch,
  NumberRange,
  Policy,
  PolicyLibrary,
  PolicyMatch,
  PolicySet,
  PolicyStatement,
  PrefixSet,
} from './types.ts';

/** What a policy does with the next hop: nothing, ours, as it came, or the one in the set that it gave. */
export const NextHopMode = Object.freeze({
  standard: 0,
  self: 1,
  unchanged: 2,
  explicit: 3,
} as const);
export type NextHopMode = (typeof NextHopMode)[keyof typeof NextHopMode];

/** A condition on an attribute set alone; `set` is its number. */
export type SetTest = (sets: AttributeTable, set: number) => boolean;
/** Gives the number of the changed set, one reference to which is the caller's. */
export type SetChange = (sets: AttributeTable, set: number, localAsn: number) => number;

export interface CompiledStatement {
  readonly name: string;
  readonly prefix: PrefixMatcher | undefined;
  readonly families: readonly FamilyKey[] | undefined;
  readonly neighbors: ReadonlySet<string> | undefined;
  readonly neighborAsns: ReadonlySet<number> | undefined;
  /** Bit 0 local, 1 ebgp, 2 ibgp (PeerKind). */
  readonly sources: number;
  readonly tags: ReadonlySet<string> | undefined;
  readonly set: SetTest | undefined;
  readonly change: SetChange | undefined;
  readonly usesLocalAsn: boolean;
  readonly setsMed: boolean;
  readonly nextHop: NextHopMode;
  readonly then: 'accept' | 'reject' | 'next';
}

export interface CompiledPolicy {
  readonly name: string;
  readonly statements: readonly CompiledStatement[];
  readonly otherwise: 'accept' | 'reject';
  /** Of what it was compiled from, sets included: an equal one behaves equally. */
  readonly fingerprint: string;
}

/** Throws BgpError `invalid-config` naming policy, statement, field and value. */
export function compilePolicies(library: PolicyLibrary): Map<string, CompiledPolicy> {
  const compiled = new Map<string, CompiledPolicy>();
  const context = libraryOf(library);
  for (const [name, policy] of Object.entries(library.policies)) {
    compiled.set(name, compilePolicy(name, policy, context));
  }
  return compiled;
}

interface Library {
  readonly prefixSets: Readonly<Record<string, PrefixSet>>;
  readonly communitySets: Readonly<Record<string, readonly string[]>>;
  readonly asPathSets: Readonly<Record<string, readonly string[]>>;
}

function libraryOf(library: PolicyLibrary): Library {
  const context = {
    prefixSets: library.prefixSets ?? {},
    communitySets: library.communitySets ?? {},
    asPathSets: library.asPathSets ?? {},
  };
  // Sets that nobody uses are checked as well: a typing error should not wait for its first use.
  for (const [name, set] of Object.entries(context.prefixSets)) {
    new PrefixMatcher([set], `prefix set ${name}`);
  }
  for (const [name, patterns] of Object.entries(context.asPathSets)) {
    for (const pattern of patterns) compileAsPathPattern(pattern, `AS path set ${name}`);
  }
  for (const [name, texts] of Object.entries(context.communitySets)) {
    for (const text of texts) {
      if (
        ![standardKind, largeKind, extendedKind].some((kind) => kind.patterns(text) !== undefined)
      ) {
        refusePolicy(`community set ${name}`, text, 'a community of any kind');
      }
    }
  }
  return context;
}

function compilePolicy(name: string, policy: Policy, library: Library): CompiledPolicy {
  const otherwise = policy.otherwise ?? 'reject';
  if (otherwise !== 'accept' && otherwise !== 'reject') {
    refusePolicy(`policy ${name}, otherwise`, otherwise, 'accept or reject');
  }
  if (!Array.isArray(policy.statements)) {
    refusePolicy(`policy ${name}, statements`, policy.statements, 'a list');
  }
  const used: unknown[] = [];
  const statements = policy.statements.map((statement: PolicyStatement, i: number) =>
    compileStatement(statement, statement.name ?? String(i + 1), name, library, used),
  );
  return { name, statements, otherwise, fingerprint: JSON.stringify([policy, used]) };
}

function compileStatement(
  statement: PolicyStatement,
  name: string,
  policy: string,
  library: Library,
  used: unknown[],
): CompiledStatement {
  const where = `policy ${policy}, statement ${name}`;
  const match = statement.match ?? {};
  const then = statement.then ?? 'next';
  if (then !== 'accept' && then !== 'reject' && then !== 'next') {
    refusePolicy(`${where}, then`, then, 'accept, reject or next');
  }
  const change =
    statement.set === undefined ? undefined : compileSet(statement.set, where, library);
  const set = compileSetTest(match, where, library, used);
  return {
    name,
    prefix: compilePrefix(match, where, library, used),
    families: match.families,
    neighbors: match.neighbors && new Set(match.neighbors),
    neighborAsns: match.neighborAsns && new Set(match.neighborAsns),
    sources:
      match.source === undefined
        ? 7
        : match.source.reduce((bits, one) => bits | sourceBit(one, `${where}, source`), 0),
    tags: match.tags && new Set(match.tags),
    set,
    change: change?.change,
    usesLocalAsn: change?.usesLocalAsn ?? false,
    setsMed: statement.set?.med !== undefined,
    nextHop: change?.nextHop ?? NextHopMode.standard,
    then,
  };
}

function sourceBit(source: string, where: string): number {
  const bit = ['local', 'ebgp', 'ibgp'].indexOf(source);
  return bit < 0 ? refusePolicy(where, source, 'local, ibgp or ebgp') : 1 << bit;
}

function compilePrefix(
  match: PolicyMatch,
  where: string,
  library: Library,
  used: unknown[],
): PrefixMatcher | undefined {
  if (match.prefixSets === undefined && match.prefixes === undefined) return undefined;
  const sets: PrefixSet[] = (match.prefixSets ?? []).map((name) => {
    const set = Object.hasOwn(library.prefixSets, name) ? library.prefixSets[name] : undefined;
    if (set === undefined)
      return refusePolicy(`${where}, prefixSets`, name, 'the name of a prefix set');
    used.push(set);
    return set;
  });
  if (match.prefixes !== undefined) sets.push(match.prefixes);
  return new PrefixMatcher(sets, `${where}, prefixes`);
}

function rangeTest(range: NumberRange, where: string): (value: number) => boolean {
  const { min = 0, max = Number.POSITIVE_INFINITY } = range;
  if (typeof min !== 'number' || typeof max !== 'number' || min > max) {
    refusePolicy(where, range, 'a range: min <= max');
  }
  return (value) => value >= min && value <= max;
}

function compileSetTest(
  match: PolicyMatch,
  where: string,
  library: Library,
  used: unknown[],
): SetTest | undefined {
  const tests: SetTest[] = [];
  const onBytes = (test: BytesTest): void => {
    tests.push((sets, set) => test(sets.bytes, sets.start(set), sets.end(set)));
  };
  for (const kind of [standardKind, largeKind, extendedKind]) {
    const wanted = match[kind.name as 'communities' | 'largeCommunities' | 'extendedCommunities'];
    if (wanted === undefined) continue;
    used.push(library.communitySets);
    onBytes(compileCommunityMatch(wanted, kind, library.communitySets, `${where}, ${kind.name}`));
  }
  if (match.asPath !== undefined) {
    used.push(library.asPathSets);
    compileAsPath(match.asPath, `${where}, asPath`, library, tests);
  }
  if (match.origin !== undefined) {
    const codes = match.origin.map((name) => {
      const code = ['igp', 'egp', 'incomplete'].indexOf(name);
      return code < 0 ? refusePolicy(`${where}, origin`, name, 'igp, egp or incomplete') : code;
    });
    tests.push((sets, set) => codes.includes(sets.origin[set]!));
  }
  if (match.nextHop !== undefined) {
    const matcher = new PrefixMatcher([match.nextHop], `${where}, nextHop`);
    tests.push((sets, set) => {
      const address = sets.nextHops.address(sets.nextHop[set]!);
      if (address === undefined) return false;
      const fields = fieldsOf(`${address}/${Address.isIPv4(address) ? 32 : 128}`);
      return matcher.matches(fields, fields.bits === 128);
    });
  }
  if (match.med !== undefined) {
    const test = rangeTest(match.med, `${where}, med`);
    tests.push((sets, set) => test(sets.med[set]!));
  }
  if (match.localPreference !== undefined) {
    const test = rangeTest(match.localPreference, `${where}, localPreference`);
    tests.push((sets, set) => test(sets.localPreference[set]!));
  }
  if (tests.length === 0) return undefined;
  return (sets, set) => tests.every((test) => test(sets, set));
}

function compileAsPath(
  match: AsPathMatch,
  where: string,
  library: Library,
  tests: SetTest[],
): void {
  const range = { start: 0, end: 0 };
  const pathOf = (sets: AttributeTable, set: number) =>
    findAttribute(sets.bytes, sets.start(set), sets.end(set), AttributeType.asPath, range)
      ? readAsPath(sets.bytes, range.start, range.end, 4)
      : [];
  if (match.patterns !== undefined) {
    const patterns = match.patterns.flatMap((text) => {
      if (!text.startsWith('@')) return [compileAsPathPattern(text, where)];
      const set = Object.hasOwn(library.asPathSets, text.slice(1))
        ? library.asPathSets[text.slice(1)]
        : undefined;
      if (set === undefined) return refusePolicy(where, text, 'the name of an AS path set');
      return set.map((one) => compileAsPathPattern(one, `AS path set ${text.slice(1)}`));
    });
    tests.push((sets, set) => {
      const text = formatAsPath(pathOf(sets, set));
      return patterns.some((pattern) => pattern(text));
    });
  }
  if (match.contains !== undefined) {
    const wanted = new Set<number>(match.contains);
    tests.push((sets, set) =>
      pathOf(sets, set).some(({ asns }) => asns.some((asn) => wanted.has(asn))),
    );
  }
  if (match.originatedBy !== undefined) {
    const wanted = new Set<number>(match.originatedBy);
    tests.push((sets, set) => {
      const last = pathOf(sets, set).at(-1);
      if (last === undefined) return false;
      return last.type === 'sequence'
        ? wanted.has(last.asns.at(-1)!)
        : last.asns.some((asn) => wanted.has(asn));
    });
  }
  if (match.receivedFrom !== undefined) {
    const wanted = new Set<number>(match.receivedFrom);
    tests.push((sets, set) => wanted.has(sets.neighborAs[set]!));
  }
  if (match.length !== undefined) {
    const test = rangeTest(match.length, `${where}, length`);
    tests.push((sets, set) => test(sets.asPathLength[set]!));
  }
}

interface CompiledSet {
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

function compileSet(set: PolicySet, where: string, library: Library): CompiledSet {
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
