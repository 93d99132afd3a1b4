import { VERSION } from '@causeway/daemon';
import type { MeshReader } from '@causeway/mesh';
import type { AgentStatus, HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import type { EndpointManager } from '../endpoints/manager.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import type { HostPlan } from '../host/planner.ts';
import type { IdentityResolver } from '../identity/resolver.ts';
import type { AgentMesh } from '../mesh/mesh.ts';
import type { StoreSources } from '../sources/store.ts';
import { gatewaysOf } from './gateways.ts';

export interface StatusParts {
  readonly config: AgentConfig;
  readonly startedAt: string;
  readonly plan: HostPlan;
  readonly endpoints: EndpointTable;
  readonly latency: EndpointManager['latency'];
  readonly sources: StoreSources;
  readonly mesh: AgentMesh;
  readonly resolver: IdentityResolver;
  /** What keeps pods from being attached. */
  readonly problems: readonly string[];
  /** What an observer waits for who wants everything in step, beside the sources. */
  readonly waiting: readonly string[];
  readonly reconcilers: readonly HealthRow[];
}

/** `GET /v1/status`: what this node is, what it waits for, and how each of its parts fares. */
export function agentStatus(parts: StatusParts): AgentStatus {
  const { config, plan, endpoints, problems } = parts;
  const waiting = [...unread(parts), ...parts.waiting];
  const byState: Record<string, number> = {};
  for (const { state } of endpoints.rows()) byState[state] = (byState[state] ?? 0) + 1;
  return {
    ready: problems.length === 0 && waiting.length === 0,
    reasons: [...problems, ...waiting],
    version: VERSION,
    pid: process.pid,
    startedAt: parts.startedAt,
    cluster: { name: config.cluster.name, id: config.cluster.id },
    node: {
      name: config.node.name,
      addresses: plan.nodeAddresses,
      podCIDRs: plan.gateways.map(({ prefix }) => prefix),
      gateways: gatewaysOf(plan.gateways.map(({ prefix }) => prefix)),
    },
    modes: {
      routing: config.routingMode,
      families: config.families,
      masquerade: config.masquerade.enabled,
      socketLB: config.socketLB.enabled,
      mtu: plan.mtu,
      devices: plan.devices.map(({ name }) => name),
    },
    cni: { ready: problems.length === 0, reasons: problems },
    sources: [...parts.sources.health(), ...meshHealth(parts.mesh.own), ...parts.mesh.health()],
    reconcilers: [...parts.reconcilers, ...resolverHealth(parts.resolver)],
    endpoints: { total: endpoints.size, byState },
    latency: parts.latency,
  };
}

function unread({ sources, mesh }: StatusParts): string[] {
  const waiting: string[] = [];
  for (const { name, synced } of sources.status()) {
    if (!synced) waiting.push(`${name} is not read yet`);
  }
  if (sources.empty) {
    waiting.push(
      'the store holds no object at all; what the kernel has stays in force until it does',
    );
  }
  for (const { kind, synced } of mesh.own.status().kinds) {
    if (!synced) waiting.push(`cluster ${kind} are not read yet`);
  }
  waiting.push(...mesh.waiting());
  return waiting;
}

function meshHealth(mesh: MeshReader): HealthRow[] {
  return mesh.status().kinds.map(({ kind, synced, connected, accepted, rejected, lastError }) => ({
    name: `cluster-${kind}`,
    healthy: connected && synced,
    detail: connected
      ? `${accepted} accepted, ${rejected} refused`
      : `no contact with the store (${lastError ?? 'connecting'}); what was known stays in force`,
  }));
}

function resolverHealth(resolver: IdentityResolver): HealthRow[] {
  const pending = resolver.pending();
  const [first] = pending;
  if (first === undefined) return [];
  const detail = `${pending.length} endpoints are without an identity; ${first.id}: ${first.reason}`;
  return [{ name: 'identities', healthy: false, detail }];
}
