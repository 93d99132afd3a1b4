import { CountingIds } from './ids.ts';
import { maglevSize, maglevTable } from './maglev.ts';
import type { Backend, Frontend } from './model.ts';
import {
  type MapOperation,
  type ServiceKey,
  type ServiceRow,
  SLOTS_PER_CHUNK,
} from './operations.ts';

/** What has to be kept, or read back from the maps, for a restart to go on with the same numbers. */
export interface Assignment {
  readonly services: readonly (ServiceKey & {
    /** Key of the frontend. */
    readonly key: string;
    readonly serviceId: number;
    readonly generation: number;
    /** Slots of that generation. */
    readonly slots: number;
  })[];
  readonly backends: readonly { readonly key: string; readonly backendId: number }[];
}

interface Programmed extends ServiceKey {
  /** Absent for what an earlier run left: then the slots are written anew. */
  readonly chosen: readonly number[] | undefined;
  readonly row: ServiceRow;
  /** Backends that it refers to, with the state it sees them in. */
  readonly backends: ReadonlyMap<string, 'active' | 'terminating'>;
}

interface KnownBackend {
  readonly backend: Backend;
  /** frontend key → state. */
  readonly users: Map<string, 'active' | 'terminating'>;
  sent: 'active' | 'terminating' | undefined;
}

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
    for (const { key, serviceId, generation, slots, ...at } of previous.services) {
      // A number that two keys claim is believed of the first only.
      if (this.#serviceIds.get(key) !== serviceId || this.#services.has(key)) continue;
      const row: ServiceRow = {
        serviceId,
        generation,
        slots,
        count: 0,
        algorithm: 'random',
        affinitySeconds: 0,
      };
      this.#services.set(key, { ...at, chosen: undefined, row, backends: new Map() });
      this.#leftServices.add(key);
    }
    this.#leftBackends = new Set(this.#backendIds.keys());
  }

  assignment(): Assignment {
    return {
      services: [...this.#services].map(([key, { address, port, protocol, row }]) => ({
        key,
        address,
        port,
        protocol,
        serviceId: row.serviceId,
        generation: row.generation,
        slots: row.slots,
      })),
      backends: [...this.#backends.keys(), ...this.#leftBackends].map((key) => ({
        key,
        backendId: this.#backendIds.get(key)!,
      })),
    };
  }

  row(frontendKey: string): ServiceRow | undefined {
    return this.#services.get(frontendKey)?.row;
  }

  backendId(backendKey: string): number | undefined {
    return this.#backendIds.get(backendKey);
  }

  /**
   * @param changed desired frontends by key; undefined: none under that key any more.
   * @param prune everything of an earlier run that nobody has claimed goes too.
   */
  apply(changed: ReadonlyMap<string, Frontend | undefined>, prune: boolean): MapOperation[] {
    const steps: Steps = { backends: [], slots: [], rows: [], oldSlots: [], oldBackends: [] };
    const desired = new Map(changed);
    if (prune) {
      for (const key of this.#leftServices) if (!desired.has(key)) desired.set(key, undefined);
    }
    const touched = new Set<string>();
    for (const [key, frontend] of desired) this.#refer(key, frontend, touched);
    if (prune) {
      for (const key of this.#leftBackends) touched.add(key);
      this.#leftBackends.clear();
    }
    for (const key of touched) this.#backend(key, steps);
    for (const [key, frontend] of desired) {
      if (frontend === undefined) this.#remove(key, steps);
      else this.#put(key, frontend, steps);
      this.#leftServices.delete(key);
    }
    return [
      ...steps.backends,
      ...steps.slots,
      ...steps.rows,
      ...steps.oldSlots,
      ...steps.oldBackends,
    ];
  }

  /** Notes which backends a frontend refers to now; `touched` gets those where that changes. */
  #refer(key: string, frontend: Frontend | undefined, touched: Set<string>): void {
    const before = this.#services.get(key)?.backends ?? new Map<string, 'active'>();
    const after = new Map((frontend?.backends ?? []).map((each) => [each.key, each] as const));
    for (const backendKey of before.keys()) {
      if (after.has(backendKey)) continue;
      this.#backends.get(backendKey)?.users.delete(key);
      touched.add(backendKey);
    }
    for (const [backendKey, backend] of after) {
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
      if (backendId !== undefined) steps.oldBackends.push({ type: 'backend-delete', backendId });
      return;
    }
    const state = [...known.users.values()].includes('active') ? 'active' : 'terminating';
    if (known.sent === state) return;
    known.sent = state;
    const { address, port, protocol } = known.backend;
    const backendId = this.#backendIds.take(key);
    steps.backends.push({ type: 'backend-put', backendId, address, port, protocol, state });
  }

  #put(key: string, frontend: Frontend, steps: Steps): void {
    const { address, port, protocol } = frontend;
    if (address === undefined) return;
    const before = this.#services.get(key);
    const serviceId = this.#serviceIds.take(key);
    const chosen = frontend.chosen.map((each) => this.#backendIds.get(each.key)!);
    const sameSlots =
      before?.chosen !== undefined &&
      before.row.algorithm === frontend.algorithm &&
      same(before.chosen, chosen);
    let { generation, slots } = before?.row ?? { generation: 0, slots: 0 };
    if (!sameSlots) {
      if (before !== undefined) dropSlots(before.row, steps.oldSlots);
      generation = (generation % MAX_GENERATION) + 1;
      const table = slotTable(frontend, chosen);
      slots = table.length;
      for (let chunk = 0; chunk * SLOTS_PER_CHUNK < slots; chunk++) {
        const backendIds = new Uint32Array(SLOTS_PER_CHUNK);
        backendIds.set(table.subarray(chunk * SLOTS_PER_CHUNK, (chunk + 1) * SLOTS_PER_CHUNK));
        steps.slots.push({ type: 'slots-put', serviceId, generation, chunk, backendIds });
      }
    }
    if (before?.chosen === undefined) {
      steps.slots.push({ type: 'reverse-put', serviceId, address, port });
    }
    const row: ServiceRow = {
      serviceId,
      generation,
      algorithm: frontend.algorithm,
      slots,
      count: chosen.length,
      affinitySeconds: frontend.affinitySeconds ?? 0,
    };
    const backends = new Map(frontend.backends.map((each) => [each.key, mapState(each)]));
    this.#services.set(key, { address, port, protocol, chosen, row, backends });
    if (before?.chosen === undefined || !sameRow(before.row, row)) {
      steps.rows.push({ type: 'service-put', key: { address, port, protocol }, row });
    }
  }

  #remove(key: string, steps: Steps): void {
    const known = this.#services.get(key);
    if (known === undefined) return;
    const { address, port, protocol, row } = known;
    const { serviceId } = row;
    this.#services.delete(key);
    this.#serviceIds.release(key);
    steps.rows.push({ type: 'service-delete', key: { address, port, protocol }, serviceId });
    dropSlots(row, steps.oldSlots);
    steps.oldSlots.push({ type: 'reverse-delete', serviceId });
  }
}

interface Steps {
  readonly backends: MapOperation[];
  readonly slots: MapOperation[];
  readonly rows: MapOperation[];
  readonly oldSlots: MapOperation[];
  readonly oldBackends: MapOperation[];
}

/** Established flows go on at every backend that is there; only an active one is for new flows. */
const mapState = (backend: Backend): 'active' | 'terminating' =>
  backend.state === 'active' ? 'active' : 'terminating';

/** The backend ids that slots hold, in order. */
function slotTable(frontend: Frontend, chosen: readonly number[]): Uint32Array {
  if (frontend.algorithm === 'random' || chosen.length === 0) return Uint32Array.from(chosen);
  const table = maglevTable(frontend.chosen, maglevSize(chosen.length));
  return table.map((index) => chosen[index]!);
}

function dropSlots({ serviceId, generation, slots }: ServiceRow, into: MapOperation[]): void {
  for (let chunk = 0; chunk * SLOTS_PER_CHUNK < slots; chunk++) {
    into.push({ type: 'slots-delete', serviceId, generation, chunk });
  }
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((each, index) => each === b[index]);

const sameRow = (a: ServiceRow, b: ServiceRow): boolean =>
  a.generation === b.generation &&
  a.algorithm === b.algorithm &&
  a.slots === b.slots &&
  a.count === b.count &&
  a.affinitySeconds === b.affinitySeconds;
