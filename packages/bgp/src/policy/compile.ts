import type { FamilyKey } from '../types.ts';
import { compileAsPathPattern } from './as-path-pattern.ts';
import { extendedKind, largeKind, standardKind } from './community-pattern.ts';
import { compileSetTest, type SetTest } from './compile-match.ts';
import { compileSet, NextHopMode, type SetChange } from './compile-set.ts';
import { refusePolicy } from './errors.ts';
import type { PolicySets } from './policy-sets.ts';
import { PrefixMatcher } from './prefix-set.ts';
import type { Policy, PolicyLibrary, PolicyMatch, PolicyStatement, PrefixSet } from './types.ts';

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

function libraryOf(library: PolicyLibrary): PolicySets {
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

function compilePolicy(name: string, policy: Policy, library: PolicySets): CompiledPolicy {
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
  library: PolicySets,
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
  library: PolicySets,
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
