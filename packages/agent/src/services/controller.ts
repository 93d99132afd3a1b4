import { type Log, messageWithCauses } from '@causeway/daemon';
import type {
  Balancer,
  Failing,
  Frontend,
  MapOperation,
  Service,
  ServiceRef,
} from '@causeway/loadbalancing';
import type { MeshTables } from '@causeway/mesh';
import type { Clock, Table, TableKey, Tracker } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { type PodTable, podManifest } from '../sources/pods.ts';
import { explainFrontends, listFrontends } from './questions.ts';
import { partOf, shardPart, wholePart } from './remote.ts';
import type { EndpointSliceTable, ServiceTable } from './tables.ts';
import { ServiceWriter } from './writer.ts';

export interface ServiceControllerOptions {
  readonly balancer: Balancer;
  readonly services: ServiceTable;
  readonly slices: EndpointSliceTable;
  readonly pods: PodTable;
  /** What other clusters say of their shared services. */
  readonly remote: Pick<MeshTables, 'services' | 'serviceShards'>;
  /** Applies one write to the load balancer's maps. */
  readonly apply: (operation: MapOperation) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Changes of a rollout come one by one; after the first they are gathered this long, which nobody feels. */
const SETTLE_MS = 10;

/**
 * Feeds services, slices, pods and what other clusters say of services into the balancer and its writes, in their
 * order, into the maps. What an earlier run left in the maps goes only when all of them have been read once.
 */
export class ServiceController implements Disposable {
  readonly #options: ServiceControllerOptions;
  readonly #writer: ServiceWriter;
  readonly #feeds: (() => boolean)[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #refused = new Map<string, string>();
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #workedAt = Number.NEGATIVE_INFINITY;
  #synced = false;
  #remoteSynced = false;
  #pruned = false;

  constructor(options: ServiceControllerOptions) {
    this.#options = options;
    const { balancer, services, slices, pods, remote, apply, clock, random, log } = options;
    this.#writer = new ServiceWriter({ apply, clock, random, log });
    this.#feed(
      services,
      (object) => balancer.applyService(object),
      (ref) => balancer.deleteService(ref),
    );
    this.#feed(
      slices,
      (object) => balancer.applyEndpointSlice(object),
      (ref) => balancer.deleteEndpointSlice(ref),
    );
    this.#feed(
      pods,
      (row) => balancer.applyPod(podManifest(row)),
      (ref) => balancer.deletePod(ref),
    );
    const taken = { ok: true };
    this.#feed(
      remote.services,
      (row) => {
        balancer.applyRemote(wholePart(row));
        return taken;
      },
      (_, key) => balancer.deleteRemote(partOf(key)),
    );
    this.#feed(
      remote.serviceShards,
      (row) => {
        balancer.applyRemote(shardPart(row));
        return taken;
      },
      (_, key) => balancer.deleteRemote(partOf(key)),
    );
    this.#schedule();
  }

  get synced(): boolean {
    return this.#synced;
  }

  health(): HealthRow {
    const { error, waiting, idle } = this.#writer;
    if (!idle) {
      return {
        name: 'services',
        healthy: false,
        detail: `${waiting} services and backends wait: ${messageWithCauses(error)}`,
      };
    }
    const [refused] = this.#refused.values();
    if (refused !== undefined) {
      return {
        name: 'services',
        healthy: false,
        detail: `${this.#refused.size} objects are refused, such as ${refused}`,
      };
    }
    const detail = this.#synced
      ? 'the kernel has every service'
      : 'services are not read yet; what the kernel has stays in force';
    return { name: 'services', healthy: true, detail };
  }

  /** Every frontend of a service, with the state of its backends. */
  frontendsOf(ref: ServiceRef): readonly Frontend[] {
    return this.#options.balancer.frontendsOf(ref);
  }

  /** Services that were taken. */
  services(): Iterable<Service> {
    return this.#options.balancer.services();
  }

  /** What a node's health checks say against backends on it, in place of what it said before. */
  setFailing(node: string, failing: Failing): void {
    this.#options.balancer.setFailing(node, failing);
    this.#schedule();
  }

  /** Called after services or backends have changed. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Services as people ask for them: each frontend with its backends. */
  list(): readonly unknown[] {
    return listFrontends(this.#options.balancer);
  }

  /** @throws AgentError `bad-request` or `not-found`. */
  why(query: Readonly<Record<string, string>>): unknown {
    return explainFrontends(this.#options.balancer, query);
  }

  #feed<Row, Key extends TableKey>(
    table: Table<Row, Key> | Table<Row, Key, never>,
    put: (row: Row) => {
      readonly ok: boolean;
      readonly problems?: readonly { path: string; message: string }[];
    },
    remove: (ref: { namespace: string; name: string }, key: string) => void,
  ): void {
    const tracker: Tracker<Row, Key> = table.changes('services', 'start');
    this.#feeds.push(() => {
      let any = false;
      while (tracker.pending) {
        for (const change of tracker.take()) {
          any = true;
          const key = `${table.name} ${String(change.key)}`;
          if (this.#refused.size > 0) this.#refused.delete(key);
          if (change.type === 'put') {
            const parsed = put(change.row);
            if (parsed.ok) continue;
            const problems = parsed.problems ?? [];
            this.#refused.set(
              key,
              `${key}: ${problems.map(({ path, message }) => `${path} ${message}`).join(', ')}`,
            );
          } else {
            const [namespace = '', name = ''] = String(change.key).split('/');
            remove({ namespace, name }, String(change.key));
          }
        }
      }
      return any;
    });
    this.#undo.push(
      table.onCommit(() => this.#schedule()),
      () => tracker[Symbol.dispose](),
    );
  }

  /** The first change after a while is done at once; those that follow it wait for each other. */
  #schedule(): void {
    if (this.#timer !== undefined || this.#soon !== undefined) return;
    const wait = this.#workedAt + SETTLE_MS - performance.now();
    if (wait <= 0) this.#soon = setImmediate(() => this.#work());
    else this.#timer = setTimeout(() => this.#work(), wait);
  }

  #work(): void {
    this.#timer = undefined;
    this.#soon = undefined;
    this.#workedAt = performance.now();
    const { balancer, services, slices, pods, remote, log } = this.#options;
    for (const feed of this.#feeds) feed();
    if (!this.#synced && services.initialized && slices.initialized && pods.initialized) {
      this.#synced = true;
      log.info({ services: services.size }, 'services are read');
    }
    const heard = remote.services.initialized && remote.serviceShards.initialized;
    if (!this.#remoteSynced && heard) {
      this.#remoteSynced = true;
      balancer.markRemoteSynced();
    }
    if (!this.#pruned && this.#synced && this.#remoteSynced) {
      this.#pruned = true;
      balancer.markSynced();
    }
    this.#writer.push(balancer.flush());
    for (const listener of this.#listeners) listener();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
    for (const undo of this.#undo) undo();
    this.#writer[Symbol.dispose]();
  }
}
