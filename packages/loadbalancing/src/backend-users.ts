import { CountingIds, MAX_ID } from './ids.ts';
import type { Backend, Frontend } from './model.ts';
import type { BackendChanges } from './patch.ts';
import { mapState, type Steps, type UserState } from './steps.ts';

interface KnownBackend {
  readonly backend: Backend;
  /** frontend key → state. */
  readonly users: Map<string, UserState>;
  sent: 'active' | 'terminating' | undefined;
}

/** The backends that frontends refer to, each once in the maps, under a number of its own. */
export class BackendUsers {
  readonly #ids: CountingIds;
  readonly #backends = new Map<string, KnownBackend>();
  /** Of an earlier run, not claimed yet. */
  readonly #left: Set<string>;
  /** Numbers that were given back by the changes under way. */
  readonly #released = new Map<string, number>();

  constructor(previous: readonly { readonly key: string; readonly backendId: number }[]) {
    this.#ids = new CountingIds(
      MAX_ID,
      previous.map((each) => [each.key, each.backendId] as const),
    );
    this.#left = new Set(this.#ids.keys());
  }

  assignment(): { readonly key: string; readonly backendId: number }[] {
    return [...this.#backends.keys(), ...this.#left].map((key) => ({
      key,
      backendId: this.#ids.get(key)!,
    }));
  }

  id(key: string): number | undefined {
    return this.#ids.get(key);
  }

  /** Also of one that the changes under way have given back: slots may hold it. */
  idInSlots(key: string): number | undefined {
    return this.#ids.get(key) ?? this.#released.get(key);
  }

  /**
   * Notes which backends a frontend refers to now; `touched` gets those where that changes.
   * @param before those that it referred to.
   */
  refer(
    key: string,
    before: ReadonlyMap<string, UserState> | undefined,
    frontend: Frontend | undefined,
    touched: Set<string>,
  ): void {
    const after = new Map<string, Backend | undefined>(
      (frontend?.backends ?? []).map((each) => [each.key, each]),
    );
    for (const backendKey of before?.keys() ?? []) {
      if (!after.has(backendKey)) after.set(backendKey, undefined);
    }
    this.referTo(key, after, touched);
  }

  referTo(key: string, changes: BackendChanges, touched: Set<string>): void {
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
      this.#left.delete(backendKey);
      if (known.users.get(key) === state) continue;
      known.users.set(key, state);
      touched.add(backendKey);
    }
  }

  /** What nobody has claimed of an earlier run is to go. */
  abandonLeft(touched: Set<string>): void {
    for (const key of this.#left) touched.add(key);
    this.#left.clear();
  }

  /** What the maps are to be told of a backend that was touched. */
  write(key: string, steps: Steps): void {
    const known = this.#backends.get(key);
    if (known === undefined || known.users.size === 0) {
      this.#backends.delete(key);
      const backendId = this.#ids.release(key);
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
    const backendId = this.#ids.take(key);
    steps.backends.push({ type: 'backend-put', backendId, address, port, protocol, state });
  }

  /** The changes under way are over. */
  settle(): void {
    this.#released.clear();
  }
}
