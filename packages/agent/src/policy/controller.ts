import { type Log, messageWithCauses } from '@causeway/daemon';
import { LabelSet } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import type { EndpointPolicy, PolicyDiff, PolicyEngine, PolicySetChange } from '@causeway/policy';
import { type Clock, Gate } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { EndpointEnforcement } from '../endpoints/ports.ts';
import type { EndpointRecord } from '../endpoints/record.ts';
import { addressList, type EndpointTable } from '../endpoints/table.ts';
import { AgentError } from '../errors.ts';
import { OrderedWriter } from '../ordered-writer.ts';
import { compactPolicyOps, keyText, type PolicyOp } from './backlog.ts';
import type { CidrIdentities } from './cidr-identities.ts';
import type { EndpointMapRow, EnforcementMaps } from './maps.ts';
import type { NodeIdentities } from './node-identities.ts';

export interface PolicyControllerOptions {
  readonly engine: PolicyEngine;
  readonly maps: EnforcementMaps;
  readonly endpoints: EndpointTable;
  readonly cidrs: CidrIdentities;
  readonly nodes: Pick<NodeIdentities, 'prepare'>;
  readonly auditAll: boolean;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** The node itself, as its policies look at it. */
export interface HostParty {
  readonly id: number;
  readonly identity: number;
  readonly labels: LabelSet;
  /** Of its Node. */
  readonly nodeLabels: LabelSet;
  readonly audit: boolean;
}

/**
 * Carries the engine's differences into the kernel, and the endpoints into the engine. Until policies
 * and identities have been read once, what the kernel has stays in force: sets that it knows are used
 * as they are, and a pod whose set it does not know is closed until its policy is known.
 */
export class PolicyController implements EndpointEnforcement, Disposable {
  readonly #options: PolicyControllerOptions;
  readonly #writer: OrderedWriter<PolicyOp>;
  #host:
    | {
        readonly id: number;
        readonly write: (policy: EndpointPolicy) => void;
        readonly policyId: number | undefined;
      }
    | undefined;
  #synced = false;
  readonly #turned = new Gate();
  #scheduled = false;
  #closed = false;

  constructor(options: PolicyControllerOptions) {
    this.#options = options;
    const { clock, random, log } = options;
    this.#writer = new OrderedWriter<PolicyOp>({
      name: 'policy',
      apply: (op) => this.#apply(op),
      compact: (queue) => compactPolicyOps(queue, (policyId) => this.#inUse(policyId)),
      clock,
      random,
      log,
    });
  }

  get synced(): boolean {
    return this.#synced;
  }

  /** Resolves when the kernel follows the engine, or when the signal aborts. */
  async whenSynced(signal: AbortSignal): Promise<void> {
    while (!this.#synced && !signal.aborted) await this.#turned.wait(signal);
  }

  get writer(): OrderedWriter<unknown> {
    return this.#writer as OrderedWriter<unknown>;
  }

  put(record: EndpointRecord): void {
    const { engine, auditAll, maps } = this.#options;
    engine.setEndpoint({
      id: record.id,
      identity: record.identity,
      labels: LabelSet.parse(record.labels),
      namedPorts: record.namedPorts,
      audit: auditAll || record.policyAudit,
    });
    if (!this.#synced) {
      for (const row of this.#provisionalRows(record)) maps.putEndpoint(row);
      return;
    }
    this.#flush();
    // Others may wait for room; this one is in force once its own row is written.
    if (
      this.#writer.pending.some((op) => op.type === 'rows' && op.policy.endpointId === record.id)
    ) {
      throw new AgentError(
        'kernel-failed',
        `the policy of endpoint ${record.id} cannot be written to the kernel`,
        {
          hint: 'a full map names itself here; raise its size under limits',
          cause: this.#writer.error,
        },
      );
    }
    // The engine tells of rows only when policy changes; other parts of the row may have changed alone.
    for (const row of this.#rowsOf(record, this.#policyOf(record.id))) maps.putEndpoint(row);
  }

  /**
   * The node itself as an endpoint: `write` is told what its rows shall say, first and at every change; what was
   * told before holds until then.
   */
  setHost(host: HostParty, write: (policy: EndpointPolicy) => void): void {
    this.#host = { id: host.id, write, policyId: this.#host?.policyId };
    this.#options.engine.setEndpoint({ ...host, namedPorts: [] });
    this.schedule();
  }

  remove(record: EndpointRecord): void {
    const { engine, maps } = this.#options;
    for (const address of addressList(record)) {
      // An address may be another endpoint's by now, as after a clean-up of what is long gone.
      const row = maps.endpoint(address as EndpointMapRow['address']);
      if (row === undefined || row.endpointId === record.id)
        maps.deleteEndpoint(address as EndpointMapRow['address']);
    }
    engine.deleteEndpoint(record.id);
    this.schedule();
  }

  differences(record: EndpointRecord): string[] {
    const wrong: string[] = [];
    for (const address of addressList(record)) {
      const row = this.#options.maps.endpoint(address as EndpointMapRow['address']);
      if (row === undefined) wrong.push(`the kernel has no row for ${address}`);
      else if (row.endpointId !== record.id || row.ifindex !== record.hostIfindex) {
        wrong.push(`the kernel's row for ${address} is of another endpoint`);
      } else if (row.mac !== record.mac || row.identity !== record.identity) {
        wrong.push(`the kernel's row for ${address} has another MAC or identity`);
      }
    }
    return wrong;
  }

  /** Writes what has changed in the engine, soon; a crowd of changes is one flush. */
  schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Writes it now, for what follows in the kernel must find it there. */
  flush(): void {
    if (!this.#closed && this.#synced) this.#flush();
  }

  /**
   * Policies and identities have been read once: from here on the kernel follows the engine, and what
   * an earlier run left and nobody wants any more goes, after everything wanted is there.
   */
  sync(): void {
    if (this.#synced) return;
    this.#synced = true;
    this.#turned.open();
    const wanted = new Map<number, Set<string>>();
    this.#flush((change) => {
      wanted.set(change.policyId, new Set(change.upserts.map(keyText)));
    });
    const pruned = this.#options.maps.prune((policyId, key) => {
      const keys = wanted.get(policyId);
      return keys !== undefined && (key === undefined || keys.has(keyText(key)));
    });
    if (pruned > 0) this.#options.log.info({ pruned }, 'policy entries of an earlier run are gone');
  }

  health(): HealthRow {
    const { error, waiting, idle } = this.#writer;
    if (!idle) {
      return {
        name: 'policy',
        healthy: false,
        detail: `${waiting} writes wait: ${messageWithCauses(error)}`,
      };
    }
    const detail = this.#synced
      ? 'the kernel has every compiled policy'
      : 'policies are not read yet; what the kernel has stays in force';
    return { name: 'policy', healthy: true, detail };
  }

  #flush(each: (change: PolicySetChange) => void = () => {}): void {
    const { engine, cidrs, nodes } = this.#options;
    nodes.prepare();
    const prefixes = engine.takePrefixChange();
    for (const prefix of prefixes.added) {
      const { identity, labels } = cidrs.take(prefix);
      engine.setIdentity(identity, labels);
    }
    for (const prefix of prefixes.removed) this.#releasePrefix(prefix);
    const diff = engine.flush();
    for (const change of diff.sets) each(change);
    this.#writer.push(opsOf(diff));
  }

  #releasePrefix(prefix: Prefix): void {
    const identity = this.#options.cidrs.release(prefix);
    if (identity !== undefined) this.#options.engine.deleteIdentity(identity);
  }

  #apply(op: PolicyOp): void {
    const { maps, endpoints } = this.#options;
    switch (op.type) {
      case 'set':
        maps.applySet(op.change);
        return;
      case 'rows': {
        if (op.policy.endpointId === this.#host?.id) {
          this.#host.write(op.policy);
          this.#host = { ...this.#host, policyId: op.policy.policyId };
          return;
        }
        const row = endpoints.get(op.policy.endpointId);
        if (row === undefined || row.state === 'deleting') return;
        for (const each of this.#rowsOf(row.record, op.policy)) maps.putEndpoint(each);
        const { policyId, revision, ingress, egress } = op.policy;
        endpoints.put({ ...row, policy: { policyId, revision, ingress, egress } });
        return;
      }
      default:
        op satisfies never;
    }
  }

  #inUse(policyId: number): boolean {
    if (this.#host?.policyId === policyId) return true;
    for (const { policy } of this.#options.endpoints.rows())
      if (policy?.policyId === policyId) return true;
    return false;
  }

  #policyOf(endpointId: number): EndpointPolicy {
    const known = this.#options.endpoints.get(endpointId)?.policy;
    if (known !== undefined) return { endpointId, ...known };
    throw new AgentError('internal', `the policy engine says nothing of endpoint ${endpointId}`);
  }

  #rowsOf(record: EndpointRecord, policy: EndpointPolicy): EndpointMapRow[] {
    return addressList(record).map((address) => ({
      address: address as EndpointMapRow['address'],
      ifindex: record.hostIfindex,
      endpointId: record.id,
      identity: record.identity,
      policyId: policy.policyId,
      policyRevision: policy.revision,
      mac: record.mac,
      hostMac: record.hostMac,
      ingress: policy.ingress,
      egress: policy.egress,
    }));
  }

  #provisionalRows(record: EndpointRecord): EndpointMapRow[] {
    const { engine, maps, endpoints } = this.#options;
    const policyId = engine.endpoints.get(record.id)!.set.id;
    const known = maps.knownSet(policyId);
    const policy: EndpointPolicy =
      known === undefined
        ? { endpointId: record.id, policyId, revision: 1, ingress: 'enforced', egress: 'enforced' }
        : { endpointId: record.id, policyId, ...known };
    const row = endpoints.get(record.id);
    if (row !== undefined) {
      const { revision, ingress, egress } = policy;
      endpoints.put({ ...row, policy: { policyId, revision, ingress, egress } });
    }
    return this.#rowsOf(record, policy);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#writer[Symbol.dispose]();
  }
}

function opsOf(diff: PolicyDiff): PolicyOp[] {
  return [
    ...diff.sets.map((change): PolicyOp => ({ type: 'set', change })),
    ...diff.endpoints.map((policy): PolicyOp => ({ type: 'rows', policy })),
    ...diff.removedSets.map((change): PolicyOp => ({ type: 'set', change })),
  ];
}
