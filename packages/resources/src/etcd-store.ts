import { type Kv, type KvEntry, type TxnOperation, unchanged } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import { guardPoolRanges } from './address-plan/pool-ranges.ts';
import { decode, descriptor, keyOf, prefixOf, refOf } from './codec.ts';
import { ResourceError } from './errors.ts';
import {
  KINDS,
  type KindDescriptor,
  type KindName,
  type Resource,
  type ResourceKinds,
} from './kinds.ts';
import { parseManifests, plainObject } from './manifest.ts';
import { born, mergePatch, replaced, sameObject } from './merge.ts';
import { ATTEMPTS, type PlanContext, withVersion, writeObjects } from './plan.ts';
import { alreadyExists, conflict, contention, notFound, refuseTwins } from './refusals.ts';
import type { Service } from './schema/service.ts';
import type { ServiceCidrs } from './service-addresses.ts';
import { claimsOf } from './service-claims.ts';
import type {
  ApplyOptions,
  ApplyReport,
  DeleteOptions,
  ListOptions,
  ObjectRef,
  ReadOptions,
  RejectedObject,
  ResourceList,
  ResourceStore,
  ResourceWatch,
  WatchOptions,
  WriteOptions,
} from './store.ts';
import { nameOf, objectName, validateAll } from './validate.ts';
import { watchKind } from './watch.ts';
import { writeOf } from './writes.ts';

export interface EtcdStoreOptions {
  /** Milliseconds since the epoch; for creation times. */
  readonly now?: () => number;
  readonly uuid?: () => string;
  /** In [0, 1); for the choice of addresses. */
  readonly random?: () => number;
  /** Where cluster IPs come from as long as the store holds no ServiceCIDR. */
  readonly serviceCidrs?: ServiceCidrs;
}

/** The registry in a cluster's own etcd, for sites without Kubernetes. The caller keeps the Kv. */
export function etcdStore(kv: Kv, options: EtcdStoreOptions = {}): ResourceStore {
  return new EtcdResourceStore(kv, options);
}

class EtcdResourceStore implements ResourceStore {
  readonly #kv: Kv;
  readonly #plan: PlanContext;
  readonly #birth: () => { uid: string; at: string };

  constructor(kv: Kv, options: EtcdStoreOptions) {
    const now = options.now ?? Date.now;
    const uuid = options.uuid ?? (() => crypto.randomUUID());
    this.#kv = kv;
    this.#birth = () => ({
      uid: uuid(),
      at: new Date(now()).toISOString().replace(/\.\d+Z$/, 'Z'),
    });
    this.#plan = {
      kv,
      random: options.random ?? Math.random,
      serviceCidrs: async (call) => {
        const cidrs = await this.#serviceCidrs(call);
        return cidrs.length > 0 ? cidrs : (options.serviceCidrs ?? []);
      },
    };
  }

  async get<K extends KindName>(
    kind: K,
    ref: ObjectRef,
    options: ReadOptions = {},
  ): Promise<ResourceKinds[K]> {
    const of = descriptor(kind);
    return decodeOrThrow(of, await this.#entry(of as KindDescriptor, ref, options));
  }

  async list<K extends KindName>(
    kind: K,
    options: ListOptions = {},
  ): Promise<ResourceList<ResourceKinds[K]>> {
    const of = descriptor(kind);
    const { namespace, labels, ...call } = options;
    const prefix = prefixOf(of as KindDescriptor, of.namespaced ? namespace : undefined);
    const wanted = Object.entries(labels ?? {});
    const items: ResourceKinds[K][] = [];
    const rejected: RejectedObject[] = [];
    let revision = 0;
    for await (const page of this.#kv.pages(prefix, call)) {
      revision = page.revision;
      for (const entry of page.entries) {
        const decoded = decode(of, entry);
        if (decoded.type === 'rejected') {
          rejected.push(decoded.rejected);
          continue;
        }
        const own = decoded.object.metadata.labels;
        if (wanted.every(([key, value]) => own?.[key] === value)) items.push(decoded.object);
      }
    }
    return { items, rejected, resourceVersion: String(revision) };
  }

  watch<K extends KindName>(kind: K, options: WatchOptions = {}): ResourceWatch<ResourceKinds[K]> {
    return watchKind(this.#kv, descriptor(kind), options);
  }

  async create<T extends Resource>(object: T, options: WriteOptions = {}): Promise<T> {
    const [valid] = validate([object]) as [T];
    const { results } = await writeObjects(this.#plan, [valid], options, (next, stored) => {
      if (stored !== undefined) throw alreadyExists(next);
      return born(next, this.#birth());
    });
    return results[0]!.object as T;
  }

  async update<T extends Resource>(object: T, options: WriteOptions = {}): Promise<T> {
    const [valid] = validate([object]) as [T];
    const version = object.metadata.resourceVersion;
    const { results } = await writeObjects(this.#plan, [valid], options, (next, stored) => {
      if (stored === undefined) throw notFound(KINDS[next.kind] as KindDescriptor, refOf(next));
      const current = stored.metadata.resourceVersion;
      if (current !== version) throw conflict(nameOf(next), version, current);
      return replaced(next, stored);
    });
    return results[0]!.object as T;
  }

  async apply(
    manifest: string | readonly unknown[],
    options: ApplyOptions = {},
  ): Promise<ApplyReport> {
    const { namespace, where, ...write } = options;
    const valid = validate(manifest, namespace, where);
    refuseTwins(valid);
    return writeObjects(this.#plan, valid, write, (next, stored) => {
      const version = next.metadata.resourceVersion;
      const current = stored?.metadata.resourceVersion;
      if (version !== undefined && version !== current) {
        throw conflict(nameOf(next), version, current);
      }
      if (stored !== undefined) return replaced(next, stored);
      // A status in a manifest is what another cluster once saw; a Node's is what its machine says of
      // itself when it registers, and Kubernetes keeps it too.
      if (next.kind === 'Node') return born(next, this.#birth());
      const { status: _, ...rest } = next as Resource & { status?: unknown };
      return born(rest as unknown as Resource, this.#birth());
    });
  }

  async patchStatus<K extends KindName>(
    kind: K,
    ref: ObjectRef,
    status: Readonly<Record<string, unknown>>,
    options: ReadOptions = {},
  ): Promise<ResourceKinds[K]> {
    const of = descriptor(kind);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const entry = await this.#entry(of as KindDescriptor, ref, options);
      const stored = decodeOrThrow(of, entry);
      const merged = mergePatch((stored as { status?: unknown }).status ?? {}, status);
      const [next] = validate([{ ...stored, status: merged }]) as [ResourceKinds[K]];
      if (sameObject(stored, next)) return stored;
      const write = writeOf(entry.key, next, entry, { taken: [], released: [] });
      const { succeeded, revision } = await this.#kv.txn(
        { compare: write.compare, success: write.operations },
        options,
      );
      if (succeeded) return withVersion(next, revision);
    }
    throw contention(objectName(kind, ref.namespace, ref.name), ATTEMPTS);
  }

  async delete<K extends KindName>(
    kind: K,
    ref: ObjectRef,
    options: DeleteOptions = {},
  ): Promise<ResourceKinds[K] | undefined> {
    const of = descriptor(kind);
    const { resourceVersion, dryRun, ...call } = options;
    const what = objectName(kind, ref.namespace, ref.name);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const entry = await this.#entry(of as KindDescriptor, ref, call);
      if (resourceVersion !== undefined && String(entry.modRevision) !== resourceVersion) {
        throw conflict(what, resourceVersion, String(entry.modRevision));
      }
      // What cannot be read can still be deleted: this is how a person gets rid of it.
      const decoded = decode(of, entry);
      const stored = decoded.type === 'object' ? decoded.object : undefined;
      const claims =
        kind === 'Service'
          ? await claimsOf(this.#kv, ref, stored as Service | undefined, call)
          : [];
      const unused =
        stored?.kind === 'CiliumPodIPPool'
          ? await guardPoolRanges(this.#kv, stored, undefined, call)
          : [];
      if (dryRun) return stored;
      const success = [entry.key, ...claims].map((key): TxnOperation => ({ type: 'delete', key }));
      const done = await this.#kv.txn({ compare: [unchanged(entry), ...unused], success }, call);
      if (done.succeeded) return stored;
    }
    throw contention(what, ATTEMPTS);
  }

  async #entry(kind: KindDescriptor, ref: ObjectRef, options: ReadOptions): Promise<KvEntry> {
    const entry = await this.#kv.get(keyOf(kind, ref), options);
    if (entry === undefined) throw notFound(kind, ref);
    return entry;
  }

  /** All ServiceCIDRs, the one named "kubernetes" first: it decides the first family. */
  async #serviceCidrs(options: ReadOptions): Promise<ServiceCidrs> {
    const { items } = await this.list('ServiceCIDR', options);
    const isFirst = (name: string): number => (name === 'kubernetes' ? 0 : 1);
    return items
      .toSorted((a, b) => isFirst(a.metadata.name) - isFirst(b.metadata.name))
      .flatMap(({ spec }) => spec.cidrs.map((text) => Prefix.parse(text)));
  }
}

function validate(
  manifest: string | readonly unknown[],
  namespace?: string,
  where: readonly string[] = [],
): Resource[] {
  const raws =
    typeof manifest === 'string'
      ? parseManifests(manifest)
      : manifest.map((value, index) => plainObject(value, where[index] ?? `object ${index + 1}`));
  return validateAll(raws, namespace);
}

function decodeOrThrow<K extends KindName>(
  kind: KindDescriptor<K>,
  entry: KvEntry,
): ResourceKinds[K] {
  const decoded = decode(kind, entry);
  if (decoded.type === 'object') return decoded.object;
  const { namespace, name, reason } = decoded.rejected;
  const what = objectName(kind.kind, namespace, name);
  throw new ResourceError('invalid', `${what} in the store is not valid: ${reason}`, {
    object: what,
    hint: 'apply it again, or delete it',
  });
}
