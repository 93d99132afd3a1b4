import { type Log, messageWithCauses } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import {
  parsePod,
  parseService,
  type ServingPod,
  type SharedServices,
} from '@causeway/loadbalancing';
import { decodeHealth, failingOf, HEALTH_PREFIX } from '@causeway/mesh';
import {
  type EndpointSlice,
  Followers,
  type KindName,
  type Namespace,
  objectKey,
  type ResourceStore,
  type Service,
} from '@causeway/resources';
import { type Clock, Database, type Table, type TableKey, type Tracker } from '@causeway/tables';

/** Reports of nodes that are heard, as many as a cluster may have. */
const MAX_REPORTS = 25_000;

/** On a Namespace: nothing of it is told to other clusters. */
const NAMESPACE_ANNOTATION = 'clustermesh.cilium.io/global';

export interface ExportSourcesOptions {
  readonly store: ResourceStore;
  readonly kv: Kv;
  readonly into: SharedServices;
  readonly clock: Clock;
  readonly log: Log;
  /** Something may have changed: `take` has it. */
  readonly onChange: () => void;
}

/** What decides about shared services, read from the registry and from the nodes' reports. */
export class ExportSources implements AsyncDisposable {
  /** Global ones. */
  readonly services: Table<Service>;
  readonly #options: ExportSourcesOptions;
  readonly #stop = new AbortController();
  readonly #closed: Table<string>;
  readonly #tables: readonly Table<never, string>[];
  readonly #followers: Followers;
  readonly #feeds: (() => void)[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #reports: Promise<void>;
  #reportsRead = false;

  constructor(options: ExportSourcesOptions) {
    this.#options = options;
    const { store, clock, log, into } = options;
    const database = new Database();
    const named = <Row extends Service | EndpointSlice>({ metadata }: Row) =>
      objectKey(metadata.namespace, metadata.name);
    this.services = database.table({ name: 'services', key: named<Service> });
    const slices = database.table({ name: 'slices', key: named<EndpointSlice> });
    const pods: Table<ServingPod> = database.table({
      name: 'pods',
      key: ({ namespace, name }: ServingPod) => objectKey(namespace, name),
    });
    this.#closed = database.table({ name: 'closed-namespaces', key: (name: string) => name });
    this.#tables = [this.services, slices, pods, this.#closed] as never;
    this.#followers = new Followers(store, clock, log);
    const follow = <K extends KindName, Row>(
      kind: K,
      table: Table<Row>,
      row: (object: never) => Row | undefined,
    ) => this.#followers.follow({ kind, table, row: row as never, key: objectKey });
    follow('Service', this.services, globalService);
    follow('EndpointSlice', slices, sliceOfService);
    follow('Pod', pods, servingPod);
    follow('Namespace', this.#closed, closedNamespace);
    this.#feed(
      this.services,
      (row) => into.applyService(row),
      (ref) => into.deleteService(ref),
    );
    this.#feed(
      slices,
      (row) => into.applyEndpointSlice(row),
      (ref) => into.deleteEndpointSlice(ref),
    );
    this.#feed(
      pods,
      (row) => into.setPod(row),
      (ref) => into.deletePod(ref),
    );
    const inNamespace = (namespace: string) => {
      for (const key of this.services.keys()) {
        if (key.startsWith(`${namespace}/`)) into.touch(key);
      }
    };
    this.#feed(this.#closed, inNamespace, ({ name }) => inNamespace(name));
    this.#reports = this.#watchReports();
  }

  /** Everything has been read once. */
  get synced(): boolean {
    return this.#reportsRead && this.#tables.every(({ initialized }) => initialized);
  }

  /** Whether a namespace keeps its services to itself. */
  isClosed(namespace: string): boolean {
    return this.#closed.has(namespace);
  }

  /** Passes on what has changed. */
  feed(): void {
    for (const feed of this.#feeds) feed();
  }

  #feed<Row>(
    table: Table<Row>,
    put: (row: Row) => unknown,
    remove: (ref: { namespace: string; name: string }) => void,
  ): void {
    const tracker: Tracker<Row, TableKey> = table.changes('mesh-services', 'start') as never;
    this.#feeds.push(() => {
      while (tracker.pending) {
        for (const { type, key, row } of tracker.take()) {
          if (type === 'put') {
            put(row);
            continue;
          }
          const [namespace = '', name = namespace] = String(key).split('/');
          remove({ namespace, name });
        }
      }
    });
    this.#undo.push(
      table.onCommit(() => this.#options.onChange()),
      () => tracker[Symbol.dispose](),
    );
  }

  async #watchReports(): Promise<void> {
    const { kv, log, onChange } = this.#options;
    const { signal } = this.#stop;
    await using watch = kv.watch(HEALTH_PREFIX, { signal, maxKeys: MAX_REPORTS });
    try {
      for await (const events of watch.batches()) {
        for (const event of events) {
          if (event.type === 'put') this.#hear(event.entry.key, event.entry.text);
          else if (event.type === 'delete') this.#hear(event.key, undefined);
          else if (event.type === 'synced') this.#reportsRead = true;
        }
        onChange();
      }
    } catch (error) {
      if (!signal.aborted) log.error({ error: messageWithCauses(error) }, 'no health reports');
    }
  }

  #hear(key: string, text: string | undefined): void {
    const node = key.slice(HEALTH_PREFIX.length);
    try {
      const failing = text === undefined ? new Map() : failingOf(decodeHealth(key, text));
      this.#options.into.setFailing(node, failing);
    } catch (error) {
      const fields = { key, error: messageWithCauses(error) };
      this.#options.log.warn(fields, 'a health report cannot be read; what was heard stays');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const undo of this.#undo) undo();
    await this.#followers[Symbol.asyncDispose]();
    await this.#reports;
  }
}

/** Of the others nothing is told; one that cannot be read is refused, and what was told of it stays. */
function globalService(object: Service): Service | undefined {
  const parsed = parseService(object);
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('; '));
  return parsed.value.mesh.global ? object : undefined;
}

const sliceOfService = (object: EndpointSlice): EndpointSlice | undefined =>
  object.metadata.labels?.['kubernetes.io/service-name'] === undefined ? undefined : object;

/** There are many pods: what decides whether they serve is all that stays of them. */
function servingPod(object: object): ServingPod | undefined {
  const parsed = parsePod(object);
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('; '));
  return parsed.value.finished ? undefined : parsed.value;
}

const closedNamespace = ({ metadata }: Namespace): string | undefined =>
  metadata.annotations?.[NAMESPACE_ANNOTATION]?.toLowerCase() === 'false'
    ? metadata.name
    : undefined;
