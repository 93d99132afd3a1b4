import { type Btf, compareLayouts, type MapType } from '@causeway/linux';
import { DatapathError } from './errors.ts';
import { type Field, type Struct, scalar } from './layout.ts';

/** A map as C declares it in bpf/lib, once more in TypeScript: checked against BTF at every load. */
export interface MapDeclaration<K = unknown, V = unknown> {
  /** Also the name of its pin. */
  readonly name: string;
  readonly type: MapType;
  /** Default capacity; entries, for ring buffers bytes. */
  readonly maxEntries: number;
  readonly key: Struct<K>;
  readonly value: Struct<V>;
}

type Shape<T> = Struct<T> | Field<T>;

const asStruct = <T>(shape: Shape<T>): Struct<T> =>
  'encode' in shape ? shape : (scalar(shape as Field<number>) as unknown as Struct<T>);

const nothing: Field<number> = { size: 0, align: 1, read: () => 0, write: () => {} };

export function declareMap<K = number, V = number>(map: {
  readonly name: string;
  readonly type: MapType;
  readonly maxEntries: number;
  readonly key?: Shape<K>;
  readonly value?: Shape<V>;
}): MapDeclaration<K, V> {
  return Object.freeze({
    name: map.name,
    type: map.type,
    maxEntries: map.maxEntries,
    key: asStruct(map.key ?? (nothing as unknown as Field<K>)),
    value: asStruct(map.value ?? (nothing as unknown as Field<V>)),
  });
}

/** Throws layout-mismatch with the member that differs, if the object declares the map otherwise. */
export function checkMap(btf: Btf, map: MapDeclaration<never, never>): void {
  const found = btf.mapLayout(map.name);
  for (const part of ['key', 'value'] as const) {
    const { expected } = map[part];
    const layout = found[part];
    try {
      if (layout !== undefined) compareLayouts(`${map.name} ${part}`, layout, expected);
      else if (found[`${part}Size`] !== expected.size) {
        throw new Error(`size is ${found[`${part}Size`]}, declared ${expected.size}`);
      }
    } catch (cause) {
      throw new DatapathError(
        'layout-mismatch',
        `map ${map.name}, ${part}: ${(cause as Error).message}`,
        { value: map.name, hint: 'compile the eBPF objects of this version', cause },
      );
    }
  }
}
