import type { ReconcilerMetrics, RowStatus } from '@causeway/tables';
import type { HealthRow } from './api/types.ts';

interface Reports {
  readonly name: string;
  metrics(): ReconcilerMetrics;
  failures(): Iterable<{ readonly key: unknown; readonly status: RowStatus }>;
}

/** A reconciler in one row: what is behind, and the first thing that fails. */
export function reconcilerHealth(reconciler: Reports): HealthRow {
  const { pending, errors, synced, lastError } = reconciler.metrics();
  for (const { key, status } of reconciler.failures()) {
    if (status.type !== 'error') continue;
    return {
      name: reconciler.name,
      healthy: false,
      detail: `${errors} rows fail, the first is ${String(key)}: ${status.message}`,
    };
  }
  if (!synced && lastError !== undefined) {
    return {
      name: reconciler.name,
      healthy: false,
      detail: `not in step yet: ${lastError.message}`,
    };
  }
  const behind = pending > 0 ? `${pending} changes are under way` : 'in step with its table';
  return {
    name: reconciler.name,
    healthy: true,
    detail: synced ? behind : `${behind}; nothing was taken away yet`,
  };
}
