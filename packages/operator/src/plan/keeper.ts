import { type Fence, type Kv, unchanged } from '@causeway/etcd';
import { findOverlaps } from '@causeway/ipam';
import {
  clusterOfGuard,
  isTolerated,
  PLAN_GUARD,
  ResourceError,
  type ResourceStore,
  rangesOf,
} from '@causeway/resources';
import { type Clock, deepEqual } from '@causeway/tables';
import { fencedTxn } from '../fenced.ts';
import type { OperatorTables } from '../sources.ts';
import { planRanges } from './ranges.ts';

const LOOK_MS = 5_000;
const MAX_TOLD = 100;

export interface PlanKeeperOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly fence: Fence;
  readonly tables: OperatorTables;
  readonly cluster: string;
  readonly clock: Clock;
}

/**
 * Names the cluster in the plan's guard, so that whoever applies ranges knows which of the plan's entries are its
 * own, and tells AddressPlans what overlaps although it was refused nowhere: a registry from before the plan, or what
 * agents of an older version wrote.
 */
export async function keepPlan(
  options: PlanKeeperOptions,
  signal: AbortSignal,
  good: () => void,
): Promise<void> {
  const { kv, fence, store, tables, cluster, clock } = options;
  while (!signal.aborted) {
    const guard = await kv.get(PLAN_GUARD, { signal });
    if (clusterOfGuard(guard) !== cluster) {
      const compare = [
        guard === undefined
          ? ({ type: 'mod', key: PLAN_GUARD, operator: '=', revision: 0 } as const)
          : unchanged(guard),
      ];
      const value = JSON.stringify({ cluster });
      await fencedTxn(kv, fence, compare, [{ type: 'put', key: PLAN_GUARD, value }], signal);
    }
    if (tables.plans.size > 0) {
      const overlaps = findOverlaps(planRanges(tables, cluster)).filter(
        (each) => !isTolerated(each),
      );
      for (const plan of tables.plans) {
        const owners = new Set(rangesOf(plan).map(({ owner }) => owner));
        const conflicts = overlaps
          .filter(({ range, other }) => owners.has(range.owner) || owners.has(other.owner))
          .slice(0, MAX_TOLD)
          .map(({ message }) => message);
        const shown = plan.status?.conflicts;
        if (deepEqual(shown ?? [], conflicts)) continue;
        try {
          await store.patchStatus(
            'AddressPlan',
            { name: plan.metadata.name },
            { conflicts },
            { signal },
          );
        } catch (error) {
          if (!(error instanceof ResourceError)) throw error;
        }
      }
    }
    good();
    await clock.sleep(LOOK_MS, signal);
  }
}
