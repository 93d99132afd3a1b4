import { Address, Mac } from '@causeway/ip';
import type { ExpectedLayout } from '@causeway/linux';

/** One member of a C struct: its place's size and alignment, and both ways between bytes and value. */
export interface Field<T> {
  readonly size: number;
  readonly align: number;
  read(view: DataView, offset: number): T;
  write(view: DataView, offset: number, value: T): void;
}

// biome-ignore lint/suspicious/noExplicitAny: a struct has fields of any type
type Fields = Readonly<Record<string, Field<any>>>;

/** A struct's value in TypeScript: all members but padding. */
export type ValueOf<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Field<undefined> ? never : K]: F[K] extends Field<infer T>
    ? T
    : never;
};

/** A C struct declared in TypeScript: codec, and what BTF has to say of it. */
export interface Struct<T> extends Field<T> {
  readonly expected: ExpectedLayout;
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

export type StructValue<S> = S extends Struct<infer T> ? T : never;

function integer(
  size: 1 | 2 | 4,
  read: (view: DataView, offset: number) => number,
  write: (view: DataView, offset: number, value: number) => void,
): Field<number> {
  return {
    size,
    align: size,
    read,
    write(view, offset, value) {
      if (!Number.isInteger(value) || value < 0 || value >= 2 ** (size * 8)) {
        throw new RangeError(`${value} does not fit into ${size} unsigned bytes`);
      }
      write(view, offset, value);
    },
  };
}

export const u8 = integer(
  1,
  (v, o) => v.getUint8(o),
  (v, o, x) => v.setUint8(o, x),
);
export const u16 = integer(
  2,
  (v, o) => v.getUint16(o, true),
  (v, o, x) => v.setUint16(o, x, true),
);
export const u32 = integer(
  4,
  (v, o) => v.getUint32(o, true),
  (v, o, x) => v.setUint32(o, x, true),
);
/** Network byte order in the map, a plain number here. */
export const be16 = integer(
  2,
  (v, o) => v.getUint16(o),
  (v, o, x) => v.setUint16(o, x),
);
export const be32 = integer(
  4,
  (v, o) => v.getUint32(o),
  (v, o, x) => v.setUint32(o, x),
);
export const u64: Field<bigint> = {
  size: 8,
  align: 8,
  read: (v, o) => v.getBigUint64(o, true),
  write: (v, o, x) => v.setBigUint64(o, x, true),
};

const bytesAt = (view: DataView, offset: number, size: number) =>
  new Uint8Array(view.buffer, view.byteOffset + offset, size);

/** `union addr`: 16 bytes, IPv4 as ::ffff:a.b.c.d. */
export const address: Field<Address> = {
  size: 16,
  align: 8,
  read: (v, o) => Address.fromBytes(bytesAt(v, o, 16)),
  write: (v, o, x) => Address.write16(x, bytesAt(v, o, 16), 0),
};

/** `union addr` whose zero means "none". */
export const optionalAddress: Field<Address | null> = {
  size: 16,
  align: 8,
  read: (v, o) => (bytesAt(v, o, 16).every((byte) => byte === 0) ? null : address.read(v, o)),
  write: (v, o, x) => (x === null ? bytesAt(v, o, 16).fill(0) : address.write(v, o, x)),
};

export const mac: Field<Mac> = {
  size: 6,
  align: 1,
  read: (v, o) => Mac.fromBytes(bytesAt(v, o, 6)),
  write: (v, o, x) => bytesAt(v, o, 6).set(Mac.toBytes(x)),
};

/** Raw bytes. */
export const raw = (size: number, align = 1): Field<Uint8Array> => ({
  size,
  align,
  read: (v, o) => bytesAt(v, o, size).slice(),
  write: (v, o, x) => bytesAt(v, o, size).set(x.subarray(0, size)),
});

export const u32Array = (count: number): Field<Uint32Array> => ({
  size: count * 4,
  align: 4,
  read: (v, o) => Uint32Array.from({ length: count }, (_, i) => v.getUint32(o + 4 * i, true)),
  write(v, o, x) {
    for (let i = 0; i < count; i++) v.setUint32(o + 4 * i, x[i] ?? 0, true);
  },
});

/** Named padding: zero, and no part of the value. */
export const pad = (size: number, align = 1): Field<undefined> => ({
  size,
  align,
  read: () => undefined,
  write: (v, o) => bytesAt(v, o, size).fill(0),
});

/** `hostMac` as C writes it: `host_mac`. */
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Members in C's order, named as in C but in camel case, placed by C's rules of alignment. */
export function struct<F extends Fields>(fields: F): Struct<ValueOf<F>> {
  type T = ValueOf<F>;
  let offset = 0;
  let align = 1;
  const places = Object.entries(fields).map(([name, field]) => {
    offset = Math.ceil(offset / field.align) * field.align;
    const place = { name, field, offset };
    offset += field.size;
    align = Math.max(align, field.align);
    return place;
  });
  const size = Math.ceil(offset / align) * align;
  const isPadding = (name: string) => /^pad\d*$/.test(name);

  const read = (view: DataView, at: number): T => {
    const value: Record<string, unknown> = {};
    for (const place of places) {
      if (!isPadding(place.name)) value[place.name] = place.field.read(view, at + place.offset);
    }
    return value as T;
  };
  const write = (view: DataView, at: number, value: T): void => {
    for (const place of places) {
      place.field.write(view, at + place.offset, (value as Record<string, unknown>)[place.name]);
    }
  };
  return {
    size,
    align,
    read,
    write,
    expected: {
      size,
      members: places.map((place) => ({
        name: snake(place.name),
        offset: place.offset,
        size: place.field.size,
      })),
    },
    encode(value) {
      const bytes = new Uint8Array(size);
      write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
    decode(bytes) {
      if (bytes.length < size)
        throw new RangeError(`${bytes.length} bytes for a struct of ${size}`);
      return read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
    },
  };
}

/** A key or value that is a single number. */
export function scalar(field: Field<number>): Struct<number> {
  return {
    ...field,
    expected: { size: field.size, members: [] },
    encode(value) {
      const bytes = new Uint8Array(field.size);
      field.write(new DataView(bytes.buffer), 0, value);
      return bytes;
    },
    decode: (bytes) => field.read(new DataView(bytes.buffer, bytes.byteOffset), 0),
  };
}
