import type { Refusal, RefusalCode } from '../refusal.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Members of one list; one manifest must not be able to fill a node. */
export const MAX_LIST = 10_000;

/**
 * Reads untyped JSON and collects what is wrong with it. Every reader answers undefined (or an empty
 * list) after noting a refusal, so that one pass names everything.
 */
export class Fields {
  readonly refusals: Refusal[] = [];

  refuse(code: RefusalCode, path: string, message: string, value?: unknown): undefined {
    this.refusals.push(
      value === undefined
        ? { code, path, message: `${path} ${message}` }
        : { code, path, message: `${path} ${message}`, value },
    );
    return undefined;
  }

  /** An object with no members beside `known`; `null` counts as absent everywhere, as in Go's JSON. */
  object(value: unknown, path: string, known: readonly string[]): Json | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object' || Array.isArray(value)) {
      return this.refuse('invalid', path, 'must be an object', value);
    }
    const object = value as Json;
    for (const key of Object.keys(object)) {
      if (object[key] === undefined || object[key] === null || known.includes(key)) continue;
      this.refuse(
        'unknown-field',
        `${path}.${key}`,
        'is not a field that this version knows; remove it',
        object[key],
      );
    }
    return object;
  }

  /** undefined if absent, so that callers can tell an absent list from an empty one. */
  list(value: unknown, path: string, max = MAX_LIST): readonly unknown[] | undefined {
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value)) return this.refuse('invalid', path, 'must be a list', value);
    if (value.length > max) {
      return this.refuse(
        'too-large',
        path,
        `has ${value.length} members, at most ${max} are taken`,
      );
    }
    return value;
  }

  string(value: unknown, path: string): string | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') return this.refuse('invalid', path, 'must be a string', value);
    return value;
  }

  boolean(value: unknown, path: string): boolean | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'boolean') {
      return this.refuse('invalid', path, 'must be true or false', value);
    }
    return value;
  }

  /** Refuses each of `names` that stands in the object with anything in it. */
  unsupported(object: Json, path: string, names: Readonly<Record<string, string>>): void {
    for (const [name, why] of Object.entries(names)) {
      const value = object[name];
      if (value === undefined || value === null) continue;
      if (Array.isArray(value) && value.length === 0) continue;
      this.refuse('unsupported', `${path}.${name}`, why, value);
    }
  }
}

/** Not absent and not `null`. */
export const present = (value: unknown): boolean => value !== undefined && value !== null;
