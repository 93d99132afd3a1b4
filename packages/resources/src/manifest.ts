import { type Document, parseAllDocuments } from 'yaml';
import { ResourceError, shown } from './errors.ts';

/** Bounds on what a person, or an attacker, hands in. */
export interface ManifestLimits {
  /** Bytes of text. */
  readonly bytes: number;
  readonly documents: number;
  /** Objects after Lists are unpacked. */
  readonly objects: number;
  readonly depth: number;
  /** Values in all documents together, after aliases are resolved. */
  readonly values: number;
}

export const MANIFEST_LIMITS: ManifestLimits = Object.freeze({
  bytes: 8 * 1024 * 1024,
  documents: 10_000,
  objects: 10_000,
  depth: 64,
  values: 1_000_000,
});

/** One object as it stands in a manifest, not yet validated. */
export interface RawObject {
  /** `document 3` or `document 3, items[0]`: for errors. */
  readonly where: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * Reads YAML or JSON, several documents, List kinds unpacked. Empty documents are skipped. Throws
 * ResourceError `bad-yaml` or `too-large`.
 */
export function parseManifests(text: string, given: Partial<ManifestLimits> = {}): RawObject[] {
  const limits = { ...MANIFEST_LIMITS, ...given };
  // UTF-8 is at most three bytes for each UTF-16 unit: the exact count is taken only when it matters.
  if (
    text.length > limits.bytes ||
    (text.length * 3 > limits.bytes && utf8Length(text) > limits.bytes)
  ) {
    throw tooLarge(`manifest is larger than ${limits.bytes} bytes`, text.length);
  }
  const budget = { values: limits.values, depth: limits.depth };
  const objects: RawObject[] = [];
  documentsOf(text, limits).forEach((read, index) => {
    const where = `document ${index + 1}`;
    const value = plain(read(where), where, budget, 0);
    if (value !== null && value !== undefined) unpack(value, where, objects, limits);
  });
  return objects;
}

type ReadDocument = (where: string) => unknown;

function documentsOf(text: string, limits: ManifestLimits): ReadDocument[] {
  if (/^\s*[{[]/.test(text)) {
    try {
      // JSON is YAML, and this reads it twenty times faster.
      const value: unknown = JSON.parse(text);
      return [() => value];
    } catch {
      // Perhaps YAML in flow style.
    }
  }
  let documents: ReturnType<typeof parseAllDocuments>;
  try {
    documents = parseAllDocuments(text, { uniqueKeys: true, merge: true, logLevel: 'silent' });
  } catch (cause) {
    // The parser recurses: hostile nesting ends its stack.
    if (cause instanceof RangeError) throw tooLarge('manifest is nested too deeply', undefined);
    throw cause;
  }
  if (!Array.isArray(documents)) return [];
  if (documents.length > limits.documents) {
    throw tooLarge(`manifest has more than ${limits.documents} documents`, documents.length);
  }
  return documents.map((document) => (where) => toJs(document, where));
}

function toJs(document: Document, where: string): unknown {
  const [error] = document.errors;
  if (error !== undefined) throw badYaml(where, error.message.trim(), error);
  try {
    // Aliases come out as shared references, which cost nothing here; `plain` counts them in full.
    return document.toJS({ maxAliasCount: -1 });
  } catch (cause) {
    throw badYaml(where, (cause as Error).message, cause);
  }
}

/**
 * A copy that holds plain data only and shares nothing. Fields that are null are left out: that is
 * how Kubernetes reads them.
 */
function plain(
  value: unknown,
  where: string,
  budget: { values: number; depth: number },
  depth: number,
): unknown {
  budget.values -= 1;
  if (budget.values < 0) throw tooLarge(`${where}: the manifest holds too many values`, undefined);
  if (depth > budget.depth) {
    throw tooLarge(`${where}: is nested deeper than ${budget.depth} levels`, undefined);
  }
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (Array.isArray(value)) return value.map((each) => plain(each, where, budget, depth + 1));
  if (typeof value !== 'object') {
    throw badYaml(where, `${shown(value)} is neither text, number, list nor object`, undefined);
  }
  const copy: Record<string, unknown> = {};
  for (const [key, each] of Object.entries(value)) {
    if (key === '__proto__') throw badYaml(where, 'a field must not be named __proto__', undefined);
    if (each !== null && each !== undefined) copy[key] = plain(each, where, budget, depth + 1);
  }
  return copy;
}

function unpack(value: unknown, where: string, into: RawObject[], limits: ManifestLimits): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ResourceError(
      'invalid',
      `${where}: must be an object with apiVersion and kind, not ${shown(value)}`,
      {
        object: where,
        value,
        issues: [{ type: 'invalid', path: '', message: 'must be an object', value }],
      },
    );
  }
  const object = value as Record<string, unknown>;
  const items = object.items;
  if (typeof object.kind === 'string' && object.kind.endsWith('List') && Array.isArray(items)) {
    items.forEach((item, index) => {
      unpack(item, `${where}, items[${index}]`, into, limits);
    });
    return;
  }
  if (into.length >= limits.objects) {
    throw tooLarge(`manifest has more than ${limits.objects} objects`, into.length + 1);
  }
  into.push({ where, value: ofThisStore(object) });
}

/**
 * A Kubernetes API server's own copy of an object names who manages its fields. Then its revision and UID are that
 * server's too: they mean nothing here, and as a condition of a write would make every such object be refused.
 */
function ofThisStore(object: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { metadata } = object;
  if (typeof metadata !== 'object' || metadata === null || !('managedFields' in metadata)) {
    return object;
  }
  const {
    managedFields: _,
    resourceVersion: __,
    uid: ___,
    ...rest
  } = metadata as Record<string, unknown>;
  return { ...object, metadata: rest };
}

/** An object that a program hands in, under the same bounds as one in a manifest. */
export function plainObject(value: unknown, where: string): RawObject {
  const objects: RawObject[] = [];
  const budget = { values: MANIFEST_LIMITS.values, depth: MANIFEST_LIMITS.depth };
  unpack(plain(value, where, budget, 0), where, objects, MANIFEST_LIMITS);
  const [only] = objects;
  if (only === undefined || objects.length > 1) {
    throw new ResourceError('invalid', `${where}: must be one object, not a list`, {
      object: where,
    });
  }
  return only;
}

const badYaml = (where: string, message: string, cause: unknown): ResourceError =>
  new ResourceError('bad-yaml', `${where}: ${message}`, { object: where, cause });

const tooLarge = (message: string, value: unknown): ResourceError =>
  new ResourceError('too-large', message, { value, hint: 'split the manifest' });

const utf8Length = (text: string): number => new TextEncoder().encode(text).length;
