import type { Clock } from '@causeway/tables';
import type { StateKind } from '../keys.ts';
import type { MeshTables } from '../rows.ts';
import { take } from './take.ts';

/**
 * Agents say that their cluster gives shards as soon as they run, and its operator writes them when it leads; of a
 * cluster that promises no markers, shards are waited for this long, milliseconds.
 */
export const FORM_GRACE = 60_000;

export interface ServiceFormOptions {
  readonly tables: Pick<MeshTables, 'services' | 'serviceShards'>;
  readonly cluster: string;
  /** A list is complete only if a marker said so. */
  readonly marked: boolean;
  readonly clock: Clock;
}

/**
 * Called when the list of the form in which a peer tells its services now is in. What stands in the other form, from
 * before, goes: of services that stand in both at once, the rest when the list is sure to be whole. While a service
 * stands in both, its shards count. Returns whether there was anything in the other form.
 */
export async function leaveOtherForm(
  form: Extract<StateKind, 'services' | 'service-backends'>,
  { tables, cluster, marked, clock }: ServiceFormOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const [told, other] =
    form === 'services'
      ? [tables.services, tables.serviceShards]
      : [tables.serviceShards, tables.services];
  if (other.count('cluster', cluster) === 0) return false;
  const names = new Set<string>();
  for (const row of told.by('cluster', cluster)) names.add(serviceOf(row));
  const takeOther = (goes: (row: ServiceOf) => boolean): void => {
    const mine = (row: ServiceOf) => row.cluster === cluster && goes(row);
    if (form === 'services') take(tables.serviceShards, mine);
    else take(tables.services, mine);
  };
  takeOther((row) => marked || names.has(serviceOf(row)));
  if (marked) return true;
  await clock.sleep(FORM_GRACE, signal);
  if (!signal.aborted) takeOther(() => true);
  return true;
}

interface ServiceOf {
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
}

const serviceOf = ({ namespace, name }: ServiceOf): string => `${namespace}/${name}`;
