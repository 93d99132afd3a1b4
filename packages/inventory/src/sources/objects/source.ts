import { messageWithCauses } from '@causeway/daemon';
import { type OutsideEndpoint, ResourceError, type ResourceStore } from '@causeway/resources';
import type { ExpiredItem } from '../../core/expired.ts';
import type { Source, SourceContext, SourceItem, SourceSink } from '../../source.ts';
import type { ObjectsSourceConfig } from './config.ts';

const UNREADABLE = Object.freeze({ addresses: [], platform: 'vm', labels: {} } as const);

/** Follows the registry. A lost watch lists again, and the list is one snapshot. */
export class ObjectsSource implements Source {
  readonly type = 'objects';
  readonly name: string;
  readonly #store: ResourceStore;
  readonly #context: SourceContext;

  constructor(config: ObjectsSourceConfig, context: SourceContext, store: ResourceStore) {
    this.name = config.name;
    this.#store = store;
    this.#context = context;
  }

  async run(sink: SourceSink, signal: AbortSignal): Promise<void> {
    sink.report({ state: 'connecting' });
    let listing: Map<string, SourceItem> | undefined;
    for await (const batch of this.#store.watch('OutsideEndpoint', { signal }).batches()) {
      for (const event of batch) {
        switch (event.type) {
          case 'snapshot':
            listing = new Map();
            sink.report({ state: 'listing' });
            break;
          case 'put': {
            const item = itemOf(event.object);
            if (listing === undefined) sink.put(item);
            else listing.set(item.id, item);
            break;
          }
          case 'delete':
            if (listing === undefined) sink.delete(event.name);
            else listing.delete(event.name);
            break;
          case 'rejected': {
            const { name, reason } = event.rejected;
            const item = { ...UNREADABLE, id: name, name, problem: reason };
            if (listing === undefined) sink.put(item);
            else listing.set(name, item);
            break;
          }
          case 'synced':
            if (listing !== undefined) sink.snapshot([...listing.values()]);
            listing = undefined;
            sink.report({ state: 'following' });
            break;
          case 'disconnected':
            sink.report({ state: 'failed', message: event.error.message });
            break;
          default:
            event satisfies never;
        }
      }
    }
  }

  /** Takes objects away whose time to live is over, unless they were written again meanwhile. */
  async expire(expired: readonly ExpiredItem[]): Promise<void> {
    for (const { id, version } of expired) {
      if (version === undefined) continue;
      try {
        await this.#store.delete('OutsideEndpoint', { name: id }, { resourceVersion: version });
      } catch (error) {
        if (error instanceof ResourceError) continue;
        this.#context.log.warn(
          { name: id, error: messageWithCauses(error) },
          'an expired OutsideEndpoint could not be deleted; it takes no part all the same',
        );
      }
    }
  }
}

export function itemOf({ metadata, spec }: OutsideEndpoint): SourceItem {
  const { source, ...rest } = spec;
  return {
    ...rest,
    id: metadata.name,
    name: metadata.name,
    labels: spec.labels ?? {},
    ...(source === undefined ? {} : { attributes: { source } }),
    ...(metadata.resourceVersion === undefined ? {} : { version: metadata.resourceVersion }),
  };
}
