import type { Prefix } from '@causeway/ip';
import { PolicyError, type WhatIf } from '@causeway/policy';
import type { AnyTable } from '@causeway/tables';
import type { ApiBackend } from './api/app.ts';
import type { TraceBody } from './api/schemas.ts';
import type { AgentStatus, Attachment, AttachRequest, Endpoint } from './api/types.ts';
import { nodeKey } from './cluster/tables.ts';
import { podText } from './endpoints/table.ts';
import { AgentError } from './errors.ts';
import type { HostEndpointController } from './host-endpoint/controller.ts';
import type { HostPatch } from './host-endpoint/settings.ts';
import { meshWhy } from './mesh/why.ts';
import { nameOfIdentity } from './monitor/drops.ts';
import type { Monitor } from './monitor/monitor.ts';
import type { Node } from './node/node.ts';
import { answerTrace, identityRows } from './policy/questions.ts';

/** Rows of one answer; more is asked for by table in the store. */
const MAX_ROWS = 100_000;
/** Columns rather than rows, and shown beside the tables. */
const IP_ENTRIES = 'ip-entries';

/** The API's answers, from the parts of the running node. */
export class NodeBackend implements ApiBackend {
  readonly #node: Node;
  readonly monitor: Monitor;

  constructor(node: Node) {
    this.#node = node;
    this.monitor = node.monitor;
  }

  attach(request: AttachRequest): Promise<{ endpoint: Endpoint; created: boolean }> {
    return this.#node.manager.attach(request);
  }
  check(request: AttachRequest): Promise<Endpoint> {
    return this.#node.manager.check(request);
  }
  detach(attachment: Attachment): Promise<{ removed: boolean }> {
    return this.#node.manager.detach(attachment);
  }
  collectGarbage(valid: readonly Attachment[]): Promise<{ removed: readonly Attachment[] }> {
    return this.#node.manager.collectGarbage(valid);
  }
  patch(id: number, change: { policyAudit?: boolean | undefined }): Promise<Endpoint> {
    return this.#node.manager.patch(id, change);
  }
  endpoints(): readonly Endpoint[] {
    return this.#node.manager.list();
  }
  status(): AgentStatus {
    return this.#node.status();
  }

  tableNames(): readonly string[] {
    const names = this.#node.database.tables().map((table: AnyTable) => table.name);
    return [...names, IP_ENTRIES];
  }
  tableRows(name: string): readonly unknown[] | undefined {
    if (name === IP_ENTRIES) return this.#node.questions.cluster.ipEntries.printed(MAX_ROWS);
    return this.#node.database.find(name)?.print(MAX_ROWS).rows;
  }

  identities(): unknown {
    return identityRows(this.#node.questions);
  }

  /** What the kernel shall say of each prefix; the `ipcache` reconcilers tell where it does not yet. */
  ipcache(): unknown {
    const { engine, ipcache, cluster } = this.#node.questions;
    const rows = new Map<Prefix, unknown>();
    for (const prefix of ipcache.all()) {
      if (rows.size >= MAX_ROWS) break;
      const value = ipcache.resolve(prefix);
      if (value === undefined) continue;
      const pod = cluster.ipEntries.winner(prefix)?.pod;
      rows.set(prefix, {
        prefix,
        identity: value.identity,
        name: value.identity === 0 ? 'world' : nameOfIdentity(engine, value.identity),
        tunnelEndpoint: value.tunnelEndpoint ?? null,
        ...(pod === undefined ? {} : { pod }),
        ...(value.isProtected ? { protected: true } : {}),
      });
    }
    return [...rows.values()];
  }

  nodes(): unknown {
    const problems = Map.groupBy(this.#node.host.plan.routeProblems, ({ cluster, node }) =>
      nodeKey(cluster, node),
    );
    return Array.from(this.#node.questions.cluster.nodes.rows(), (row) => ({
      ...row,
      way: this.#node.wayTo(row),
    })).map(({ name, cluster, addresses, podCIDRs, way }) => ({
      name,
      cluster,
      addresses: addresses.map(({ type, address }) => `${address} (${type})`),
      podCIDRs,
      ...(way === undefined ? {} : { way }),
      ...(problems.has(nodeKey(cluster, name))
        ? {
            notRouted: problems
              .get(nodeKey(cluster, name))!
              .map(({ prefix, reason }) => `${prefix}: ${reason}`),
          }
        : {}),
    }));
  }

  mesh(): unknown {
    return this.#node.mesh.view();
  }
  meshWhy(what: string): Promise<unknown> {
    return meshWhy(this.#node.mesh, what);
  }

  bgp(): unknown {
    const { bgp } = this.#node;
    if (bgp !== undefined) return bgp.view();
    throw new AgentError('not-found', 'this agent has nothing to do with BGP', {
      field: 'bgp.enabled',
      value: false,
      hint: 'set bgp.enabled to true in its configuration',
    });
  }

  hostEndpoint(): unknown {
    return { ...this.#ownEndpoint().view, addresses: this.#node.host.plan.nodeAddresses };
  }
  async changeHostEndpoint(change: HostPatch): Promise<unknown> {
    await this.#ownEndpoint().change(change);
    return this.hostEndpoint();
  }

  #ownEndpoint(): HostEndpointController {
    const { hostEndpoint, questions } = this.#node;
    if (hostEndpoint !== undefined) return hostEndpoint;
    const waiting = [...questions.engine.nodePolicies()];
    const unbound = waiting.length === 0 ? '' : `; ${waiting.join(', ')} may be meant for it`;
    throw new AgentError('not-found', `no host endpoint here${unbound}`, {
      field: 'hostEndpoint.enabled',
      value: false,
      hint: 'set hostEndpoint.enabled to true in its configuration',
    });
  }

  ipam(): unknown {
    return this.#node.addressing.view();
  }

  services(): unknown {
    return this.#node.services.list();
  }
  why(query: Readonly<Record<string, string>>): unknown {
    return this.#node.services.why(query);
  }

  policy(): unknown {
    const { engine } = this.#node.questions;
    const rows = Array.from(this.#node.endpoints.rows(), (row) => {
      const set = engine.endpoints.get(row.record.id)?.set;
      return {
        endpoint: row.record.id,
        id: row.policy?.policyId ?? 0,
        pod: podText(row.record),
        identity: row.record.identity,
        ingress: row.policy?.ingress ?? 'unknown',
        egress: row.policy?.egress ?? 'unknown',
        entries: set?.size ?? 0,
        revision: row.policy?.revision ?? 0,
      };
    });
    const node = this.#node.hostEndpoint?.view;
    if (node === undefined) {
      const here = 'no host endpoint here';
      // Policies for nodes are no error where they bind nobody; they are to be seen nevertheless.
      const unbound = Array.from(engine.nodePolicies(), (name) => ({
        endpoint: 0,
        id: 0,
        pod: `node: ${name}`,
        identity: 0,
        ingress: here,
        egress: here,
        entries: 0,
        revision: 0,
      }));
      return [...rows, ...unbound];
    }
    return [
      ...rows,
      {
        endpoint: node.id,
        id: node.policy?.policyId ?? 0,
        pod: 'node',
        identity: node.identity ?? 0,
        ingress: node.policy?.ingress ?? 'unknown',
        egress: node.policy?.egress ?? 'unknown',
        entries: engine.endpoints.get(node.id)?.set.size ?? 0,
        revision: node.policy?.revision ?? 0,
      },
    ];
  }

  drops(): unknown {
    return {
      counters: this.#node.datapath.counters().filter(({ drop, packets }) => drop && packets > 0n),
      recent: this.#node.explainer.recent(),
    };
  }
  datapathMetrics(): unknown {
    return this.#node.datapath.counters().filter(({ packets }) => packets > 0n);
  }

  trace(body: TraceBody): unknown {
    return this.#asking(() => answerTrace(body, this.#node.questions));
  }

  async whatIf(manifests: readonly unknown[]): Promise<unknown> {
    return this.#asking(() => {
      const { engine } = this.#node.questions;
      const answer: WhatIf = engine.whatIf({ manifests });
      const changes = answer.pairs.flatMap(({ from, to, traffic }) =>
        traffic.map((each) => ({
          from: from.text,
          to: to.text,
          endpoints: { from: from.endpoints, to: to.endpoints },
          port: each.text,
          before: each.before,
          after: each.after,
          because: each.because,
        })),
      );
      const unbound = this.#node.hostEndpoint === undefined ? answer.forNodes : [];
      const notes = unbound.map((name) => `${name} selects nodes: no host endpoint here`);
      return { changes, looked: answer.looked, truncated: answer.truncated, notes };
    });
  }

  /** The policy room's refusals are the caller's, not ours. */
  #asking<T>(question: () => T): T {
    try {
      return question();
    } catch (cause) {
      if (!(cause instanceof PolicyError)) throw cause;
      const reasons = cause.refusals
        .map(({ message }) => message)
        .filter((message) => !cause.message.includes(message));
      throw new AgentError('bad-request', [cause.message, ...reasons].join('; '), {
        field: cause.refusals[0]?.path ?? 'body',
        value: cause.refusals[0]?.value ?? cause.value,
        cause,
      });
    }
  }
}
