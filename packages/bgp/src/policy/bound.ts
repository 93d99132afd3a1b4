import type { AttributeTable, SetListener } from '../rib/attribute-table.ts';
import { grown } from '../rib/grown.ts';
import { SetMemo } from '../rib/memo.ts';
import type { PrefixFields } from '../rib/prefix-table.ts';
import type { FamilyKey } from '../types.ts';
import type { CompiledPolicy, CompiledStatement } from './compile.ts';
import { NextHopMode } from './compile-set.ts';
import type { PolicyReason } from './types.ts';

/** What is the same for all routes that pass between us and one neighbour in one family. */
export interface PolicyContext {
  readonly family: FamilyKey;
  readonly neighbor: string;
  readonly neighborAsn: number;
  readonly localAsn: number;
}

const unknown = 0;
const no = 1;
const yes = 2;

interface Step {
  readonly statement: CompiledStatement;
  /** By set: is its condition on attributes met? */
  truth: Uint8Array;
  /** By set: what its `set` makes of it. */
  readonly memo: SetMemo | undefined;
}

/**
 * A policy for one neighbour and family: statements that can never hold are left out, so that neighbours to whom
 * the same ones apply share it. What it finds out about an attribute set is remembered by the set's
 * number; only conditions on prefixes are looked at anew for every route.
 */
export class BoundPolicy implements SetListener {
  readonly policy: CompiledPolicy;
  /** Neighbours for whom it is the same share it; unique within the policy. */
  readonly key: string;
  readonly usesPrefix: boolean;
  readonly usesTag: boolean;
  /** Of the last `run`: what becomes of the next hop, and whether a statement set the MED. */
  nextHop: NextHopMode = NextHopMode.standard;
  setMed = false;
  /** Neighbours that use it. */
  users = 0;
  readonly #sets: AttributeTable;
  readonly #steps: Step[];
  readonly #localAsn: number;
  readonly #wide: boolean;
  readonly #hasTruth: boolean;

  constructor(
    policy: CompiledPolicy,
    key: string,
    statements: readonly CompiledStatement[],
    context: PolicyContext,
    sets: AttributeTable,
  ) {
    this.key = key;
    this.policy = policy;
    this.#sets = sets;
    this.#localAsn = context.localAsn;
    this.#wide = context.family === 'ipv6-unicast';
    this.#steps = statements.map((statement) => ({
      statement,
      truth: new Uint8Array(statement.set === undefined ? 0 : 64),
      memo: statement.change === undefined ? undefined : new SetMemo(sets),
    }));
    this.usesPrefix = statements.some(({ prefix }) => prefix !== undefined);
    this.usesTag = statements.some(({ tags }) => tags !== undefined);
    this.#hasTruth = statements.some(({ set }) => set !== undefined);
    if (this.#hasTruth) sets.listen(this);
  }

  /**
   * The set that the route goes on with, 0 if it is refused. The number is good as long as `set` is held; who
   * keeps it takes a reference. `source` is a PeerKind.
   */
  run(set: number, prefix: PrefixFields, source: number, tag: string | undefined): number {
    let now = set;
    let mode: NextHopMode = NextHopMode.standard;
    this.setMed = false;
    for (const step of this.#steps) {
      const { statement } = step;
      if (((statement.sources >> source) & 1) === 0) continue;
      if (statement.prefix !== undefined && !statement.prefix.matches(prefix, this.#wide)) continue;
      if (statement.tags !== undefined && (tag === undefined || !statement.tags.has(tag))) continue;
      if (statement.set !== undefined && !this.#holds(step, now)) continue;
      if (statement.then === 'reject') return 0;
      if (step.memo !== undefined) now = this.#changed(step, now);
      if (statement.nextHop !== NextHopMode.standard) mode = statement.nextHop;
      if (statement.setsMed) this.setMed = true;
      if (statement.then === 'accept') {
        this.nextHop = mode;
        return now;
      }
    }
    this.nextHop = mode;
    return this.policy.otherwise === 'accept' ? now : 0;
  }

  explain(
    set: number,
    prefix: PrefixFields,
    source: number,
    tag: string | undefined,
  ): PolicyReason {
    let now = set;
    const applied: string[] = [];
    const policy = this.policy.name;
    for (const step of this.#steps) {
      const { statement } = step;
      if (((statement.sources >> source) & 1) === 0) continue;
      if (statement.prefix !== undefined && !statement.prefix.matches(prefix, this.#wide)) continue;
      if (statement.tags !== undefined && (tag === undefined || !statement.tags.has(tag))) continue;
      if (statement.set !== undefined && !this.#holds(step, now)) continue;
      if (statement.then !== 'reject') {
        if (step.memo !== undefined || statement.nextHop !== NextHopMode.standard)
          applied.push(statement.name);
        if (step.memo !== undefined) now = this.#changed(step, now);
      }
      if (statement.then !== 'next') {
        return { policy, statement: statement.name, verdict: statement.then, applied };
      }
    }
    return { policy, statement: 'otherwise', verdict: this.policy.otherwise, applied };
  }

  #holds(step: Step, set: number): boolean {
    if (set >= step.truth.length) {
      step.truth = grown(step.truth, Math.max(this.#sets.capacity, set + 1));
    }
    const known = step.truth[set]!;
    if (known !== unknown) return known === yes;
    const holds = step.statement.set!(this.#sets, set);
    step.truth[set] = holds ? yes : no;
    return holds;
  }

  #changed(step: Step, set: number): number {
    const memo = step.memo!;
    const known = memo.get(set, this.#localAsn);
    if (known !== 0) return known;
    const result = step.statement.change!(this.#sets, set, this.#localAsn);
    memo.set(set, this.#localAsn, result);
    this.#sets.release(result);
    return result;
  }

  forget(set: number): void {
    for (const step of this.#steps) if (set < step.truth.length) step.truth[set] = unknown;
  }

  close(): void {
    if (this.#hasTruth) this.#sets.unlisten(this);
    for (const step of this.#steps) step.memo?.close();
  }
}

/** Statements that can hold for the neighbour at all. */
function statementsFor(policy: CompiledPolicy, context: PolicyContext): CompiledStatement[] {
  return policy.statements.filter(
    ({ families, neighbors, neighborAsns }) =>
      (families === undefined || families.includes(context.family)) &&
      (neighbors === undefined || neighbors.has(context.neighbor)) &&
      (neighborAsns === undefined || neighborAsns.has(context.neighborAsn)),
  );
}

/** Policies and what they are bound to. */
export class PolicyBinder {
  readonly #sets: AttributeTable;
  readonly #bound = new Map<CompiledPolicy, Map<string, BoundPolicy>>();

  constructor(sets: AttributeTable) {
    this.#sets = sets;
  }

  keyOf(policy: CompiledPolicy, context: PolicyContext): string {
    const kept = statementsFor(policy, context);
    return JSON.stringify([
      context.family,
      kept.map((statement) => policy.statements.indexOf(statement)),
      kept.some(({ usesLocalAsn }) => usesLocalAsn) ? context.localAsn : 0,
    ]);
  }

  /** Each `bind` is paired with a `release`. */
  bind(policy: CompiledPolicy, context: PolicyContext): BoundPolicy {
    const key = this.keyOf(policy, context);
    let byKey = this.#bound.get(policy);
    if (byKey === undefined) {
      byKey = new Map();
      this.#bound.set(policy, byKey);
    }
    let bound = byKey.get(key);
    if (bound === undefined) {
      bound = new BoundPolicy(policy, key, statementsFor(policy, context), context, this.#sets);
      byKey.set(key, bound);
    }
    bound.users++;
    return bound;
  }

  release(bound: BoundPolicy): void {
    if (--bound.users > 0) return;
    const byKey = this.#bound.get(bound.policy);
    if (byKey !== undefined) {
      byKey.delete(bound.key);
      if (byKey.size === 0) this.#bound.delete(bound.policy);
    }
    bound.close();
  }
}
