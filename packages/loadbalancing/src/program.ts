import type { Prefix } from '@causeway/ip';
import { CountingIds } from './ids.ts';
import { weightedTable } from './maglev.ts';
import { type Backend, type Frontend, NODE_PORT_ADDRESS } from './model.ts';
import {
  type MapOperation,
  type ServiceKey,
  type ServiceRow,
  SLOTS_PER_CHUNK,
  type SlotTable,
} from './operations.ts';
import type { BackendChanges } from './patch.ts';
import { SlotList } from './slot-list.ts';
import { chunkOf, SlotTables } from './slot-tables.ts';
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
  /**
   * What the slots were made of: tables, or a list that can be edited. Absent for what an earlier run left: then they
   * are written anew.
   */
  readonly slotsOf: SlotTables | SlotList | undefined;
  readonly row: ServiceRow;
  readonly sourceRanges: readonly Prefix[];
  /** Backends that it refers to, with the state it sees them in. */
  readonly backends: Map<string, UserState>;
}

interface KnownBackend {
  readonly backend: Backend;
  /** frontend key → state. */
  readonly users: Map<string, UserState>;
  sent: 'active' | 'terminating' | undefined;
}

interface WrittenSlots extends Pick<ServiceRow, 'generation' | 'slots' | 'localSlots'> {
  readonly slotsOf: SlotTables | SlotList;
}

const NO_SLOTS = { generation: 0, slots: 0, localSlots: 0 };

const MAX_ID = 0x7fff_ffff;
const MAX_GENERATION = 0xffff;

/**
 * The maps as they should be, and the writes that lead there. Writes are ordered so that a lookup at
 * any moment finds a whole service: backends, then slots under a new generation, then the service's
 * row, and only then goes what no row refers to any more.
 */
export class Program {
  readonly #serviceIds: CountingIds;
  readonly #backendIds: CountingIds;
  readonly #services = new Map<string, Programmed>();
  readonly #backends = new Map<string, KnownBackend>();
  /** Of the changes under way. */
  readonly #tables = new Map<string, Uint32Array>();
  /** Numbers that were given back by them. */
  readonly #released = new Map<string, number>();
  /** Of an earlier run, not claimed yet. */
  readonly #leftServices = new Set<string>();
  readonly #leftBackends: Set<string>;

  constructor(previous: Assignment = { services: [], backends: [] }) {
    this.#serviceIds = new CountingIds(
      MAX_ID,
      previous.services.map((each) => [each.key, each.serviceId] as const),
    );
    this.#backendIds = new CountingIds(
      MAX_ID,
      previous.backends.map((each) => [each.key, each.backendId] as const),
    );
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
    this.#leftBackends = new Set(this.#backendIds.keys());
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
      backends: [...this.#backends.keys(), ...this.#leftBackends].map((key) => ({
        key,
        backendId: this.#backendIds.get(key)!,
      })),
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
    return this.#backendIds.get(backendKey);
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
      if (patch === undefined) this.#refer(key, frontend, touched);
      else this.#referTo(key, patch, touched);
    }
    if (prune) {
      for (const key of this.#leftBackends) touched.add(key);
      this.#leftBackends.clear();
    }
    for (const key of touched) this.#backend(key, steps);
    for (const [key, frontend] of desired) {
      if (frontend === undefined) this.#remove(key, steps);
      else this.#put(key, frontend, steps, patches.get(key));
      this.#leftServices.delete(key);
    }
    this.#tables.clear();
    this.#released.clear();
    return steps.inOrder();
  }

  /** Notes which backends a frontend refers to now; `touched` gets those where that changes. */
  #refer(key: string, frontend: Frontend | undefined, touched: Set<string>): void {
    const before = this.#services.get(key)?.backends ?? new Map<string, UserState>();
    const after = new Map<string, Backend | undefined>(
      (frontend?.backends ?? []).map((each) => [each.key, each]),
    );
    for (const backendKey of before.keys()) {
      if (!after.has(backendKey)) after.set(backendKey, undefined);
    }
    this.#referTo(key, after, touched);
  }

  #referTo(key: string, changes: BackendChanges, touched: Set<string>): void {
    for (const [backendKey, backend] of changes) {
      if (backend === undefined) {
        if (this.#backends.get(backendKey)?.users.delete(key)) touched.add(backendKey);
        continue;
      }
      const state = mapState(backend);
      const known = this.#backends.get(backendKey) ?? {
        backend,
        users: new Map(),
        sent: undefined,
      };
      this.#backends.set(backendKey, known);
      this.#leftBackends.delete(backendKey);
      if (known.users.get(key) === state) continue;
      known.users.set(key, state);
      touched.add(backendKey);
    }
  }

  #backend(key: string, steps: Steps): void {
    const known = this.#backends.get(key);
    if (known === undefined || known.users.size === 0) {
      this.#backends.delete(key);
      const backendId = this.#backendIds.release(key);
      if (backendId === undefined) return;
      this.#released.set(key, backendId);
      steps.oldBackends.push({ type: 'backend-delete', backendId });
      return;
    }
    // The state ends clients' affinity. Where one service drains it, another that has no health check must not keep
    // the first one's clients there; what its own clients lose is a habit.
    const states = [...known.users.values()];
    const usable = states.includes('active') && !states.includes('drained');
    const state = usable ? 'active' : 'terminating';
    if (known.sent === state) return;
    known.sent = state;
    const { address, port, protocol } = known.backend;
    const backendId = this.#backendIds.take(key);
    steps.backends.push({ type: 'backend-put', backendId, address, port, protocol, state });
  }

  #put(key: string, frontend: Frontend, steps: Steps, patch?: BackendChanges): void {
    const { port, protocol, algorithm } = frontend;
    const address = frontend.address ?? NODE_PORT_ADDRESS[frontend.family];
    const before = this.#services.get(key);
    const serviceId = this.#serviceIds.take(key);
    const edited = before && this.#edit(before, frontend, steps, patch);
    const { slotsOf, generation, slots, localSlots } =
      edited ?? this.#rewrite(before, serviceId, frontend, steps);
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

  /** Edits the slots where they stand, if both what they were and what they shall be are lists. */
  #edit(
    before: Programmed,
    frontend: Frontend,
    steps: Steps,
    patch: BackendChanges | undefined,
  ): WrittenSlots | undefined {
    const { slotsOf: list, row } = before;
    if (!(list instanceof SlotList) || !isList(frontend)) return undefined;
    const { serviceId, generation } = row;
    const { added, removed } =
      patch === undefined
        ? list.difference(frontend.chosen.map(({ key }) => this.#backendIds.get(key)!))
        : this.#differenceBy(list, frontend, patch);
    const chunks = Math.ceil(list.ids.length / SLOTS_PER_CHUNK);
    // A few chunks are soon written anew, and so is a list that is mostly another.
    if (added.length + removed.length > 0 && chunks < 2 + added.length + removed.length) {
      return undefined;
    }
    const edits = list.edit(added, removed);
    for (const { chunk, backendIds } of edits.chunks) {
      const at = { serviceId, generation, table: 'main', chunk } as const;
      steps.slots.push({ type: 'slots-put', ...at, backendIds, live: true });
    }
    for (const chunk of edits.dropped) {
      steps.oldSlots.push({ type: 'slots-delete', serviceId, generation, table: 'main', chunk });
    }
    return { slotsOf: list, generation, slots: list.ids.length, localSlots: 0 };
  }

  #differenceBy(list: SlotList, frontend: Frontend, patch: BackendChanges) {
    const added: number[] = [];
    const removed: number[] = [];
    for (const [key, backend] of patch) {
      // Of one that is gone the number is given back already; its slots are found by the number that it had.
      const id = this.#backendIds.get(key) ?? this.#released.get(key);
      if (id === undefined) continue;
      const chosen = backend !== undefined && frontend.chosen.includes(backend);
      if (chosen && !list.has(id)) added.push(id);
      else if (!chosen && list.has(id)) removed.push(id);
    }
    return { added, removed };
  }

  /** Writes all slots under a new generation, unless they are what they were, or a large table that differs in few. */
  #rewrite(
    before: Programmed | undefined,
    serviceId: number,
    frontend: Frontend,
    steps: Steps,
  ): WrittenSlots {
    const { algorithm, chosen, chosenLocal } = frontend;
    let { generation, slots, localSlots } = before?.row ?? NO_SLOTS;
    if (isList(frontend)) {
      const list = new SlotList(chosen.map(({ key }) => this.#backendIds.get(key)!));
      if (before !== undefined) dropSlots(before.row, steps.oldSlots);
      generation = (generation % MAX_GENERATION) + 1;
      putChunks({ serviceId, generation, table: 'main' }, list.ids, steps);
      return { slotsOf: list, generation, slots: list.ids.length, localSlots: 0 };
    }
    const text = JSON.stringify([
      algorithm,
      this.#weighed(chosen),
      chosenLocal && this.#weighed(chosenLocal),
    ]);
    const known = before?.slotsOf instanceof SlotTables ? before.slotsOf : undefined;
    if (known?.text === text) return { slotsOf: known, generation, slots, localSlots };
    const made = new SlotTables(
      text,
      this.#slotTable(frontend, chosen),
      chosenLocal && this.#slotTable(frontend, chosenLocal),
    );
    const edits = known && made.editsOf(known);
    if (edits !== undefined) {
      for (const { table, chunk, backendIds } of edits) {
        const at = { serviceId, generation, table, chunk };
        steps.slots.push({ type: 'slots-put', ...at, backendIds, live: true });
      }
      return { slotsOf: made.kept(), generation, slots, localSlots };
    }
    if (before !== undefined) dropSlots(before.row, steps.oldSlots);
    generation = (generation % MAX_GENERATION) + 1;
    putChunks({ serviceId, generation, table: 'main' }, made.main, steps);
    if (made.local !== undefined) {
      putChunks({ serviceId, generation, table: 'local' }, made.local, steps);
    }
    slots = made.main.length;
    localSlots = made.local?.length ?? 0;
    return { slotsOf: made.kept(), generation, slots, localSlots };
  }

  #weighed(backends: readonly Backend[]): (readonly [number, number])[] {
    return backends.map(({ key, weight }) => [this.#backendIds.get(key)!, weight] as const);
  }

  /** A service's addresses and node ports mostly lead to the same backends: their table is made once. */
  #tableOf(chosen: readonly Backend[]): Uint32Array {
    const key = JSON.stringify(this.#weighed(chosen));
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const table = weightedTable(chosen);
    this.#tables.set(key, table);
    return table;
  }

  /** The backend ids that slots hold, in order. */
  #slotTable({ algorithm }: Frontend, chosen: readonly Backend[]): Uint32Array {
    const ids = chosen.map(({ key }) => this.#backendIds.get(key)!);
    // Of unequal backends also a random choice is made among slots that are shared out by weight.
    if (algorithm === 'random' && equal(chosen)) return Uint32Array.from(ids);
    return this.#tableOf(chosen).map((index) => ids[index]!);
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

function putChunks(
  at: { readonly serviceId: number; readonly generation: number; readonly table: SlotTable },
  ids: readonly number[] | Uint32Array,
  steps: Steps,
): void {
  for (let chunk = 0; chunk * SLOTS_PER_CHUNK < ids.length; chunk++) {
    const backendIds = chunkOf(ids, chunk);
    steps.slots.push({ type: 'slots-put', ...at, chunk, backendIds, live: false });
  }
}

const equal = (backends: readonly Backend[]): boolean =>
  backends.every(({ weight }) => weight === backends[0]!.weight);

/** One slot for each backend: a random choice among equals, by one table for everybody. */
const isList = ({ algorithm, chosen, chosenLocal }: Frontend): boolean =>
  algorithm === 'random' && chosenLocal === undefined && chosen.length > 0 && equal(chosen);

function patchStates(states: Map<string, UserState>, patch: BackendChanges) {
  for (const [key, backend] of patch) {
    if (backend === undefined) states.delete(key);
    else states.set(key, mapState(backend));
  }
  return states;
}
