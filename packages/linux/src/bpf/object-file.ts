import { readFileSync } from 'node:fs';
import { LinuxError } from '../errors.ts';
import { Btf } from './btf.ts';
import { elfSymbolType, parseElf, textAt } from './elf.ts';

/** What an object file holds, read without the kernel. */
export interface ObjectFile {
  readonly path: string;
  readonly btf: Btf;
  readonly programs: readonly { readonly name: string; readonly section: string }[];
  readonly license: string | undefined;
}

const executable = 4; // SHF_EXECINSTR

/** Reads the ELF and BTF of a BPF object. Throws not-found or bad-object. */
export function inspectObject(path: string): ObjectFile {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new LinuxError('not-found', `cannot read BPF object ${path}`, {
      operation: 'read object',
      value: path,
      cause,
    });
  }
  const elf = parseElf(bytes, path);
  const btfSection = elf.sections.find((section) => section.name === '.BTF');
  if (btfSection === undefined) {
    throw new LinuxError('bad-object', `${path} has no BTF: compile it with -g`, {
      operation: 'read object',
      value: path,
    });
  }
  const objects = new Map<string, { offset: number; size: number }>();
  const programs: { name: string; section: string }[] = [];
  for (const symbol of elf.symbols) {
    const section = elf.sections[symbol.section];
    if (section === undefined || symbol.section === 0) continue;
    if (symbol.type === elfSymbolType.object) {
      objects.set(symbol.name, { offset: symbol.offset, size: symbol.size });
    }
    // Functions of .text are subprograms, which the loader links into the programs that call them.
    if (
      symbol.type === elfSymbolType.function &&
      (section.flags & executable) !== 0 &&
      section.name !== '.text'
    ) {
      programs.push({ name: symbol.name, section: section.name });
    }
  }
  const license = elf.sections.find((section) => section.name === 'license');
  return {
    path,
    btf: Btf.parse(btfSection.bytes, objects),
    programs,
    license: license && textAt(license.bytes, 0),
  };
}
