import { ByteReader, ByteWriter } from '@causeway/wire';

// Netlink attributes: struct nlattr of linux/netlink.h. Length (u16, header included), type (u16),
// payload, padding to 4 bytes. Everything is in host byte order unless a codec says otherwise.

/** How one attribute's payload is written and read. */
export interface PayloadCodec<T> {
  write(writer: ByteWriter, value: T): void;
  read(payload: Uint8Array): T;
  /** Rows of a nested payload: to name an offending attribute inside. */
  readonly table?: AttributeTable;
}

export interface AttributeRow<T> {
  readonly type: number;
  readonly codec: PayloadCodec<T>;
}

// biome-ignore lint/suspicious/noExplicitAny: rows of all value types stand in one table
export type AttributeTable = Readonly<Record<string, AttributeRow<any>>>;

/** The object that a table's attributes stand for. An attribute that is not there is not a key. */
export type AttributeValues<T extends AttributeTable> = {
  readonly [K in keyof T]?: (T[K] extends AttributeRow<infer V> ? V : never) | undefined;
};

export function row<T>(type: number, codec: PayloadCodec<T>): AttributeRow<T> {
  return { type, codec };
}

const headerSize = 4;
const nestedFlag = 0x8000; // NLA_F_NESTED
const typeMask = 0x3fff; // without NLA_F_NESTED and NLA_F_NET_BYTEORDER

const reader = (payload: Uint8Array) => new ByteReader(payload, 'little');
const bigReader = (payload: Uint8Array) => new ByteReader(payload, 'big');

export const u8: PayloadCodec<number> = {
  write: (writer, value) => void writer.u8(value),
  read: (payload) => reader(payload).u8(),
};
export const u16: PayloadCodec<number> = {
  write: (writer, value) => void writer.u16(value),
  read: (payload) => reader(payload).u16(),
};
export const u32: PayloadCodec<number> = {
  write: (writer, value) => void writer.u32(value),
  read: (payload) => reader(payload).u32(),
};
/** Network order: ports. */
export const be16: PayloadCodec<number> = {
  write: (writer, value) => void writer.u8(value >>> 8).u8(value & 255),
  read: (payload) => bigReader(payload).u16(),
};
/** An int as some options have it: a bool in one byte. */
export const bool8: PayloadCodec<boolean> = {
  write: (writer, value) => void writer.u8(value ? 1 : 0),
  read: (payload) => reader(payload).u8() !== 0,
};
/** NUL-terminated. */
export const text: PayloadCodec<string> = {
  write: (writer, value) => void writer.cstring(value),
  read: (payload) => reader(payload).cstring(payload.length),
};
/** Copied when read: the receive buffer is used again. */
export const bytes: PayloadCodec<Uint8Array> = {
  write: (writer, value) => void writer.bytes(value),
  read: (payload) => payload.slice(),
};

export function nested<T extends AttributeTable>(table: T): PayloadCodec<AttributeValues<T>> {
  return {
    table,
    write: (writer, value) => writeAttributes(writer, table, value),
    read: (payload) => readAttributes(payload, table),
  };
}

/** Appends one attribute whose payload `write` makes. */
export function writeAttribute(writer: ByteWriter, type: number, write: () => void): void {
  const start = writer.length;
  writer.u16(0).u16(type);
  write();
  writer.patchU16(start, writer.length - start);
  writer.align(4);
}

/** Appends the attributes in the table's order; undefined ones are left out. */
export function writeAttributes<T extends AttributeTable>(
  writer: ByteWriter,
  table: T,
  values: AttributeValues<T>,
): void {
  for (const [name, { type, codec }] of Object.entries(table)) {
    const value = values[name];
    if (value === undefined) continue;
    const flag = codec.table === undefined ? 0 : nestedFlag;
    writeAttribute(writer, type | flag, () => codec.write(writer, value));
  }
}

export function encodeAttributes<T extends AttributeTable>(
  table: T,
  values: AttributeValues<T>,
): Uint8Array {
  const writer = new ByteWriter('little');
  writeAttributes(writer, table, values);
  return writer.finish();
}

/** Every attribute in order. Throws WireError where a length lies. */
export function* walkAttributes(
  payload: Uint8Array,
): Generator<{ readonly type: number; readonly payload: Uint8Array; readonly offset: number }> {
  const list = reader(payload);
  while (list.left >= headerSize) {
    const offset = list.offset;
    const length = list.u16();
    const type = list.u16() & typeMask;
    // A length below the header's own runs into the reader's check: it throws truncated.
    yield { type, payload: list.bytes(length - headerSize), offset };
    list.align(4);
  }
}

/** The known attributes as an object. Unknown ones are passed over: newer kernels send more. */
export function readAttributes<T extends AttributeTable>(
  payload: Uint8Array,
  table: T,
): AttributeValues<T> {
  const byType = namesByType(table);
  const values: Record<string, unknown> = {};
  for (const attribute of walkAttributes(payload)) {
    const name = byType.get(attribute.type);
    if (name !== undefined) values[name] = table[name]!.codec.read(attribute.payload);
  }
  return values as AttributeValues<T>;
}

/** The path of the attribute that starts at `offset` of `payload`: "linkinfo.data". */
export function attributeAt(
  payload: Uint8Array,
  table: AttributeTable,
  offset: number,
): string | undefined {
  const byType = namesByType(table);
  for (const attribute of walkAttributes(payload)) {
    const end = attribute.offset + headerSize + attribute.payload.length;
    if (offset < attribute.offset || offset >= end) continue;
    const name = byType.get(attribute.type) ?? `#${attribute.type}`;
    const inner = table[name]?.codec.table;
    if (offset === attribute.offset || inner === undefined) return name;
    const below = attributeAt(attribute.payload, inner, offset - attribute.offset - headerSize);
    return below === undefined ? name : `${name}.${below}`;
  }
  return undefined;
}

const nameCache = new WeakMap<AttributeTable, ReadonlyMap<number, string>>();

function namesByType(table: AttributeTable): ReadonlyMap<number, string> {
  let names = nameCache.get(table);
  if (names === undefined) {
    names = new Map(Object.entries(table).map(([name, { type }]) => [type, name]));
    nameCache.set(table, names);
  }
  return names;
}
