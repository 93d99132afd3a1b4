import { LinuxError } from '../errors.ts';

// ELF-64 little endian, as clang writes BPF objects: System V ABI, chapters 4 and 5.

export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
}

export interface ElfSymbol {
  readonly name: string;
  /** STT_*: 1 data, 2 function. */
  readonly type: number;
  readonly section: number;
  readonly offset: number;
  readonly size: number;
}

export interface ElfFile {
  readonly sections: readonly ElfSection[];
  readonly symbols: readonly ElfSymbol[];
}

export const elfSymbolType = { object: 1, function: 2 } as const;

const symbolTableType = 2; // SHT_SYMTAB
const noBitsType = 8; // SHT_NOBITS
const bpfMachine = 247; // EM_BPF

/** Sections and symbols of a BPF object. Throws bad-object for anything else. */
export function parseElf(bytes: Uint8Array, path: string): ElfFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bad = (why: string) =>
    new LinuxError('bad-object', `${path} is no BPF object: ${why}`, {
      operation: 'read object',
      value: path,
    });
  if (bytes.length < 64 || view.getUint32(0) !== 0x7f454c46) throw bad('it is no ELF file');
  if (bytes[4] !== 2 || bytes[5] !== 1) throw bad('it is not 64 bit little endian');
  if (view.getUint16(18, true) !== bpfMachine) throw bad('its machine is not BPF');
  const tableOffset = Number(view.getBigUint64(40, true));
  const entrySize = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  const namesIndex = view.getUint16(62, true);
  if (entrySize < 64 || tableOffset + count * entrySize > bytes.length) {
    throw bad('its section table lies outside the file');
  }
  const headers = Array.from({ length: count }, (_, index) => {
    const at = tableOffset + index * entrySize;
    const type = view.getUint32(at + 4, true);
    const offset = Number(view.getBigUint64(at + 24, true));
    const size = Number(view.getBigUint64(at + 32, true));
    if (type !== noBitsType && offset + size > bytes.length) {
      throw bad(`section ${index} lies outside the file`);
    }
    return {
      nameOffset: view.getUint32(at, true),
      type,
      flags: Number(view.getBigUint64(at + 8, true)),
      link: view.getUint32(at + 40, true),
      size,
      bytes: type === noBitsType ? new Uint8Array(0) : bytes.subarray(offset, offset + size),
    };
  });
  const names = headers[namesIndex]?.bytes;
  if (names === undefined) throw bad('it has no section names');
  const sections = headers.map((header) => ({
    name: textAt(names, header.nameOffset),
    type: header.type,
    flags: header.flags,
    bytes: header.bytes,
  }));
  const symbols: ElfSymbol[] = [];
  for (const header of headers) {
    if (header.type !== symbolTableType) continue;
    const strings = headers[header.link]?.bytes;
    if (strings === undefined) throw bad('its symbols have no names');
    const table = new DataView(header.bytes.buffer, header.bytes.byteOffset, header.bytes.length);
    for (let at = 0; at + 24 <= header.bytes.length; at += 24) {
      symbols.push({
        name: textAt(strings, table.getUint32(at, true)),
        type: table.getUint8(at + 4) & 15,
        section: table.getUint16(at + 6, true),
        offset: Number(table.getBigUint64(at + 8, true)),
        size: Number(table.getBigUint64(at + 16, true)),
      });
    }
  }
  return { sections, symbols };
}

const decoder = new TextDecoder();

/** The NUL-terminated text at `offset` of a string table; empty outside of it. */
export function textAt(table: Uint8Array, offset: number): string {
  const end = table.indexOf(0, offset);
  return decoder.decode(table.subarray(offset, end < 0 ? table.length : end));
}
