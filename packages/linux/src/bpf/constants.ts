import { LinuxError } from '../errors.ts';
import type { BtfVariable } from './btf.ts';

/** A value for a `const volatile` variable; arrays and structs as their bytes. */
export type ConstantValue = number | bigint | boolean | Uint8Array;

function refuse(name: string, why: string, value: unknown): LinuxError {
  return new LinuxError('invalid-argument', `constant ${name}: ${why}`, {
    operation: 'set constants',
    value,
  });
}

/** Writes `values` over the variables' places in the bytes of a data section. */
export function writeConstants(
  section: Uint8Array,
  variables: readonly BtfVariable[],
  values: Readonly<Record<string, ConstantValue>>,
): void {
  const byName = new Map(variables.map((variable) => [variable.name, variable]));
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength);
  for (const [name, value] of Object.entries(values)) {
    const variable = byName.get(name);
    if (variable === undefined) {
      const known = [...byName.keys()].join(', ') || 'none';
      throw refuse(name, `the object has no such variable (it has ${known})`, value);
    }
    const { offset, size } = variable;
    if (offset + size > section.length) throw refuse(name, 'it lies outside its section', value);
    if (value instanceof Uint8Array) {
      if (value.length !== size) {
        throw refuse(name, `it takes ${size} bytes, got ${value.length}`, value);
      }
      section.set(value, offset);
      continue;
    }
    if (size !== 1 && size !== 2 && size !== 4 && size !== 8) {
      throw refuse(name, `it is a ${variable.type} of ${size} bytes: give bytes`, value);
    }
    if (typeof value === 'number' && !Number.isSafeInteger(value)) {
      throw refuse(name, `${value} is no integer`, value);
    }
    const number = BigInt(value);
    const bits = BigInt(size * 8);
    // Signed and unsigned variables look alike from here: either range will do.
    if (number >= 1n << bits || number < -(1n << (bits - 1n))) {
      throw refuse(name, `${number} does not fit into ${size} bytes`, value);
    }
    const raw = BigInt.asUintN(64, number);
    for (let i = 0; i < size; i++) {
      view.setUint8(offset + i, Number((raw >> BigInt(8 * i)) & 0xffn));
    }
  }
}
