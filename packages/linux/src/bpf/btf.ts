import { LinuxError } from '../errors.ts';
import { type BtfType, parseBtfTypes } from './btf-types.ts';

/** A member of a struct or union, with what lies inside it. */
export interface LayoutMember {
  readonly name: string;
  /** Bytes from the start of the outermost struct. */
  readonly offset: number;
  /** Bits from the start of the outermost struct: differs from offset * 8 for bit fields only. */
  readonly bitOffset: number;
  /** Bytes; of a bit field, those of its declared type. */
  readonly size: number;
  /** As C writes it: "__u32", "struct addr16", "__u8[16]". */
  readonly type: string;
  readonly members?: readonly LayoutMember[];
}

export interface Layout {
  readonly name: string;
  readonly size: number;
  readonly members: readonly LayoutMember[];
}

/** What a declared layout must say to be compared: members by name, nested ones as "outer.inner". */
export interface ExpectedLayout {
  readonly size: number;
  readonly members: readonly {
    readonly name: string;
    readonly offset: number;
    readonly size: number;
  }[];
}

export interface BtfVariable {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly type: string;
}

export interface BtfMapLayout {
  readonly keySize: number;
  readonly valueSize: number;
  readonly key?: Layout;
  readonly value?: Layout;
}

const maxDepth = 32;

/** The types of one BPF object, to check what TypeScript declares against what C declares. */
export class Btf {
  readonly #types: readonly BtfType[];
  readonly #symbolOffsets: ReadonlyMap<string, { offset: number; size: number }>;

  private constructor(
    types: readonly BtfType[],
    symbolOffsets: ReadonlyMap<string, { offset: number; size: number }>,
  ) {
    this.#types = types;
    this.#symbolOffsets = symbolOffsets;
  }

  /**
   * `symbols` gives the place of global variables: clang leaves their offsets in BTF at zero for the
   * loader to fill in from the ELF symbol table.
   */
  static parse(
    bytes: Uint8Array,
    symbols: ReadonlyMap<string, { offset: number; size: number }> = new Map(),
  ): Btf {
    return new Btf(parseBtfTypes(bytes), symbols);
  }

  structNames(): string[] {
    return this.#types.filter((t) => t.kind === 'struct' && t.name !== '').map((t) => t.name);
  }

  structLayout(name: string): Layout {
    const id = this.#types.findIndex(
      (t) => (t.kind === 'struct' || t.kind === 'union') && t.name === name,
    );
    if (id < 0) throw this.#absent('struct', name);
    return this.#layout(id, name);
  }

  enumValues(name: string): ReadonlyMap<string, number> {
    const type = this.#types.find((t) => t.kind === 'enum' && t.name === name);
    if (type?.kind !== 'enum') throw this.#absent('enum', name);
    return type.values;
  }

  /** Variables of a data section: ".rodata", ".data", ".bss". */
  variables(section: string): readonly BtfVariable[] {
    const found = this.#types.find((t) => t.kind === 'datasec' && t.name === section);
    if (found?.kind !== 'datasec') return [];
    return found.variables.map((row) => {
      const variable = this.#type(row.type);
      const symbol = this.#symbolOffsets.get(variable.name);
      return {
        name: variable.name,
        offset: symbol?.offset ?? row.offset,
        size: symbol?.size ?? row.size,
        type: variable.kind === 'var' ? this.#text(variable.type) : '?',
      };
    });
  }

  mapNames(): string[] {
    return this.variables('.maps').map((variable) => variable.name);
  }

  /** Key and value of a map declared in the ".maps" section. */
  mapLayout(name: string): BtfMapLayout {
    const variable = this.#types.find((t) => t.kind === 'var' && t.name === name);
    const id = variable?.kind === 'var' ? this.#strip(variable.type) : 0;
    const definition = this.#type(id);
    if (definition.kind !== 'struct') throw this.#absent('map', name);
    const member = (wanted: string) => {
      const pointer = definition.members.find((m) => m.name === wanted);
      const type = pointer && this.#type(this.#strip(pointer.type));
      return type?.kind === 'pointer' ? this.#strip(type.type) : undefined;
    };
    const side = (part: 'key' | 'value') => {
      const type = member(part);
      if (type !== undefined) return { size: this.#size(type), layout: this.#layout(type, part) };
      // __uint(key_size, N) is a pointer to an array of N ints.
      const sized = member(`${part}_size`);
      const array = sized === undefined ? undefined : this.#type(sized);
      return { size: array?.kind === 'array' ? array.count : 0, layout: undefined };
    };
    const key = side('key');
    const value = side('value');
    return {
      keySize: key.size,
      valueSize: value.size,
      ...(key.layout && { key: key.layout }),
      ...(value.layout && { value: value.layout }),
    };
  }

  /** Throws layout-mismatch, naming every member that differs. */
  check(name: string, expected: ExpectedLayout): void {
    compareLayouts(name, this.structLayout(name), expected);
  }

  #type(id: number): BtfType {
    const type = this.#types[id];
    if (type === undefined) {
      throw new LinuxError('bad-object', `malformed BTF: no type ${id}`, { operation: 'read BTF' });
    }
    return type;
  }

  #absent(what: string, name: string): LinuxError {
    return new LinuxError('bad-object', `the object has no ${what} ${name}`, {
      operation: 'read BTF',
      value: name,
    });
  }

  /** Past typedefs and qualifiers. */
  #strip(id: number): number {
    for (let depth = 0; depth < maxDepth; depth++) {
      const type = this.#type(id);
      if (type.kind !== 'typedef' && type.kind !== 'qualifier') return id;
      id = type.type;
    }
    throw new LinuxError('bad-object', 'malformed BTF: endless typedef', { operation: 'read BTF' });
  }

  #size(id: number, depth = 0): number {
    const type = this.#type(this.#strip(id));
    switch (type.kind) {
      case 'int':
      case 'float':
      case 'enum':
      case 'struct':
      case 'union':
        return type.size;
      case 'pointer':
        return 8;
      case 'array':
        if (depth > maxDepth) return 0;
        return type.count * this.#size(type.type, depth + 1);
      default:
        return 0;
    }
  }

  #text(id: number, depth = 0): string {
    const type = this.#type(id);
    if (depth > maxDepth) return '...';
    switch (type.kind) {
      case 'struct':
      case 'union':
        return type.name === '' ? type.kind : `${type.kind} ${type.name}`;
      case 'enum':
        return `enum ${type.name}`;
      case 'pointer':
        return `${this.#text(type.type, depth + 1)} *`;
      case 'qualifier':
        return this.#text(type.type, depth + 1);
      case 'array':
        return `${this.#text(type.type, depth + 1)}[${type.count}]`;
      default:
        return type.name;
    }
  }

  #layout(id: number, name: string): Layout {
    const stripped = this.#strip(id);
    return {
      name: this.#type(id).name || this.#type(stripped).name || name,
      size: this.#size(stripped),
      members: this.#members(stripped, 0, 0),
    };
  }

  #members(id: number, baseBits: number, depth: number): LayoutMember[] {
    const type = this.#type(id);
    if ((type.kind !== 'struct' && type.kind !== 'union') || depth > maxDepth) return [];
    return type.members.map((member) => {
      const bitOffset = baseBits + member.bitOffset;
      const inner = this.#members(this.#strip(member.type), bitOffset, depth + 1);
      return {
        name: member.name,
        offset: bitOffset >>> 3,
        bitOffset,
        size: this.#size(member.type),
        type: this.#text(member.type),
        ...(inner.length > 0 && { members: inner }),
      };
    });
  }
}

/** Every member by its path, those of anonymous structs and unions under their own names. */
export function flattenLayout(layout: Layout): Map<string, LayoutMember> {
  const flat = new Map<string, LayoutMember>();
  const walk = (members: readonly LayoutMember[], prefix: string) => {
    for (const member of members) {
      const path = member.name === '' ? prefix : `${prefix}${member.name}`;
      if (member.name !== '') flat.set(path, member);
      if (member.members) walk(member.members, member.name === '' ? prefix : `${path}.`);
    }
  };
  walk(layout.members, '');
  return flat;
}

/** Throws layout-mismatch with all differences between the object and the declaration. */
export function compareLayouts(name: string, found: Layout, expected: ExpectedLayout): void {
  const differences: string[] = [];
  if (found.size !== expected.size) {
    differences.push(`size is ${found.size}, declared ${expected.size}`);
  }
  const flat = flattenLayout(found);
  for (const member of expected.members) {
    const other = flat.get(member.name);
    if (other === undefined) differences.push(`${member.name} is missing`);
    else if (other.offset !== member.offset || other.size !== member.size) {
      differences.push(
        `${member.name} is ${other.size} bytes at ${other.offset}, declared ${member.size} at ${member.offset}`,
      );
    }
  }
  if (differences.length > 0) {
    throw new LinuxError(
      'layout-mismatch',
      `struct ${name} of the object differs from its declaration: ${differences.join('; ')}`,
      { operation: 'check layout', value: name },
    );
  }
}
