import type { Address, Prefix } from '@causeway/ip';
import type { Algorithm, Forwarding, Protocol } from './model.ts';

/** Backends in one `lb_slots` row. */
export const SLOTS_PER_CHUNK = 64;

export interface ServiceKey {
  /** `0.0.0.0` or `::` for a NodePort: looked up where the packet is for an address of the node. */
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
  /** May be entered from outside of the cluster; otherwise such packets are dropped. */
  readonly external: boolean;
  readonly nodePort: boolean;
  /** From outside only the slots of table `local` count, and the client's address is kept. */
  readonly localExternal: boolean;
  /** For people: table `main` holds backends of this node only. */
  readonly localInternal: boolean;
  /** Slots of table `local`, of the same generation; 0 with `localExternal`: such packets are dropped. */
  readonly localSlots: number;
  /** From outside only clients in a range of the service (`source-range-put`) may enter. */
  readonly sourceRanges: boolean;
  /** How packets from outside go on to a backend on another node. */
  readonly forwarding: Forwarding;
}

/**
 * `main`: for everybody, or for clients in the cluster where the row says `localExternal`.
 * `local`: for clients outside then.
 */
export type SlotTable = 'main' | 'local';

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
      readonly table: SlotTable;
      readonly chunk: number;
      /** SLOTS_PER_CHUNK ids; 0 beyond the last slot. */
      readonly backendIds: Uint32Array;
      /** The service's row names this generation already: the chunk takes the place of one that is in use. */
      readonly live: boolean;
    }
  | {
      readonly type: 'reverse-put';
      readonly serviceId: number;
      readonly address: Address;
      readonly port: number;
    }
  | { readonly type: 'source-range-put'; readonly serviceId: number; readonly prefix: Prefix }
  | { readonly type: 'service-put'; readonly key: ServiceKey; readonly row: ServiceRow }
  | { readonly type: 'service-delete'; readonly key: ServiceKey; readonly serviceId: number }
  | {
      readonly type: 'slots-delete';
      readonly serviceId: number;
      readonly generation: number;
      readonly table: SlotTable;
      readonly chunk: number;
    }
  | { readonly type: 'source-range-delete'; readonly serviceId: number; readonly prefix: Prefix }
  | { readonly type: 'reverse-delete'; readonly serviceId: number }
  | { readonly type: 'backend-delete'; readonly backendId: number };
