import type { Prefix } from '@causeway/ip';
import { BackendUsers } from './backend-users.ts';
import { CountingIds, MAX_ID } from './ids.ts';
import { type Frontend, NODE_PORT_ADDRESS } from './model.ts';
import type { MapOperation, ServiceKey, ServiceRow } from './operations.ts';
import type { BackendChanges } from './patch.ts';
import { type SlotSource, SlotWriter } from './slot-writer.ts';
import { dropSlots, mapState, Steps, sameRow, type UserState } from './steps.ts';

/** What has to be kept, or read back from the maps, for a restart to go on with the same numbers. */
export interface Assignment {
  readonly services: readonly (ServiceKey & {
    /** Key of the frontend. */
    readonly key: string;
    readonly serviceId: number;
    readonly generation: number;
    /** Slots of that generation, by table. */
    readonly slots: number;
    readonly localSlots: number;
    readonly sourceRanges: readonly Prefix[];
  })[];
  readonly backends: readonly { readonly key: string; readonly backendId: number }[];
}

interface Programmed extends ServiceKey {
  /** Absent for what an earlier run left: then they are written anew. */
  readonly slotsOf: SlotSource | undefined;
  readonly row: ServiceRow;
  readonly sourceRanges: readonly Prefix[];
  /** Backends that it refers to, with the state it sees them in. */
  readonly backends: Map<string, UserState>;
}

/**
 * The maps as they should be, and the writes that lead there. Writes are ordered so that a lookup at
 * any moment finds a whole service: backends, then slots under a new generation, then the service's
 * row, and only then goes what no row refers to any more.
 */
export class Program {
  readonly #serviceIds: CountingIds;
  readonly #services = new Map<string, Programmed>();
  readonly #backends: BackendUsers;
  readonly #slots: SlotWriter;
  /** Of an earlier run, not claimed yet. */
  readonly #leftServices = new Set<string>();

  constructor(previous: Assignment = { services: [], backends: [] }) {
    this.#serviceIds = new CountingIds(
      MAX_ID,
      previous.services.map((each) => [each.key, each.serviceId] as const),
    );
    this.#backends = new BackendUsers(previous.backends);
    this.#slots = new SlotWriter(this.#backends);
    for (const each of previous.services) {
      const { key, address, port, protocol, serviceId, generation, slots, localSlots } = each;
      // A number that two keys claim is believed of the first only.
      if (this.#serviceIds.get(key) !== serviceId || this.#services.has(key)) continue;
      const row: ServiceRow = {
        serviceId,
        generation,
        slots,
        count: 0,
        algorithm: 'random',
        affinitySeconds: 0,
        external: false,
        nodePort: false,
        localExternal: false,
        localInternal: false,
        localSlots,
        sourceRanges: false,
        forwarding: 'snat',
      };
      const { sourceRanges } = each;
      const at = { address, port, protocol };
      const backends = new Map<string, UserState>();
      this.#services.set(key, { ...at, slotsOf: undefined, row, sourceRanges, backends });
      this.#leftServices.add(key);
    }
  }

  assignment(): Assignment {
    return {
      services: [...this.#services].map(
        ([key, { address, port, protocol, row, sourceRanges }]) => ({
          key,
          address,
          port,
          protocol,
          serviceId: row.serviceId,
          generation: row.generation,
          slots: row.slots,
          localSlots: row.localSlots,
          sourceRanges,
        }),
      ),
      backends: this.#backends.assignment(),
    };
  }

  row(frontendKey: string): ServiceRow | undefined {
    return this.#services.get(frontendKey)?.row;
  }

  /** It is as an earlier run left it. */
  isLeft(frontendKey: string): boolean {
    return this.#leftServices.has(frontendKey);
  }

  backendId(backendKey: string): number | undefined {
    return this.#backends.id(backendKey);
  }

  /**
   * @param changed desired frontends by key; undefined: none under that key any more.
   * @param prune everything of an earlier run that nobody has claimed goes too.
   * @param patches of a changed frontend that was here before, which of its backends are others than they were.
   */
  apply(
    changed: ReadonlyMap<string, Frontend | undefined>,
    prune: boolean,
    patches: ReadonlyMap<string, BackendChanges> = new Map(),
  ): MapOperation[] {
    const steps = new Steps();
    const desired = new Map(changed);
    if (prune) {
      for (const key of this.#leftServices) if (!desired.has(key)) desired.set(key, undefined);
    }
    const touched = new Set<string>();
    for (const [key, frontend] of desired) {
      const patch = patches.get(key);
      if (patch !== undefined) this.#backends.referTo(key, patch, touched);
      else this.#backends.refer(key, this.#services.get(key)?.backends, frontend, touched);
    }
    if (prune) this.#backends.abandonLeft(touched);
    for (const key of touched) this.#backends.write(key, steps);
    for (const [key, frontend] of desired) {
      if (frontend === undefined) this.#remove(key, steps);
      else this.#put(key, frontend, steps, patches.get(key));
      this.#leftServices.delete(key);
    }
    this.#slots.settle();
    this.#backends.settle();
    return steps.inOrder();
  }

  #put(key: string, frontend: Frontend, steps: Steps, patch?: BackendChanges): void {
    const { port, protocol, algorithm } = frontend;
    const address = frontend.address ?? NODE_PORT_ADDRESS[frontend.family];
    const before = this.#services.get(key);
    const serviceId = this.#serviceIds.take(key);
    const { slotsOf, generation, slots, localSlots } = this.#slots.write(
      before,
      serviceId,
      frontend,
      steps,
      patch,
    );
    if (before?.slotsOf === undefined) {
      steps.slots.push({ type: 'reverse-put', serviceId, address, port });
    }
    const sourceRanges = frontend.sourceRanges ?? [];
    const ranges = (type: 'source-range-put' | 'source-range-delete', of: readonly Prefix[]) =>
      of.map((prefix): MapOperation => ({ type, serviceId, prefix }));
    const kept = before?.sourceRanges ?? [];
    const added = sourceRanges.filter((each) => !kept.includes(each));
    const gone = kept.filter((each) => !sourceRanges.includes(each));
    steps.slots.push(...ranges('source-range-put', added));
    steps.oldSlots.push(...ranges('source-range-delete', gone));
    const row: ServiceRow = {
      serviceId,
      generation,
      algorithm,
      slots,
      count: frontend.chosen.length,
      affinitySeconds: frontend.affinitySeconds ?? 0,
      external: frontend.external,
      nodePort: frontend.type === 'NodePort',
      localExternal: frontend.chosenLocal !== undefined,
      localInternal: frontend.type === 'ClusterIP' && frontend.trafficPolicy === 'Local',
      localSlots,
      sourceRanges: frontend.sourceRanges !== undefined,
      forwarding: frontend.forwarding,
    };
    const backends =
      (patch && before && patchStates(before.backends, patch)) ??
      new Map(frontend.backends.map((each) => [each.key, mapState(each)]));
    const at = { address, port, protocol };
    this.#services.set(key, { ...at, slotsOf, row, sourceRanges, backends });
    if (before?.slotsOf === undefined || !sameRow(before.row, row)) {
      steps.rows.push({ type: 'service-put', key: at, row });
    }
  }

  #remove(key: string, steps: Steps): void {
    const known = this.#services.get(key);
    if (known === undefined) return;
    const { address, port, protocol, row, sourceRanges } = known;
    const { serviceId } = row;
    this.#services.delete(key);
    this.#serviceIds.release(key);
    steps.rows.push({ type: 'service-delete', key: { address, port, protocol }, serviceId });
    dropSlots(row, steps.oldSlots);
    for (const prefix of sourceRanges) {
      steps.oldSlots.push({ type: 'source-range-delete', serviceId, prefix });
    }
    steps.oldSlots.push({ type: 'reverse-delete', serviceId });
  }
}

function patchStates(states: Map<string, UserState>, patch: BackendChanges) {
  for (const [key, backend] of patch) {
    if (backend === undefined) states.delete(key);
    else states.set(key, mapState(backend));
  }
  return states;
}
