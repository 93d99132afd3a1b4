import type { Address } from '@causeway/ip';
import type { Algorithm, Protocol } from './model.ts';

/** Backends in one `lb_slots` row. */
export const SLOTS_PER_CHUNK = 64;

export interface ServiceKey {
  readonly address: Address;
  readonly port: number;
  readonly protocol: Protocol;
}

/** The `services` row. */
export interface ServiceRow {
  readonly serviceId: number;
  /** u16; the slots that hold now. */
  readonly generation: number;
  readonly algorithm: Algorithm;
  /** Slots to choose from: backends for random, the table's size for maglev; 0: refuse at once. */
  readonly slots: number;
  /** Distinct backends behind the slots. */
  readonly count: number;
  /** 0: no session affinity. */
  readonly affinitySeconds: number;
}

/**
 * One write to a map. In the order given, every state in between is whole: what a row refers to is
 * there before the row and outlives it.
 */
export type MapOperation =
  | {
      readonly type: 'backend-put';
      readonly backendId: number;
      readonly address: Address;
      readonly port: number;
      readonly protocol: Protocol;
      readonly state: 'active' | 'terminating';
    }
  | {
      readonly type: 'slots-put';
      readonly serviceId: number;
      readonly generation: number;
      readonly chunk: number;
      /** SLOTS_PER_CHUNK ids; 0 beyond the last slot. */
      readonly backendIds: Uint32Array;
    }
  | {
      readonly type: 'reverse-put';
      readonly serviceId: number;
      readonly address: Address;
      readonly port: number;
    }
  | { readonly type: 'service-put'; readonly key: ServiceKey; readonly row: ServiceRow }
  | { readonly type: 'service-delete'; readonly key: ServiceKey; readonly serviceId: number }
  | {
      readonly type: 'slots-delete';
      readonly serviceId: number;
      readonly generation: number;
      readonly chunk: number;
    }
  | { readonly type: 'reverse-delete'; readonly serviceId: number }
  | { readonly type: 'backend-delete'; readonly backendId: number };
