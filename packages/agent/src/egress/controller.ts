import { type Log, messageWithCauses } from '@causeway/daemon';
import type { EgressRoute } from '@causeway/datapath';
import { Address, type Family } from '@causeway/ip';
import type { CiliumEgressGatewayPolicy } from '@causeway/resources';
import type { Database, Table } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import { type NodeTable, reachable } from '../cluster/tables.ts';
import { edgeRole } from '../edge/role.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import { addressList } from '../endpoints/table.ts';
import type { DeviceView } from '../host/devices.ts';
import { PacedWork } from '../paced-work.ts';
import { type NamespaceTable, type PodTable, podKey } from '../sources/pods.ts';
import { type EgressPlan, type EgressPod, type EgressRow, planEgress } from './plan.ts';

/** A rollout changes pods one by one; what follows is worked out at most this often. */
const SETTLE_MS = 20;
const RETRY_MS = 1_000;

export interface EgressControllerOptions {
  readonly node: string;
  readonly cluster: string;
  readonly underlay: Family;
  readonly limit: number;
  readonly database: Database;
  readonly policies: Table<CiliumEgressGatewayPolicy>;
  readonly pods: PodTable;
  readonly namespaces: NamespaceTable;
  readonly endpoints: EndpointTable;
  readonly nodes: NodeTable;
  readonly devices: Table<DeviceView, number>;
  readonly nodeAddresses: () => readonly Address[];
  readonly presence: {
    readonly synced: boolean;
    readonly living: ReadonlySet<string>;
  };
  /** Brings the kernel's routes to these. Throws when it refuses them. */
  readonly apply: (routes: readonly EgressRoute[]) => void;
  /** What this node is the gateway with, and whether it may be one, has changed. */
  readonly onChange: () => void;
  readonly log: Log;
}

/** Carries CiliumEgressGatewayPolicies out. Until all that it asks was read once, what the kernel has stays. */
export class EgressController implements Disposable {
  readonly table: Table<EgressRow>;
  readonly #options: EgressControllerOptions;
  readonly #undo: (() => void)[];
  readonly #pace = new PacedWork(SETTLE_MS, () => this.#work());
  #plan: EgressPlan | undefined;
  #problem: string | undefined;

  constructor(options: EgressControllerOptions) {
    this.#options = options;
    const { database, policies, pods, namespaces, endpoints, nodes, devices } = options;
    this.table = database.table({
      name: 'egress-policies',
      key: (row: EgressRow): string => row.policy,
      columns: [
        { name: 'policy', of: (row) => row.policy },
        { name: 'gateway', of: (row) => row.gateway ?? 'none' },
        { name: 'candidates', of: (row) => row.candidates.join(',') },
        { name: 'addresses', of: (row) => row.addresses.join(',') },
        { name: 'pods', of: (row) => row.pods },
        { name: 'problems', of: (row) => row.problems.join('; ') },
      ],
    });
    const schedule = () => this.schedule();
    this.#undo = [policies, pods, namespaces, endpoints, nodes, devices].map((each) =>
      each.onCommit(schedule),
    );
    schedule();
  }

  /** Addresses that this node is the gateway with, of policies by name. */
  get held(): EgressPlan['held'] {
    return this.#plan?.held ?? [];
  }

  /** Whether this node may be the gateway of a policy. */
  get candidate(): boolean {
    return this.#plan?.candidate ?? false;
  }

  health(): HealthRow[] {
    const rows = [...this.table.rows()];
    if (rows.length === 0 && this.#problem === undefined) return [];
    const bad = rows.find(({ problems }) => problems.length > 0);
    const problem =
      this.#problem ?? (bad && `CiliumEgressGatewayPolicy ${bad.policy}: ${bad.problems[0]}`);
    const detail = problem ?? `${rows.length} policies, ${this.#plan?.routes.length ?? 0} routes`;
    return [{ name: 'egress-gateway', healthy: problem === undefined, detail }];
  }

  schedule(): void {
    this.#pace.schedule();
  }

  #work(): void {
    const { policies, pods, namespaces, nodes, presence, apply, onChange, log } = this.#options;
    const known = [policies, pods, namespaces, nodes].every(({ initialized }) => initialized);
    if (!known || !presence.synced) {
      // Without policies nobody waits for anything; with them, not all sources commit when they have been read.
      this.#pace.later(SETTLE_MS * 10);
      return;
    }
    const before = JSON.stringify([this.held, this.candidate]);
    const plan = planEgress(this.#inputs());
    this.#plan = plan;
    this.table.replace(plan.rows);
    try {
      apply(plan.routes);
      this.#problem = undefined;
    } catch (error) {
      if (this.#problem === undefined) {
        log.error({ error: messageWithCauses(error) }, 'egress routes cannot be written');
      }
      this.#problem = `the kernel refuses routes: ${messageWithCauses(error)}`;
      setTimeout(() => this.schedule(), RETRY_MS).unref();
    }
    if (JSON.stringify([this.held, this.candidate]) !== before) onChange();
  }

  #inputs() {
    const { node, cluster, underlay, limit, nodes, namespaces, presence, devices } = this.#options;
    const of = [...nodes.rows()]
      .filter((row) => row.cluster === cluster)
      .map((row) => ({ name: row.name, labels: row.labels, addresses: reachable(row) }));
    return {
      node,
      underlay,
      limit,
      policies: [...this.#options.policies.rows()],
      pods: this.#pods(),
      namespaces: new Map(Array.from(namespaces.rows(), (row) => [row.name, row.labels])),
      nodes: of,
      living: presence.living,
      draining: new Set(
        of.filter(({ labels }) => edgeRole(labels) === 'draining').map(({ name }) => name),
      ),
      interfaces: Array.from(devices.rows(), ({ name, addresses }) => ({
        name,
        addresses: addresses.map(({ address }) => address),
      })),
      nodeAddresses: this.#options.nodeAddresses(),
    };
  }

  /** A pod's addresses from its status; those of this node's pods are known before. */
  #pods(): EgressPod[] {
    const { policies, pods, endpoints } = this.#options;
    if (policies.size === 0) return [];
    const here = new Map<string, readonly Address[]>();
    for (const { record } of endpoints.rows()) {
      if (record.podName === undefined) continue;
      here.set(
        podKey(record.podNamespace, record.podName),
        addressList(record).flatMap((text) => Address.tryParse(text) ?? []),
      );
    }
    return [...pods.rows()]
      .filter(
        ({ hostNetwork, phase }) => !hostNetwork && phase !== 'Succeeded' && phase !== 'Failed',
      )
      .map(({ namespace, name, labels, node, addresses }) => ({
        namespace,
        name,
        labels,
        node,
        addresses: [...new Set([...addresses, ...(here.get(podKey(namespace, name)) ?? [])])],
      }));
  }

  [Symbol.dispose](): void {
    this.#pace[Symbol.dispose]();
    for (const undo of this.#undo) undo();
  }
}
