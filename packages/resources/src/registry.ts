import type { KvEntry } from '@causeway/etcd';
import { type Decoded, decode, descriptor, encode, keyOf } from './codec.ts';
import type { KindDescriptor, KindName, ResourceKinds } from './kinds.ts';
import type { ObjectRef } from './store.ts';

/**
 * For who writes an object and records of its own in one transaction: the object's key in the registry,
 * its value, and back. Everybody else uses the ResourceStore.
 */
export const registryKey = (kind: KindName, ref: ObjectRef): string =>
  keyOf(descriptor(kind) as KindDescriptor, ref);

/** Throws ResourceError `too-large`. */
export const encodeObject = <K extends KindName>(object: ResourceKinds[K]): string =>
  encode(object);

/** Never throws: what is not valid says why. */
export const decodeObject = <K extends KindName>(
  kind: K,
  entry: KvEntry,
): Decoded<ResourceKinds[K]> => decode(descriptor(kind), entry);
