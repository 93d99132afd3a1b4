import { messageWithCauses } from '@causeway/daemon';
import { retrying } from '../../retry.ts';
import type { Source, SourceContext, SourceItem, SourceSink } from '../../source.ts';
import { Expired, KubeApi, type KubeEvent, type KubeObject } from './api.ts';
import type { KubernetesSourceConfig } from './config.ts';
import { podItem } from './pods.ts';

const PODS = '/api/v1/pods';
const NAMESPACES = '/api/v1/namespaces';

/**
 * Lists namespaces and pods, then follows both; a watch that ends goes on from where it was, and one whose revision
 * is gone makes everything be listed again, which is one snapshot.
 */
export class KubernetesSource implements Source {
  readonly type = 'kubernetes';
  readonly name: string;
  readonly #config: KubernetesSourceConfig;
  readonly #context: SourceContext;

  constructor(config: KubernetesSourceConfig, context: SourceContext) {
    this.name = config.name;
    this.#config = config;
    this.#context = context;
  }

  async run(sink: SourceSink, signal: AbortSignal): Promise<void> {
    const { clock, log, random } = this.#context;
    const onError = (message: string | undefined) => {
      if (message !== undefined) sink.report({ state: 'failed', message });
    };
    sink.report({ state: 'connecting' });
    const options = { name: `source ${this.name}`, clock, random, log, onError };
    while (!signal.aborted) {
      await retrying(options, signal, () => this.#round(sink, signal));
    }
  }

  /** One list and what follows, until it is time to list again. */
  async #round(sink: SourceSink, signal: AbortSignal): Promise<void> {
    const { labelSelector, resyncSeconds } = this.#config;
    const api = await KubeApi.open(this.#config);
    const selected: Record<string, string> = labelSelector === undefined ? {} : { labelSelector };
    sink.report({ state: 'listing' });
    const view = new View(sink, this.#config.tunnelToHosts);
    const end = new AbortController();
    const ended = AbortSignal.any([signal, end.signal]);
    try {
      const namespaces = await api.list(NAMESPACES, {}, signal);
      const pods = await api.list(PODS, selected, signal);
      view.start(namespaces.items, pods.items);
      sink.report({ state: 'following' });
      const contact = new Contact(sink);
      const following = [
        {
          ...{ path: NAMESPACES, query: {}, from: namespaces.resourceVersion },
          see: (event: KubeEvent) => view.namespace(event),
        },
        {
          ...{ path: PODS, query: selected, from: pods.resourceVersion },
          see: (event: KubeEvent) => view.pod(event),
        },
      ].map((each) => this.#follow(api, each, contact, ended));
      const resync = this.#context.clock.sleep(resyncSeconds * 1000, ended);
      await Promise.race([resync, ...following]);
      end.abort();
      await Promise.allSettled(following);
    } catch (error) {
      if (!(error instanceof Expired)) throw error;
    } finally {
      end.abort();
    }
  }

  /** Until the signal aborts. Throws Expired, or what the server refuses for good. */
  async #follow(
    api: KubeApi,
    { path, query, from, see }: Following,
    contact: Contact,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log, random } = this.#context;
    let version = from;
    const options = {
      name: `watch ${path}`,
      clock,
      log,
      random,
      onError: (message: string | undefined) => {
        if (message !== undefined) contact.lost(path, message);
      },
      final: (error: unknown) => error instanceof Expired,
    };
    while (!signal.aborted) {
      const events = await retrying(options, signal, () => api.watch(path, query, version, signal));
      if (events === undefined) return;
      contact.made(path);
      let seen = false;
      try {
        for await (const event of events) {
          seen = true;
          version =
            event.type === 'BOOKMARK'
              ? event.resourceVersion
              : (event.object.metadata.resourceVersion ?? version);
          see(event);
        }
      } catch (error) {
        if (error instanceof Expired) throw error;
        if (signal.aborted) return;
        contact.lost(path, messageWithCauses(error));
        log.warn({ task: options.name, error: messageWithCauses(error) }, 'a watch broke');
      }
      // A server that ends watches at once must not be asked a thousand times a second.
      if (!seen) await clock.sleep(1000, signal);
    }
  }
}

interface Following {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** The revision that the list was of. */
  readonly from: string;
  readonly see: (event: KubeEvent) => void;
}

/** Which watches stand: the source follows when all of them do. */
class Contact {
  readonly #sink: SourceSink;
  readonly #lost = new Map<string, string>();

  constructor(sink: SourceSink) {
    this.#sink = sink;
  }

  lost(path: string, message: string): void {
    this.#lost.set(path, message);
    this.#sink.report({ state: 'failed', message });
  }

  made(path: string): void {
    if (!this.#lost.delete(path)) return;
    const [message] = this.#lost.values();
    this.#sink.report(
      message === undefined ? { state: 'following' } : { state: 'failed', message },
    );
  }
}

/** Pods and their namespaces, of which an item is made together. */
class View {
  readonly #sink: SourceSink;
  readonly #tunnelToHosts: boolean;
  readonly #labels = new Map<string, Readonly<Record<string, string>>>();
  readonly #pods = new Map<string, SourceItem>();

  constructor(sink: SourceSink, tunnelToHosts: boolean) {
    this.#sink = sink;
    this.#tunnelToHosts = tunnelToHosts;
  }

  start(namespaces: readonly KubeObject[], pods: readonly KubeObject[]): void {
    for (const { metadata } of namespaces) this.#labels.set(metadata.name, metadata.labels ?? {});
    for (const pod of pods) {
      const item = podItem(pod, this.#tunnelToHosts);
      if (item !== undefined) this.#pods.set(item.id, item);
    }
    this.#sink.snapshot([...this.#pods.values()].map((item) => this.#whole(item)));
  }

  namespace(event: KubeEvent): void {
    if (event.type === 'BOOKMARK') return;
    const { labels, name } = event.object.metadata;
    if (event.type === 'DELETED') this.#labels.delete(name);
    else this.#labels.set(name, labels ?? {});
    for (const item of this.#pods.values()) {
      if (item.namespace === name) this.#sink.put(this.#whole(item));
    }
  }

  pod(event: KubeEvent): void {
    if (event.type === 'BOOKMARK') return;
    const item = event.type === 'DELETED' ? undefined : podItem(event.object, this.#tunnelToHosts);
    if (item !== undefined) {
      this.#pods.set(item.id, item);
      this.#sink.put(this.#whole(item));
      return;
    }
    const { uid } = event.object.metadata;
    if (uid !== undefined && this.#pods.delete(uid)) this.#sink.delete(uid);
  }

  #whole(item: SourceItem): SourceItem {
    const namespaceLabels = this.#labels.get(item.namespace ?? '');
    return namespaceLabels === undefined ? item : { ...item, namespaceLabels };
  }
}
