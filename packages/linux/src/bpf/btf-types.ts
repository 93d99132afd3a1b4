import { LinuxError } from '../errors.ts';
import { textAt } from './elf.ts';

// BTF, the type section of BPF objects: Documentation/bpf/btf.rst of the kernel.

export type BtfType =
  | { readonly kind: 'void'; readonly name: string }
  | { readonly kind: 'int' | 'float'; readonly name: string; readonly size: number }
  | {
      readonly kind: 'pointer' | 'typedef' | 'qualifier' | 'var' | 'func';
      readonly name: string;
      readonly type: number;
    }
  | { readonly kind: 'array'; readonly name: string; readonly type: number; readonly count: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly size: number;
      readonly members: readonly BtfMember[];
    }
  | {
      readonly kind: 'enum';
      readonly name: string;
      readonly size: number;
      readonly values: ReadonlyMap<string, number>;
    }
  | {
      readonly kind: 'datasec';
      readonly name: string;
      readonly variables: readonly {
        readonly type: number;
        readonly offset: number;
        readonly size: number;
      }[];
    }
  | { readonly kind: 'other'; readonly name: string };

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  readonly bitOffset: number;
  /** Bits of a bit field; 0 for a plain member. */
  readonly bitSize: number;
}

function malformed(why: string): LinuxError {
  return new LinuxError('bad-object', `malformed BTF: ${why}`, { operation: 'read BTF' });
}

/** The type table; index 0 is void, as type ids count. */
export function parseBtfTypes(bytes: Uint8Array): BtfType[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 24 || view.getUint16(0, true) !== 0xeb9f) throw malformed('no BTF header');
  const headerLength = view.getUint32(4, true);
  const typesStart = headerLength + view.getUint32(8, true);
  const typesEnd = typesStart + view.getUint32(12, true);
  const stringsStart = headerLength + view.getUint32(16, true);
  const stringsEnd = stringsStart + view.getUint32(20, true);
  if (typesEnd > bytes.length || stringsEnd > bytes.length) throw malformed('sections cut short');
  const strings = bytes.subarray(stringsStart, stringsEnd);
  const types: BtfType[] = [{ kind: 'void', name: 'void' }];
  let at = typesStart;
  const word = (): number => {
    if (at + 4 > typesEnd) throw malformed(`type ${types.length} is cut short`);
    at += 4;
    return view.getUint32(at - 4, true);
  };
  const list = <T>(count: number, read: () => T): T[] => Array.from({ length: count }, read);
  while (at < typesEnd) {
    const name = textAt(strings, word());
    const info = word();
    const sizeOrType = word();
    const count = info & 0xffff;
    const flag = info >>> 31 === 1;
    const kind = (info >>> 24) & 31;
    switch (kind) {
      case 1:
        word();
        types.push({ kind: 'int', name, size: sizeOrType });
        break;
      case 2:
        types.push({ kind: 'pointer', name, type: sizeOrType });
        break;
      case 3: {
        const type = word();
        word();
        types.push({ kind: 'array', name, type, count: word() });
        break;
      }
      case 4:
      case 5:
        types.push({
          kind: kind === 4 ? 'struct' : 'union',
          name,
          size: sizeOrType,
          members: list(count, () => {
            const member = textAt(strings, word());
            const type = word();
            const offset = word();
            // kind_flag set: the upper byte is the width of a bit field.
            return flag
              ? { name: member, type, bitOffset: offset & 0xffffff, bitSize: offset >>> 24 }
              : { name: member, type, bitOffset: offset, bitSize: 0 };
          }),
        });
        break;
      case 6:
        types.push({
          kind: 'enum',
          name,
          size: sizeOrType,
          values: new Map(
            list(count, () => [textAt(strings, word()), flag ? word() | 0 : word()] as const),
          ),
        });
        break;
      case 8:
        types.push({ kind: 'typedef', name, type: sizeOrType });
        break;
      case 9:
      case 10:
      case 11:
      case 18:
        types.push({ kind: 'qualifier', name, type: sizeOrType });
        break;
      case 12:
        types.push({ kind: 'func', name, type: sizeOrType });
        break;
      case 13:
        list(count * 2, word);
        types.push({ kind: 'other', name });
        break;
      case 14:
        word();
        types.push({ kind: 'var', name, type: sizeOrType });
        break;
      case 15:
        types.push({
          kind: 'datasec',
          name,
          variables: list(count, () => ({ type: word(), offset: word(), size: word() })),
        });
        break;
      case 16:
        types.push({ kind: 'float', name, size: sizeOrType });
        break;
      case 17:
        word();
        types.push({ kind: 'other', name });
        break;
      case 19:
        types.push({
          kind: 'enum',
          name,
          size: sizeOrType,
          values: new Map(
            list(count, () => {
              const value = textAt(strings, word());
              const low = word();
              return [value, (flag ? word() | 0 : word()) * 2 ** 32 + low] as const;
            }),
          ),
        });
        break;
      case 7:
        types.push({ kind: 'other', name });
        break;
      default:
        throw malformed(`type ${types.length} has unknown kind ${kind}`);
    }
  }
  return types;
}
