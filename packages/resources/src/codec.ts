import type { KvEntry } from '@causeway/etcd';
import { ResourceError } from './errors.ts';
import {
  KINDS,
  type KindDescriptor,
  type KindName,
  type Resource,
  type ResourceKinds,
} from './kinds.ts';
import type { ObjectRef, RejectedObject } from './store.ts';
import { objectName, validateObject } from './validate.ts';

/** Where the registry stands in etcd: `causeway/registry/<group>/<plural>/<namespace|->/<name>`. */
export const REGISTRY = 'causeway/registry/';

/** An etcd request holds 1.5 MiB; one object must leave room for the rest of its transaction. */
export const MAX_OBJECT_BYTES = 1024 * 1024;

/** Prefix of a kind, or of one namespace of it; ends with `/`. */
export function prefixOf(kind: KindDescriptor, namespace?: string): string {
  const base = `${REGISTRY}${kind.group}/${kind.plural}/`;
  return namespace === undefined ? base : `${base}${namespace}/`;
}

export function keyOf(kind: KindDescriptor, { namespace, name }: ObjectRef): string {
  return `${prefixOf(kind)}${kind.namespaced ? (namespace ?? 'default') : '-'}/${name}`;
}

export const refOf = (object: Resource): ObjectRef => {
  const { name, namespace } = object.metadata;
  return namespace === undefined ? { name } : { namespace, name };
};

/** The value of an object's key. Its version is the key's own and not stored. Throws `too-large`. */
export function encode(object: Resource): string {
  const { resourceVersion: _, ...metadata } = object.metadata;
  const text = JSON.stringify({ ...object, metadata });
  if (Buffer.byteLength(text) > MAX_OBJECT_BYTES) {
    const { namespace, name } = object.metadata;
    throw new ResourceError(
      'too-large',
      `${objectName(object.kind, namespace, name)} is larger than ${MAX_OBJECT_BYTES} bytes`,
      { hint: 'split it into several objects' },
    );
  }
  return text;
}

export type Decoded<T> =
  | { readonly type: 'object'; readonly object: T }
  | { readonly type: 'rejected'; readonly rejected: RejectedObject };

/**
 * Reads a stored value. Whatever does not hold a valid object of the kind under its own name, or
 * comes from a newer version, is rejected with the reason; nothing is thrown.
 */
export function decode<K extends KindName>(
  kind: KindDescriptor<K>,
  entry: KvEntry,
): Decoded<ResourceKinds[K]> {
  const at = refOfKey(kind as KindDescriptor, entry.key);
  const reject = (reason: string): Decoded<ResourceKinds[K]> => ({
    type: 'rejected',
    rejected: { key: entry.key, namespace: at.namespace, name: at.name, reason },
  });
  let value: unknown;
  try {
    value = JSON.parse(entry.text);
  } catch (error) {
    return reject(`not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return reject('not an object');
  }
  const raw = value as Record<string, unknown>;
  if (raw.kind !== kind.kind) return reject(`kind is ${String(raw.kind)}, not ${kind.kind}`);
  const result = validateObject({ where: entry.key, value: raw });
  if (result.type === 'refused') return reject(result.error.message);
  const object = result.object as ResourceKinds[K];
  const { namespace, name } = object.metadata;
  if (name !== at.name || namespace !== at.namespace) {
    return reject(`holds ${objectName(kind.kind, namespace, name)}, which is not its key's`);
  }
  object.metadata.resourceVersion = String(entry.modRevision);
  return { type: 'object', object };
}

/** The object that a key names. */
export function refOfKey(
  kind: KindDescriptor,
  key: string,
): { namespace: string | undefined; name: string } {
  const rest = key.slice(prefixOf(kind).length);
  const slash = rest.indexOf('/');
  return {
    namespace: kind.namespaced ? rest.slice(0, slash) : undefined,
    name: rest.slice(slash + 1),
  };
}

/** The descriptor with its type, which indexing by a type parameter loses. */
export const descriptor = <K extends KindName>(kind: K): KindDescriptor<K> =>
  KINDS[kind] as unknown as KindDescriptor<K>;
