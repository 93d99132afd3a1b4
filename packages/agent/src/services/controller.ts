import { type Log, messageWithCauses } from '@causeway/daemon';
import type {
  Balancer,
  Failing,
  Frontend,
  MapOperation,
  Service,
  ServiceRef,
} from '@causeway/loadbalancing';
import type { Clock, Table, TableKey, Tracker } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { type PodTable, podManifest } from '../sources/pods.ts';
import { explainFrontends, listFrontends } from './questions.ts';
import type { EndpointSliceTable, ServiceTable } from './tables.ts';
import { ServiceWriter } from './writer.ts';

export interface ServiceControllerOptions {
  readonly balancer: Balancer;
  readonly services: ServiceTable;
  readonly slices: EndpointSliceTable;
  readonly pods: PodTable;
  /** Applies one write to the load balancer's maps. */
  readonly apply: (operation: MapOperation) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Changes of a rollout come one by one; they are gathered this long, which nobody feels. */
const SETTLE_MS = 10;

/**
 * Feeds services, slices and pods into the balancer and its writes, in their order, into the maps.
 * What an earlier run left in the maps goes only when all three have been read once.
 */
export class ServiceController implements Disposable {
  readonly #options: ServiceControllerOptions;
  readonly #writer: ServiceWriter;
  readonly #feeds: (() => boolean)[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #refused = new Map<string, string>();
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #synced = false;

  constructor(options: ServiceControllerOptions) {
    this.#options = options;
    const { balancer, services, slices, pods, apply, clock, random, log } = options;
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
    remove: (ref: { namespace: string; name: string }) => void,
  ): void {
    const tracker: Tracker<Row, Key> = table.changes('services', 'start');
    this.#feeds.push(() => {
      let any = false;
      while (tracker.pending) {
        for (const change of tracker.take()) {
          any = true;
          const key = `${table.name} ${String(change.key)}`;
          this.#refused.delete(key);
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
            remove({ namespace, name });
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

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#work();
    }, SETTLE_MS);
  }

  #work(): void {
    const { balancer, services, slices, pods, log } = this.#options;
    for (const feed of this.#feeds) feed();
    if (!this.#synced && services.initialized && slices.initialized && pods.initialized) {
      this.#synced = true;
      balancer.markSynced();
      log.info({ services: services.size }, 'services are read');
    }
    this.#writer.push(balancer.flush());
    for (const listener of this.#listeners) listener();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const undo of this.#undo) undo();
    this.#writer[Symbol.dispose]();
  }
}
