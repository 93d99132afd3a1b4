import { Address } from '@causeway/ip';
import { findAttribute } from '../rib/attribute-bytes.ts';
import type { AttributeTable } from '../rib/attribute-table.ts';
import { fieldsOf } from '../rib/prefix-table.ts';
import { formatAsPath, readAsPath } from '../wire/as-path.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { compileAsPathPattern } from './as-path-pattern.ts';
import {
  type BytesTest,
  compileCommunityMatch,
  extendedKind,
  largeKind,
  standardKind,
} from './community-pattern.ts';
import { refusePolicy } from './errors.ts';
import type { PolicySets } from './policy-sets.ts';
import { PrefixMatcher } from './prefix-set.ts';
import type { AsPathMatch, NumberRange, PolicyMatch } from './types.ts';

/** A condition on an attribute set alone; `set` is its number. */
export type SetTest = (sets: AttributeTable, set: number) => boolean;

/** The conditions of a statement that look at the attribute set; what named sets they use is added to `used`. */
export function compileSetTest(
  match: PolicyMatch,
  where: string,
  library: PolicySets,
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
  library: PolicySets,
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

function rangeTest(range: NumberRange, where: string): (value: number) => boolean {
  const { min = 0, max = Number.POSITIVE_INFINITY } = range;
  if (typeof min !== 'number' || typeof max !== 'number' || min > max) {
    refusePolicy(where, range, 'a range: min <= max');
  }
  return (value) => value >= min && value <= max;
}
