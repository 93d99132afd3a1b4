import { compareBytes } from '@causeway/identity';
import { MeshError } from '../errors.ts';

/**
 * JSON as Go's encoding/json reads and writes it: names match without regard to case, null is the
 * zero value, unknown fields are ignored; written, HTML's characters are escaped.
 */

const ESCAPES: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/** A Go map: written in the byte order of its keys, which JavaScript objects cannot keep. */
export class GoMap {
  readonly entries: readonly (readonly [string, unknown])[];

  constructor(map: Readonly<Record<string, unknown>>) {
    this.entries = Object.entries(map).sort(([a], [b]) => compareBytes(a, b));
  }
}

/** A map, or null for Go's nil. */
export const goMap = (map: Readonly<Record<string, unknown>> | undefined): GoMap | null =>
  map === undefined ? null : new GoMap(map);

/** Objects keep the order in which their fields stand, as Go's structs do. */
export function goJson(value: unknown): string {
  return write(value).replace(/[<>&\u2028\u2029]/g, (char) => ESCAPES[char] ?? char);
}

function write(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  const entries = value instanceof GoMap ? value.entries : Object.entries(value);
  return `{${entries.map(([key, each]) => `${JSON.stringify(key)}:${write(each)}`).join(',')}}`;
}

/** One JSON object; each reader names the field when it holds something else. */
export class GoObject {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #path: string;

  private constructor(fields: Readonly<Record<string, unknown>>, path: string) {
    this.#fields = fields;
    this.#path = path;
  }

  static parse(text: string): GoObject {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new MeshError('bad-value', `not JSON: ${(error as Error).message}`);
    }
    return GoObject.of(value, '');
  }

  static of(value: unknown, path: string): GoObject {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new MeshError('bad-value', `${path || 'value'} must be an object`, value, path);
    }
    return new GoObject(value as Record<string, unknown>, path);
  }

  /** The field, or undefined for absent and null. */
  raw(name: string): unknown {
    const fields = this.#fields;
    let value = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (value === undefined) {
      const lower = name.toLowerCase();
      for (const key in fields) {
        if (key.length === name.length && key.toLowerCase() === lower) value = fields[key];
      }
    }
    return value ?? undefined;
  }

  string(name: string): string {
    const value = this.raw(name);
    if (value === undefined) return '';
    return typeof value === 'string' ? value : this.#fail(name, 'a string', value);
  }

  /** An unsigned integer below 2^bits. */
  uint(name: string, bits: number): number {
    const value = this.raw(name);
    if (value === undefined) return 0;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** bits) {
      return value;
    }
    return this.#fail(name, `an integer of ${bits} bits`, value);
  }

  boolean(name: string): boolean {
    const value = this.raw(name);
    if (value === undefined) return false;
    return typeof value === 'boolean' ? value : this.#fail(name, 'true or false', value);
  }

  object(name: string): GoObject | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : GoObject.of(value, this.at(name));
  }

  objects(name: string): GoObject[] {
    const at = this.at(name);
    return this.array(name).map((each, index) => GoObject.of(each ?? {}, `${at}[${index}]`));
  }

  array(name: string): readonly unknown[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    return Array.isArray(value) ? value : this.#fail(name, 'a list', value);
  }

  /** Entries of a map as they stand; undefined when absent. */
  map<T>(name: string, read: (value: unknown, path: string) => T): Record<string, T> | undefined {
    const value = this.object(name);
    if (value === undefined) return undefined;
    const at = this.at(name);
    // Without a prototype a key named __proto__ is a key like any other.
    const result: Record<string, T> = Object.create(null) as Record<string, T>;
    for (const [key, each] of Object.entries(value.#fields))
      result[key] = read(each, `${at}[${key}]`);
    return { ...result };
  }

  strings(name: string): Record<string, string> | undefined {
    return this.map(name, (value, path) => {
      if (value === null) return '';
      if (typeof value === 'string') return value;
      throw new MeshError('bad-value', `${path} must be a string`, value, path);
    });
  }

  at(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  #fail(name: string, expected: string, value: unknown): never {
    const path = this.at(name);
    throw new MeshError('bad-value', `${path} must be ${expected}`, value, path);
  }
}
