import { knownKeys, suggest } from '@causeway/daemon/words';
import { pathText } from './validate.ts';

/** Entries of a list that are looked at, and fields that are told of, in one object. */
const MAX_ENTRIES = 50;
const MAX_TOLD = 5;

/**
 * Fields that other programs may own, but that look like one of ours that is not there: of these kinds unknown fields are
 * kept, and a Service whose `selctor` is kept has no backends.
 */
export function misspelt(
  schema: unknown,
  object: Readonly<Record<string, unknown>>,
): { readonly path: string; readonly meant: string }[] {
  const found: { path: string; meant: string }[] = [];
  const walk = (value: unknown, path: readonly PropertyKey[]): void => {
    if (typeof value !== 'object' || value === null || found.length >= MAX_TOLD) return;
    if (Array.isArray(value)) {
      for (const [index, entry] of value.slice(0, MAX_ENTRIES).entries()) {
        walk(entry, [...path, index]);
      }
      return;
    }
    const known = knownKeys(schema, path, object);
    // Whatever may have any key, such as labels, cannot have a mistyped one.
    if (known.length === 0) return;
    for (const [key, each] of Object.entries(value)) {
      if (known.includes(key)) walk(each, [...path, key]);
      else {
        const meant = suggest(key, known);
        if (meant === undefined || Object.hasOwn(value, meant)) continue;
        found.push({ path: pathText([...path, key]), meant });
      }
    }
  };
  for (const part of ['metadata', 'spec']) walk(object[part], [part]);
  return found.slice(0, MAX_TOLD);
}
