import type { Address, Family, Prefix } from '@causeway/ip';
import type {
  BGPClusterOptions,
  BGPPeerOptions,
  CiliumBGPAdvertisement,
  CiliumBGPClusterConfig,
  CiliumBGPNodeConfigOverride,
  CiliumBGPPeerConfig,
  Labels,
} from '@causeway/resources';
import type { EdgeView } from '../edge/role.ts';

/** Everything that decides what this node says by BGP and to whom. */
export interface BgpInputs {
  readonly node: {
    readonly name: string;
    readonly labels: Labels;
    /** By which others reach it, best first. */
    readonly addresses: readonly Address[];
  };
  readonly families: readonly Family[];
  readonly podCIDRs: readonly PodRange[];
  readonly clusterConfigs: readonly CiliumBGPClusterConfig[];
  readonly clusterOptions: readonly BGPClusterOptions[];
  readonly peerConfigs: readonly CiliumBGPPeerConfig[];
  readonly peerOptions: readonly BGPPeerOptions[];
  readonly advertisements: readonly CiliumBGPAdvertisement[];
  readonly overrides: readonly CiliumBGPNodeConfigOverride[];
  /** Name of a Secret in the secrets' namespace to its `password`; undefined: it has no such key. */
  readonly passwords: ReadonlyMap<string, string | undefined>;
  readonly services: readonly ServiceView[];
  readonly interfaces: readonly InterfaceView[];
  readonly egress: readonly EgressView[];
  /** The other nodes of the cluster. */
  readonly nodes: readonly PeerNode[];
}

/** Pod addresses that are to be found here: a CIDR of the node, or one address that has come with its pod. */
export interface PodRange {
  readonly prefix: Prefix;
  /** The CiliumPodIPPool that it is of. */
  readonly pool?: { readonly name: string; readonly labels: Labels };
}

/** A Service as announcements look at it. */
export interface ServiceView {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly terminating: boolean;
  /** `spec.loadBalancerClass`, of type LoadBalancer. */
  readonly loadBalancerClass: string | undefined;
  readonly addresses: readonly ServiceAddress[];
  /** This node among the edge nodes of the cluster. */
  readonly edge: EdgeView;
  /** Why this node reaches no backend of it, by its own tries; undefined: it does, or does not try. */
  readonly unreachable: string | undefined;
}

export type ServiceAddressType = 'ClusterIP' | 'ExternalIP' | 'LoadBalancerIP';

export interface ServiceAddress {
  readonly type: ServiceAddressType;
  readonly address: Address;
  /** The traffic policy that counts for this address. */
  readonly policy: 'Cluster' | 'Local';
  /** On this node there is a backend that takes new connections. */
  readonly localReady: boolean;
  /** On another node there is one. */
  readonly readyElsewhere: boolean;
}

/** An address by which this node, as the gateway of a policy, sends pods' traffic out. */
export interface EgressView {
  /** Of the CiliumEgressGatewayPolicy. */
  readonly policy: string;
  readonly labels: Labels;
  readonly address: Address;
}

export interface InterfaceView {
  readonly name: string;
  readonly up: boolean;
  readonly addresses: readonly Address[];
}

export interface PeerNode {
  readonly name: string;
  readonly labels: Labels;
  readonly addresses: readonly Address[];
}
