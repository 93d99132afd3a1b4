import type { CallOptions, Kv } from '@causeway/etcd';
import { afterGuard, changesRanges, guardRanges, sayRanges } from './address-plan/guard.ts';
import { guardPoolRanges } from './address-plan/pool-ranges.ts';
import { decode, descriptor, keyOf, refOf } from './codec.ts';
import { KINDS, type KindDescriptor, type Resource } from './kinds.ts';
import { sameObject } from './merge.ts';
import { readAll } from './reads.ts';
import { contention } from './refusals.ts';
import { assertAddressesFree } from './reservation-conflicts.ts';
import type { Service } from './schema/service.ts';
import type { ServiceCidrs } from './service-addresses.ts';
import { ServiceClaims, type SettledService } from './service-claims.ts';
import type { ApplyReport, ApplyResult, WriteOptions } from './store.ts';
import { nameOf } from './validate.ts';
import { warningsOf } from './warnings.ts';
import { transactionsOf, type Write, writeOf } from './writes.ts';

/** How often a write that lost a race is planned anew. */
export const ATTEMPTS = 16;

/** What becomes of an object, given what is stored under its name (undefined: nothing readable). */
export type NextVersion = (object: Resource, stored: Resource | undefined) => Resource;

interface Planned extends Write {
  readonly source: Resource;
  readonly next: Resource;
  readonly stored: Resource | undefined;
  readonly result: ApplyResult;
}

/** What planning needs of its store. */
export interface PlanContext {
  readonly kv: Kv;
  readonly random: () => number;
  readonly serviceCidrs: (options: CallOptions) => Promise<ServiceCidrs>;
}

/**
 * Plans every object over what is stored and writes it, in one transaction when it fits; what lost a
 * race is planned anew. With dryRun it stops behind the plan.
 */
export async function writeObjects(
  context: PlanContext,
  objects: readonly Resource[],
  options: WriteOptions,
  next: NextVersion,
): Promise<ApplyReport> {
  const done = new Map<Resource, ApplyResult>();
  let transactions = 0;
  let left = objects;
  for (let attempt = 0; left.length > 0; attempt++) {
    if (attempt === ATTEMPTS) throw contention(nameOf(left[0]!), ATTEMPTS);
    const planned = await plan(context, left, options, next);
    await assertAddressesFree(context.kv, planned, options);
    const isDone = ({ result }: Planned): boolean =>
      options.dryRun === true || result.action === 'unchanged';
    await using coming =
      options.dryRun === true ? undefined : await sayRanges(context.kv, planned, options);
    let guard = await guardRanges(context.kv, planned, coming, options);
    for (const { source, result } of planned.filter(isDone)) done.set(source, result);
    for (const group of transactionsOf(planned.filter((each) => !isDone(each)))) {
      const guarded = group.some(changesRanges) ? guard : undefined;
      const { succeeded, revision } = await context.kv.txn(
        {
          compare: [...(guarded?.compare ?? []), ...group.flatMap(({ compare }) => compare)],
          success: [
            ...(guarded?.operations ?? []),
            ...group.flatMap(({ operations }) => operations),
          ],
        },
        options,
      );
      if (!succeeded) break;
      transactions++;
      // What follows of the same plan has been held against this group already.
      if (guarded !== undefined) guard = afterGuard(guarded, revision);
      for (const { source, result } of group) {
        done.set(source, { ...result, object: withVersion(result.object, revision) });
      }
    }
    left = left.filter((object) => !done.has(object));
  }
  return { results: objects.map((object) => done.get(object)!), atomic: transactions <= 1 };
}

async function plan(
  context: PlanContext,
  objects: readonly Resource[],
  options: CallOptions,
  next: NextVersion,
): Promise<Planned[]> {
  const keys = objects.map((object) => keyOf(KINDS[object.kind] as KindDescriptor, refOf(object)));
  const entries = await readAll(context.kv, keys, options);
  const claims = new ServiceClaims(context, options);
  const planned: Planned[] = [];
  for (const [index, source] of objects.entries()) {
    const entry = entries[index];
    // An unreadable object is replaced as if it were absent, under the same comparison.
    const before = entry && decode(descriptor(source.kind), entry);
    const stored = before?.type === 'object' ? before.object : undefined;
    let settled: SettledService | undefined;
    if (source.kind === 'Service')
      settled = await claims.settle(source, stored as Service | undefined);
    const object = next(settled?.service ?? source, stored);
    const same = stored !== undefined && sameObject(stored, object);
    const { name, namespace } = object.metadata;
    const pool =
      stored?.kind === 'CiliumPodIPPool' && object.kind === 'CiliumPodIPPool'
        ? await guardPoolRanges(context.kv, stored, object, options)
        : [];
    const write = writeOf(keys[index]!, object, entry, settled ?? { taken: [], released: [] });
    planned.push({
      source,
      next: object,
      stored,
      compare: [...write.compare, ...pool],
      operations: write.operations,
      result: {
        action: same ? 'unchanged' : entry === undefined ? 'created' : 'configured',
        kind: source.kind,
        namespace,
        name,
        object: same ? stored : object,
        warnings: warningsOf(object),
      },
    });
  }
  return planned;
}

export function withVersion<T extends Resource>(object: T, revision: number): T {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
}
