import type { Backend } from './model.ts';
import type { MapOperation, ServiceRow, SlotTable } from './operations.ts';
import { SLOTS_PER_CHUNK } from './operations.ts';

/** The writes of one change, by when they may be done: what is referred to comes first and goes last. */
export class Steps {
  readonly backends: MapOperation[] = [];
  readonly slots: MapOperation[] = [];
  readonly rows: MapOperation[] = [];
  readonly oldSlots: MapOperation[] = [];
  readonly oldBackends: MapOperation[] = [];

  inOrder(): MapOperation[] {
    return [...this.backends, ...this.slots, ...this.rows, ...this.oldSlots, ...this.oldBackends];
  }
}

/** How one frontend sees a backend; `drained`: its pod is ready, and new connections shall not go there. */
export type UserState = 'active' | 'terminating' | 'drained';

/**
 * Established flows go on at every backend that is there; only an active one is for new flows, also for clients that
 * affinity ties to it.
 */
export const mapState = ({ state, excluded }: Backend): UserState => {
  if (excluded === 'weight' || excluded === 'failing') return 'drained';
  return state === 'active' ? 'active' : 'terminating';
};

export function dropSlots(row: ServiceRow, into: MapOperation[]): void {
  const { serviceId, generation } = row;
  const drop = (table: SlotTable, slots: number): void => {
    for (let chunk = 0; chunk * SLOTS_PER_CHUNK < slots; chunk++) {
      into.push({ type: 'slots-delete', serviceId, generation, table, chunk });
    }
  };
  drop('main', row.slots);
  drop('local', row.localSlots);
}

export const sameRow = (a: ServiceRow, b: ServiceRow): boolean =>
  (Object.keys(b) as (keyof ServiceRow)[]).every((key) => a[key] === b[key]);
