import { nodeCgroup } from '../host/enter.ts';
import type { ClusterPlan, NodePlan } from '../plan/types.ts';
import type { RouterSession } from '../routers/daemon.ts';
import type { LabContext } from './context.ts';
import type { LabEtcd } from './etcd.ts';
import { LabProgram } from './program.ts';
import { givePeer, giveStore, PEERS_DIRECTORY, type StoreSettings } from './store-access.ts';
import type { ClientCredentials } from './store-guard.ts';

interface SpeakerPeer {
  readonly name: string;
  readonly state: string;
  readonly address?: string;
  readonly bfd?: { readonly state: string };
  readonly negotiated?: { readonly peerAsn: number };
  readonly families: readonly { readonly received: number }[];
}

export interface NodeSession extends RouterSession {
  /** What BFD says of the way to the neighbour; undefined when it is not asked. */
  readonly bfd: string | undefined;
}

/** One node's agent, and beside it the programs that outlive it where the node speaks BGP. */
export class LabAgent extends LabProgram {
  readonly node: NodePlan;
  /** Undefined when the cluster does not route by BGP. */
  readonly speaker: LabProgram | undefined;
  readonly bfd: LabProgram | undefined;
  readonly #cluster: ClusterPlan;

  constructor(context: LabContext, cluster: ClusterPlan, node: NodePlan) {
    super(context, node.name, 'agent');
    this.node = node;
    this.#cluster = cluster;
    const { bgp } = cluster.settings.routing;
    this.speaker = bgp ? new LabProgram(context, node.name, 'speaker') : undefined;
    this.bfd = bgp ? new LabProgram(context, node.name, 'bfd') : undefined;
  }

  /** All of the node's programs in the order in which they start. */
  get programs(): LabProgram[] {
    return [this.bfd, this.speaker, this].filter((program) => program !== undefined);
  }

  /** Writes the configuration files of the node's programs. */
  async configure(etcd: LabEtcd): Promise<void> {
    const common = { runDir: '/run/causeway', name: this.node.name };
    this.bfd?.write(common);
    this.speaker?.write(common);
    this.write(this.configuration(await giveStore(this.context.state.name, this.place, etcd)));
  }

  /** Gives the node the file of a peer, from which its agent reads it. */
  meet(peer: LabEtcd, credentials: ClientCredentials): Promise<void> {
    const endpoints = peer.endpointsFor(this.#cluster.name);
    return givePeer(
      this.context.state.name,
      this.place,
      { name: peer.cluster, endpoints },
      credentials,
    );
  }

  /** The sessions of the node's speaker as it tells of them; none where the node does not speak BGP. */
  async sessions(): Promise<NodeSession[]> {
    const rows = ((await this.speaker?.get('/v1/peers')) ?? []) as SpeakerPeer[];
    return rows.map(({ name, address, state, bfd, negotiated, families }) => ({
      remote: address ?? name,
      asn: negotiated?.peerAsn,
      established: state === 'established',
      state,
      bfd: bfd?.state,
      received: families.reduce((sum, family) => sum + family.received, 0),
    }));
  }

  /** The agent's configuration file, as an administrator would write it for this node. */
  configuration(etcd: StoreSettings): Record<string, unknown> {
    const { settings } = this.#cluster;
    const podCIDRs = [settings.podCIDRs.ipv4, settings.podCIDRs.ipv6].filter(
      (cidr) => cidr !== undefined,
    );
    return {
      cluster: { name: this.#cluster.name, id: this.#cluster.id },
      node: { name: this.node.name },
      etcd,
      routingMode: settings.routing.mode,
      ...(settings.routing.bgp ? { nativeRouting: { mode: 'bgp' } } : {}),
      tunnel: {
        port: settings.routing.tunnelPort,
        underlayFamily: settings.routing.underlayFamily,
      },
      families: settings.families,
      nativeRoutingCIDRs: podCIDRs,
      masquerade: settings.masquerade,
      devices: ['eth0'],
      socketLB: settings.socketLB,
      serviceCIDRs: settings.serviceCIDRs,
      runDir: '/run/causeway',
      stateDir: '/run/causeway/lasting',
      bpffs: '/sys/fs/bpf/causeway',
      cgroup: this.#cgroup,
      ...settings.agent,
      ...this.node.agent,
      ...this.#mesh(),
    };
  }

  #mesh(): { readonly mesh?: object } {
    if (this.#cluster.mesh === undefined) return {};
    const wanted = { ...this.#cluster.settings.agent, ...this.node.agent }.mesh;
    return { mesh: { configDir: PEERS_DIRECTORY, ...(wanted as object | undefined) } };
  }

  protected override unready(status: {
    readonly ready?: unknown;
    readonly reasons?: unknown;
  }): string | undefined {
    return status.ready === true ? undefined : super.unready({ ...status, ready: false });
  }

  get #cgroup(): string {
    return nodeCgroup(this.context.state.cgroupRoot, this.context.names, this.node.name);
  }
}
