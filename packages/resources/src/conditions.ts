import type * as z from 'zod';
import type { conditions } from './schema/bgp-fields.ts';

type Shown = z.infer<typeof conditions>[number];

/** What a writer of a status says of an object; type and reason as Kubernetes has them. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

/**
 * The conditions with these set, sorted by type, those of other writers as they were; undefined when nothing
 * changes. The time of transition moves only with the status, as in Kubernetes.
 *
 * @param at RFC 3339
 */
export function withConditions(
  shown: readonly Shown[],
  wanted: readonly Condition[],
  generation: number | undefined,
  at: string,
): Shown[] | undefined {
  let changed = false;
  const set = wanted.map((each) => {
    const old = shown.find(({ type }) => type === each.type);
    const same = old?.status === each.status;
    if (
      same &&
      old.message === each.message &&
      old.reason === each.reason &&
      old.observedGeneration === generation
    )
      return old;
    changed = true;
    return {
      ...each,
      lastTransitionTime: same ? (old.lastTransitionTime ?? at) : at,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  });
  if (!changed) return undefined;
  const types = new Set(wanted.map(({ type }) => type));
  return [...shown.filter(({ type }) => !types.has(type)), ...set].sort((a, b) =>
    a.type < b.type ? -1 : 1,
  );
}
