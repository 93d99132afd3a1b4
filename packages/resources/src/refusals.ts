import { ResourceError } from './errors.ts';
import type { KindDescriptor, Resource } from './kinds.ts';
import type { ObjectRef } from './store.ts';
import { nameOf, objectName } from './validate.ts';

/** The store's refusals, worded in one place. */

export function notFound(kind: KindDescriptor, { namespace, name }: ObjectRef): ResourceError {
  const what = objectName(kind.kind, kind.namespaced ? (namespace ?? 'default') : undefined, name);
  return new ResourceError('not-found', `${what} does not exist`, { object: what });
}

export function alreadyExists(object: Resource): ResourceError {
  const what = nameOf(object);
  return new ResourceError('already-exists', `${what} exists already`, { object: what });
}

/** @param version what the caller holds; @param current what is stored now. */
export function conflict(
  what: string,
  version: string | undefined,
  current: string | undefined,
): ResourceError {
  const message =
    version === undefined
      ? `${what}: metadata.resourceVersion must be set to update it (it is ${current})`
      : `${what} has changed since it was read: resourceVersion ${version}, now ${current ?? 'deleted'}`;
  return new ResourceError('conflict', message, {
    object: what,
    value: version,
    hint: 'read it again and make the change there',
  });
}

export function contention(what: string, attempts: number): ResourceError {
  return new ResourceError(
    'conflict',
    `${what} was changed by others ${attempts} times meanwhile`,
    {
      object: what,
      hint: 'try again',
    },
  );
}

/** Two documents for one object: which of them holds would depend on their order. */
export function refuseTwins(objects: readonly Resource[]): void {
  const seen = new Set<string>();
  for (const object of objects) {
    const what = nameOf(object);
    if (seen.has(what)) {
      throw new ResourceError('invalid', `${what} stands twice in the manifest`, { object: what });
    }
    seen.add(what);
  }
}
