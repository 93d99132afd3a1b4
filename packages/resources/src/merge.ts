import { isDeepStrictEqual } from 'node:util';
import type { Resource } from './kinds.ts';

/** What the store gives an object at its birth. */
export interface Birth {
  readonly uid: string;
  /** RFC 3339, whole seconds, as Kubernetes writes it. */
  readonly at: string;
}

/** A first version of an object. `status` is kept as given. */
export function born<T extends Resource>(object: T, birth: Birth): T {
  return {
    ...object,
    metadata: {
      ...withoutStoreFields(object.metadata),
      uid: birth.uid,
      generation: 1,
      creationTimestamp: birth.at,
    },
  };
}

/**
 * The next version: everything from `next`, but the status and what the store gave from `stored`.
 * The generation grows when anything beside metadata and status changes.
 */
export function replaced<T extends Resource>(next: T, stored: T): T {
  const { uid, creationTimestamp, generation } = stored.metadata;
  const { status: _, ...rest } = next as T & { status?: unknown };
  const merged = {
    ...rest,
    ...('status' in stored ? { status: stored.status } : {}),
    metadata: {
      ...withoutStoreFields(next.metadata),
      ...(uid === undefined ? {} : { uid }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      generation: generation ?? 1,
    },
  } as unknown as T;
  if (!isDeepStrictEqual(intent(merged), intent(stored))) {
    merged.metadata.generation = (generation ?? 1) + 1;
  }
  return merged;
}

/** Equal in everything that a person can set. */
export function sameObject(a: Resource, b: Resource): boolean {
  return isDeepStrictEqual(settable(a), settable(b));
}

function intent(object: Resource): unknown {
  const { metadata: _, status: __, ...rest } = object as Resource & { status?: unknown };
  return rest;
}

function settable(object: Resource): unknown {
  const { resourceVersion: _, generation: __, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function withoutStoreFields(metadata: Resource['metadata']): Resource['metadata'] {
  const {
    uid: _,
    resourceVersion: __,
    generation: ___,
    creationTimestamp: ____,
    ...rest
  } = metadata;
  return rest;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** RFC 7386: objects merge, null removes, everything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}
