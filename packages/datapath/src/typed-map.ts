import { type BpfMap, LinuxError, MapBatchError, type UpdateMode } from '@causeway/linux';
import { DatapathError } from './errors.ts';
import type { MapDeclaration } from './map-declaration.ts';

/** A map of the kernel with its keys and values as typed objects. */
export class TypedMap<K, V> {
  readonly declaration: MapDeclaration<K, V>;
  readonly map: BpfMap;

  constructor(declaration: MapDeclaration<K, V>, map: BpfMap) {
    this.declaration = declaration;
    this.map = map;
  }

  get name(): string {
    return this.declaration.name;
  }

  /** Capacity, in entries. */
  get limit(): number {
    return this.map.info.maxEntries;
  }

  get(key: K): V | undefined {
    const bytes = this.map.get(this.declaration.key.encode(key));
    return bytes && this.declaration.value.decode(bytes);
  }

  has(key: K): boolean {
    return this.map.has(this.declaration.key.encode(key));
  }

  /** Throws map-full, which leaves what is there untouched. */
  set(key: K, value: V, mode: UpdateMode = 'any'): void {
    this.setBytes(this.declaration.key.encode(key), this.declaration.value.encode(value), mode);
  }

  /** `set` for what is in the kernel's form already. */
  setBytes(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    try {
      this.map.update(key, value, mode);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** False when the key was absent. */
  delete(key: K): boolean {
    return this.map.delete(this.declaration.key.encode(key));
  }

  /** Many entries by few system calls. Throws map-full; `value` of the error says how many were written. */
  setAll(rows: readonly (readonly [K, V])[]): void {
    if (rows.length === 0) return;
    const { key, value } = this.declaration;
    const keys = new Uint8Array(rows.length * key.size);
    const values = new Uint8Array(rows.length * value.size);
    const keyView = new DataView(keys.buffer);
    const valueView = new DataView(values.buffer);
    rows.forEach(([k, v], index) => {
      key.write(keyView, index * key.size, k);
      value.write(valueView, index * value.size, v);
    });
    try {
      this.map.updateBatch(keys, values);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Absent keys are passed over. Returns how many went. */
  deleteAll(all: readonly K[]): number {
    if (all.length === 0) return 0;
    const { key } = this.declaration;
    const keys = new Uint8Array(all.length * key.size);
    const view = new DataView(keys.buffer);
    all.forEach((k, index) => {
      key.write(view, index * key.size, k);
    });
    return this.map.deleteBatch(keys);
  }

  /** What the kernel holds now, for comparing with what it should hold. */
  *entries(): IterableIterator<[K, V]> {
    const { key, value } = this.declaration;
    for (const [k, v] of this.map.entries()) yield [key.decode(k), value.decode(v)];
  }

  *keys(): IterableIterator<K> {
    for (const k of this.map.keys()) yield this.declaration.key.decode(k);
  }

  #explain(error: unknown): unknown {
    const cause = error instanceof MapBatchError ? error : error;
    if (!(cause instanceof LinuxError) || cause.code !== 'map-full') return error;
    return new DatapathError(
      'map-full',
      `map ${this.name} is full at its limit of ${this.limit} entries`,
      {
        value: error instanceof MapBatchError ? error.applied : 0,
        hint: `raise the limit of ${this.name}; the entries that are there stay in force`,
        cause: error,
      },
    );
  }
}

/** The typed map of a declaration. */
export type MapOf<D> = D extends MapDeclaration<infer K, infer V> ? TypedMap<K, V> : never;
