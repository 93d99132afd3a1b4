import type { Kv, KvWatch, WatchEvent } from '@causeway/etcd';
import { decode, prefixOf, refOfKey } from './codec.ts';
import type { KindDescriptor, KindName, ResourceKinds } from './kinds.ts';
import type { ResourceEvent, ResourceWatch, WatchOptions } from './store.ts';

/** Turns a watch on a kind's keys into a watch on its objects. */
export function watchKind<K extends KindName>(
  kv: Kv,
  kind: KindDescriptor<K>,
  options: WatchOptions,
): ResourceWatch<ResourceKinds[K]> {
  const prefix = prefixOf(kind as KindDescriptor, kind.namespaced ? options.namespace : undefined);
  return new Watch(
    kind,
    kv.watch(prefix, options.signal === undefined ? {} : { signal: options.signal }),
  );
}

class Watch<K extends KindName> implements ResourceWatch<ResourceKinds[K]> {
  readonly #kind: KindDescriptor<K>;
  readonly #source: KvWatch;

  constructor(kind: KindDescriptor<K>, source: KvWatch) {
    this.#kind = kind;
    this.#source = source;
  }

  async *batches(most?: number): AsyncGenerator<readonly ResourceEvent<ResourceKinds[K]>[]> {
    for await (const events of this.#source.batches(most)) {
      yield events.map((event) => this.#translate(event));
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ResourceEvent<ResourceKinds[K]>> {
    for await (const event of this.#source) yield this.#translate(event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }

  #translate(event: WatchEvent): ResourceEvent<ResourceKinds[K]> {
    switch (event.type) {
      case 'snapshot-start':
        return { type: 'snapshot', reason: event.reason };
      case 'put': {
        const decoded = decode(this.#kind, event.entry);
        return decoded.type === 'object'
          ? { type: 'put', object: decoded.object }
          : { type: 'rejected', rejected: decoded.rejected };
      }
      case 'delete':
        return { type: 'delete', ...refOfKey(this.#kind as KindDescriptor, event.key) };
      case 'synced':
        return { type: 'synced', resourceVersion: String(event.revision) };
      case 'disconnected':
        return { type: 'disconnected', error: event.error };
      default:
        return event satisfies never;
    }
  }
}
