import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Kv, SharedStore } from '@causeway/etcd';
import type { Failing } from '@causeway/loadbalancing';
import {
  decodeHealth,
  encodeHealth,
  failingOf,
  HEALTH_PREFIX,
  type HealthReport,
  healthKey,
  MAX_REPORTED,
} from '@causeway/mesh';
import type { Clock, Database, InitialSource, Table } from '@causeway/tables';
import type { HealthRow } from '../../api/types.ts';
import { reconcilerHealth } from '../../health.ts';
import { Checker, type CheckTarget } from './checker.ts';
import type { Probe } from './probe.ts';
import { type CheckedServices, ownTargets, reachTargets } from './targets.ts';

/** Tries under way at once, for all services together. */
const CONCURRENCY = 64;
const MAX_TARGETS = 10_000;
/** Nodes that are heard; as many as a cluster may have. */
const MAX_REPORTS = 25_000;

export interface BackendHealthOptions {
  readonly node: string;
  readonly kv: Kv;
  readonly database: Database;
  readonly balancer: CheckedServices;
  /** Takes what a node says into the load balancer, in place of what it said before. */
  readonly setFailing: (node: string, failing: Failing) => void;
  /** Whether this node announces addresses of services, so that it must know whether it reaches their backends. */
  readonly announces: () => boolean;
  /** What `unreachable` says may be another from now on. */
  readonly onReach: () => void;
  readonly probe: Probe;
  readonly clock: Clock;
  readonly random: () => number;
  /** Seconds of the lease that this node's report hangs on. */
  readonly ttl?: number;
  readonly log: Log;
}

/** A target of this node with what is known of it, for people. */
export interface CheckRow {
  readonly service: string;
  readonly backend: string;
  readonly kind: 'own' | 'reach';
  readonly verdict: string;
  readonly reason: string;
}

/**
 * Active health checks. Each node tries the backends on it and tells all others which fail, by one key on its lease;
 * every node drains those. A node that announces addresses tries some of the backends elsewhere too, for itself
 * alone: if it reaches none of those that their own nodes find healthy, it is the way that fails, not they.
 */
export class BackendHealth implements AsyncDisposable {
  readonly table: Table<CheckRow>;
  readonly #options: BackendHealthOptions;
  readonly #reports: Table<HealthReport>;
  readonly #initial: InitialSource;
  readonly #store: SharedStore<HealthReport>;
  readonly #own: Checker;
  readonly #reach: Checker;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #heard = new Set<string>();
  /** Services that this node reaches no backend of, with the reason of one. */
  #unreachable = new Map<string, string>();
  #told = '';

  constructor(options: BackendHealthOptions) {
    this.#options = options;
    const { kv, database, node, probe, clock, random, ttl = 60 } = options;
    this.table = database.table({
      name: 'health-checks',
      key: ({ kind, service, backend }: CheckRow): string => `${kind} ${service} ${backend}`,
      columns: [
        { name: 'service', of: (row) => row.service },
        { name: 'backend', of: (row) => row.backend },
        { name: 'kind', of: (row) => row.kind },
        { name: 'verdict', of: (row) => row.verdict },
        { name: 'reason', of: (row) => row.reason },
      ],
    });
    this.#reports = database.table({
      name: 'health-report',
      key: (row: HealthReport) => row.node,
    });
    this.#initial = this.#reports.source('health');
    this.#store = new SharedStore<HealthReport>({
      name: 'health-report',
      kv,
      clock,
      random,
      table: this.#reports,
      encode: (row) => ({ key: healthKey(row.node), value: encodeHealth(row) }),
      ttl,
      // The reader watches the prefix already.
      scopes: [{ prefix: HEALTH_PREFIX, owns: ({ key }) => key === healthKey(node), watch: false }],
    });
    const checker = (kind: CheckRow['kind'], onVerdict: () => void) =>
      new Checker({
        probe,
        clock,
        random,
        concurrency: CONCURRENCY,
        maxTargets: MAX_TARGETS,
        onVerdict: (target, { verdict, reason = '' }) => {
          const { service, backend } = target;
          const fields = { service, backend, verdict, reason };
          if (verdict === 'failing') options.log.warn(fields, 'a health check fails');
          else options.log.info(fields, 'a health check succeeds');
          this.#show(kind, target);
          onVerdict();
        },
      });
    this.#own = checker('own', () => this.#tell());
    this.#reach = checker('reach', () => this.#judgeReach());
    this.#watching = this.#watch(this.#stop.signal);
  }

  /** Call it when services, endpoints or the node's role have changed. */
  follow(): void {
    const { balancer, node, announces } = this.#options;
    const own = ownTargets(balancer, node);
    const reach = announces() ? reachTargets(balancer, node) : [];
    this.#own.setTargets(own);
    this.#reach.setTargets(reach);
    const wanted = new Set<string>();
    for (const [kind, targets] of [
      ['own', own],
      ['reach', reach],
    ] as const) {
      for (const target of targets) wanted.add(this.#show(kind, target));
    }
    for (const key of [...this.table.keys()]) if (!wanted.has(key)) this.table.delete(key);
    this.#tell();
    this.#judgeReach();
  }

  /** Why this node reaches no backend of a service (`shop/web`); undefined: it reaches one, or nothing is known. */
  unreachable(service: string): string | undefined {
    return this.#unreachable.get(service);
  }

  health(): HealthRow[] {
    const failing = [...this.table.rows()].filter(({ verdict }) => verdict === 'failing').length;
    const { passedOver, size } = this.#own;
    if (size + this.#reach.size + passedOver === 0) return [];
    const room = passedOver === 0 ? '' : `; ${passedOver} more than ${MAX_TARGETS} are not tried`;
    const detail = `${size} backends of this node are tried, ${failing} tries of it fail${room}`;
    return [
      { name: 'health-checks', healthy: passedOver === 0, detail },
      { ...reconcilerHealth(this.#store.reconciler), name: 'health-report' },
    ];
  }

  #show(kind: CheckRow['kind'], { service, backend }: CheckTarget): string {
    const of = kind === 'own' ? this.#own : this.#reach;
    const { verdict, reason = '' } = of.judgement(service, backend);
    const row = { service, backend, kind, verdict, reason };
    this.table.put(row);
    return `${kind} ${service} ${backend}`;
  }

  /** Says what fails here. Before all was tried once, what an earlier run said stays said. */
  #tell(): void {
    const { node, setFailing } = this.#options;
    if (!this.#own.complete) return;
    const all = [...this.#own.judgements()].flatMap(([{ service, backend }, judgement]) =>
      judgement.verdict === 'failing'
        ? [{ service, backend, reason: (judgement.reason ?? 'failing').slice(0, 200) }]
        : [],
    );
    all.sort((a, b) => (`${a.service} ${a.backend}` < `${b.service} ${b.backend}` ? -1 : 1));
    const report = {
      node,
      failing: all.slice(0, MAX_REPORTED),
      more: Math.max(0, all.length - MAX_REPORTED),
    };
    const text = encodeHealth(report);
    if (text !== this.#told) {
      this.#told = text;
      // Here it counts at once, also while the store is away.
      setFailing(node, failingOf(report));
      if (all.length > 0) this.#reports.put(report);
      else this.#reports.delete(node);
    }
    this.#initial.done();
  }

  #judgeReach(): void {
    const byService = Map.groupBy(this.#reach.judgements(), ([{ service }]) => service);
    const unreachable = new Map<string, string>();
    for (const [service, tries] of byService) {
      if (!tries.every(([, { verdict }]) => verdict === 'failing')) continue;
      const [[{ backend }, { reason = '' }]] = tries as [(typeof tries)[number]];
      unreachable.set(service, `${backend} and all others that were tried: ${reason}`);
    }
    const changed =
      unreachable.size !== this.#unreachable.size ||
      [...unreachable.keys()].some((service) => !this.#unreachable.has(service));
    this.#unreachable = unreachable;
    if (changed) this.#options.onReach();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { kv, log } = this.#options;
    await using watch = kv.watch(HEALTH_PREFIX, { signal, maxKeys: MAX_REPORTS });
    try {
      for await (const events of watch.batches()) {
        for (const event of events) {
          if (event.type === 'put') this.#hear(event.entry.key, event.entry.text);
          else if (event.type === 'delete') this.#hear(event.key, undefined);
        }
      }
    } catch (error) {
      if (!signal.aborted) log.error({ error: messageWithCauses(error) }, 'no health reports');
    }
  }

  #hear(key: string, text: string | undefined): void {
    const { node, setFailing } = this.#options;
    const from = key.slice(HEALTH_PREFIX.length);
    // What this node said in an earlier run counts until it knows better.
    if (from === node && this.#told !== '') return;
    const report = text === undefined ? undefined : readReport(key, text);
    if (report === undefined && !this.#heard.delete(from)) return;
    if (report !== undefined) this.#heard.add(from);
    setFailing(from, report === undefined ? new Map() : failingOf(report));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#own[Symbol.dispose]();
    this.#reach[Symbol.dispose]();
    await this.#watching;
    await this.#store[Symbol.asyncDispose]();
  }
}

/** Undefined for what nobody of us wrote. */
function readReport(key: string, text: string): HealthReport | undefined {
  try {
    return decodeHealth(key, text);
  } catch {
    return undefined;
  }
}
