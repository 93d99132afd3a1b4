import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address } from '@causeway/ip';
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
import { AgentError } from '../errors.ts';
import { type PodTable, podManifest } from '../sources/pods.ts';
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
    const { balancer } = this.#options;
    const conflicts = new Map(
      Array.from(balancer.conflicts(), ({ key, services }) => [key, services]),
    );
    return Array.from(balancer.frontends(), (frontend: Frontend) => ({
      namespace: frontend.service.namespace,
      name: frontend.service.name,
      address: frontend.address ?? '*',
      port: frontend.port,
      protocol: frontend.protocol,
      type: frontend.type,
      frontend: frontend.key,
      portName: frontend.portName,
      algorithm: frontend.algorithm,
      affinitySeconds: frontend.affinitySeconds ?? 0,
      external: frontend.external,
      trafficPolicy: frontend.trafficPolicy,
      forwarding: frontend.forwarding,
      ...(frontend.sourceRanges === undefined ? {} : { sourceRanges: frontend.sourceRanges }),
      id: balancer.row(frontend.key)?.serviceId ?? null,
      backends: frontend.backends.map(
        ({ key, state, node, target, weight, failing, excluded }) => ({
          backend: key,
          id: balancer.backendId(key) ?? null,
          state,
          node,
          target,
          weight,
          ...(failing === undefined ? {} : { failing }),
          ...(excluded === undefined ? {} : { excluded }),
        }),
      ),
      ...(conflicts.has(frontend.key) ? { claimedBy: conflicts.get(frontend.key) } : {}),
    }));
  }

  /**
   * Why clients of a frontend (`frontend=10.96.0.1:80/TCP`) or of a service (`namespace`, `name` and
   * perhaps `port`) end up where they do; one answer for each frontend. `client=192.0.2.7` or `from=outside` asks for
   * clients outside of the cluster, `from=inside` for pods and nodes.
   * @throws AgentError `bad-request` or `not-found`.
   */
  why(query: Readonly<Record<string, string>>): unknown {
    const { balancer } = this.#options;
    const hash = number(query.hash, 'hash');
    const affinityBackendId = number(query.affinityBackendId, 'affinityBackendId');
    const client = addressOf(query.client);
    const from = sideOf(query.from);
    return this.#frontendsOf(query).map((frontend) =>
      balancer.why(frontend, {
        ...(hash === undefined ? {} : { hash }),
        ...(affinityBackendId === undefined ? {} : { affinityBackendId }),
        ...(from === undefined ? {} : { from }),
        ...(client === undefined ? {} : { client }),
      }),
    );
  }

  #frontendsOf({ frontend, namespace, name, port }: Readonly<Record<string, string>>): string[] {
    const { balancer } = this.#options;
    if (frontend !== undefined) {
      if (balancer.frontend(frontend) !== undefined) return [frontend];
      throw missing('frontend', frontend, `no service has ${frontend}`);
    }
    if (name === undefined) {
      throw new AgentError(
        'bad-request',
        'name a frontend such as 10.96.0.1:80/TCP, or a service by namespace and name',
        {
          field: 'frontend',
          hint: 'GET /v1/services lists the frontends',
        },
      );
    }
    const of = balancer.frontendsOf({ namespace: namespace ?? 'default', name });
    const found = of.filter(
      (each) => port === undefined || String(each.port) === port || each.portName === port,
    );
    if (found.length > 0) return found.map(({ key }) => key);
    const service = `${namespace ?? 'default'}/${name}`;
    throw missing(
      'name',
      name,
      port === undefined
        ? `there is no service ${service} with an address`
        : `service ${service} has no port ${port}`,
    );
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

const missing = (field: string, value: string, message: string): AgentError =>
  new AgentError('not-found', message, {
    field,
    value,
    hint: 'GET /v1/services lists the frontends',
  });

function addressOf(text: string | undefined): Address | undefined {
  if (text === undefined) return undefined;
  const address = Address.tryParse(text);
  if (address !== undefined) return address;
  throw new AgentError('bad-request', 'client must be an IPv4 or IPv6 address', {
    field: 'client',
    value: text,
  });
}

function sideOf(text: string | undefined): 'inside' | 'outside' | undefined {
  if (text === undefined || text === 'inside' || text === 'outside') return text;
  throw new AgentError('bad-request', 'from must be inside or outside', {
    field: 'from',
    value: text,
  });
}

function number(text: string | undefined, field: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0xffff_ffff) return Number(text);
  throw new AgentError('bad-request', `${field} must be a number of 32 bits`, {
    field,
    value: text,
  });
}
