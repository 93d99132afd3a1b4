import { VERSION } from '@causeway/daemon';
import type { LabelSet } from '@causeway/identity';
import { Address, type Prefix } from '@causeway/ip';
import { NODE_ANNOTATIONS } from '@causeway/mesh';
import type { HealthRow } from '../api/types.ts';
import { ClusterMember, type MemberOptions } from '../cluster/member.ts';
import type { AgentConfig } from '../config/schema.ts';
import { AgentError } from '../errors.ts';
import type { HostPlan } from '../host/planner.ts';
import type { IdentityNumbers } from '../identity/resolver.ts';
import type { OwnNodeTable } from './own-node.ts';

export interface MembershipOptions {
  readonly config: AgentConfig;
  readonly ownNode: OwnNodeTable;
  readonly member: Omit<MemberOptions, 'address' | 'onRenumbered'>;
  /** Numbers can be had from now on, or have changed. */
  readonly onNumbers: () => void;
}

/**
 * The node's way into its cluster: it becomes a member once it is known by which address it is
 * reached, and has numbers for identities from then on.
 */
export class Membership implements IdentityNumbers, AsyncDisposable {
  readonly #options: MembershipOptions;
  #member: ClusterMember | undefined;
  #host: { readonly identity: number; readonly id: number } | undefined;
  #plan: HostPlan | undefined;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  get joined(): boolean {
    return this.#member !== undefined;
  }

  get connected(): boolean {
    return this.#member?.connected ?? false;
  }

  /** The pod CIDRs that the cluster's store says are here; undefined while it has not what was said last. */
  get described(): readonly Prefix[] | undefined {
    return this.#member?.described;
  }

  /** The store has what this node says of a pod's address. */
  said(address: Address): boolean {
    return this.#member?.said(address) ?? false;
  }

  known(labels: LabelSet): number | undefined {
    return this.#member?.known(labels);
  }

  async acquire(labels: LabelSet, signal: AbortSignal): Promise<number> {
    if (this.#member !== undefined) return this.#member.acquire(labels, signal);
    throw new AgentError('store-unavailable', 'the node is not a member of its cluster yet');
  }

  release(labels: LabelSet): void {
    this.#member?.release(labels);
  }

  health(): HealthRow[] {
    return this.#member?.health() ?? [];
  }

  /** The node's own addresses have this identity. */
  setHost(identity: number, id: number): void {
    this.#host = { identity, id };
    this.#sayHost();
  }

  #sayHost(): void {
    if (this.#host === undefined || this.#plan === undefined) return;
    const { identity, id } = this.#host;
    const { namespace } = this.#options.config.hostEndpoint;
    const gateways = this.#plan.gateways.map(({ gateway }) => gateway);
    this.#member?.sayHost([...this.#plan.nodeAddresses, ...gateways], identity, { namespace, id });
  }

  /** Joins if it can, and tells the cluster what is new of this node. Call it once endpoints are restored. */
  follow(plan: HostPlan): void {
    const { config, ownNode, member, onNumbers } = this.#options;
    const own = ownNode.get(config.node.name);
    const { nodeAddresses, gateways } = plan;
    const underlay = config.tunnel.underlayFamily;
    const address =
      nodeAddresses.find((each) => Address.family(each) === underlay) ?? nodeAddresses[0];
    if (own === undefined || address === undefined) return;
    const joining = this.#member === undefined;
    this.#member ??= new ClusterMember({ ...member, address, onRenumbered: onNumbers });
    if (joining) {
      for (const { record } of member.endpoints.rows()) this.#member.restore(record);
    }
    this.#member.describe({
      addresses: nodeAddresses,
      gateways: gateways.map(({ gateway }) => gateway),
      podCIDRs: gateways.map(({ prefix }) => prefix),
      labels: own.labels,
      annotations: {
        [NODE_ANNOTATIONS.version]: VERSION,
        [NODE_ANNOTATIONS.routingMode]: config.routingMode,
        [NODE_ANNOTATIONS.tunnelPort]: String(config.tunnel.port),
        [NODE_ANNOTATIONS.mtu]: String(plan.mtu.device),
      },
    });
    this.#plan = plan;
    this.#sayHost();
    if (!joining) return;
    this.#member.complete();
    onNumbers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#member?.[Symbol.asyncDispose]();
  }
}
