import { Address, type Prefix } from '@causeway/ip';

export interface ServiceRef {
  readonly namespace: string;
  readonly name: string;
}

export const serviceName = ({ namespace, name }: ServiceRef): string => `${namespace}/${name}`;

/** IANA numbers. */
export const PROTOCOLS = Object.freeze({ TCP: 6, UDP: 17, SCTP: 132 });

export type Protocol = keyof typeof PROTOCOLS;

/** How a frontend spreads new connections. `maglev`: every node chooses alike for a flow. */
export type Algorithm = 'random' | 'maglev';

/**
 * How a packet from outside reaches a backend on another node. `snat`: under this node's address, so that the answer
 * comes back here. `dsr`: under the client's own, and the backend's node answers the client directly.
 */
export type Forwarding = 'snat' | 'dsr';

/** One port of a service. */
export interface ServicePort {
  /** Empty for the only port of a service. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** A number, or the name of a port that each pod gives its own number. */
  readonly targetPort: number | string;
  readonly nodePort?: number;
}

/** A v1 Service, checked and with its defaults. */
export interface Service extends ServiceRef {
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** No address of its own: names resolve to the pods (`clusterIP: None`). */
  readonly headless: boolean;
  readonly clusterIPs: readonly Address[];
  readonly externalIPs: readonly Address[];
  /** From the status: what a load balancer gave, unless it says that all must go by itself (`ipMode: Proxy`). */
  readonly loadBalancerIPs: readonly Address[];
  /** Clients outside that may use the load balancer addresses; empty: all. */
  readonly sourceRanges: readonly Prefix[];
  readonly ports: readonly ServicePort[];
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly publishNotReadyAddresses: boolean;
  /** Seconds that a client stays with its backend; absent without session affinity. */
  readonly affinitySeconds: number | undefined;
  readonly internalTrafficPolicy: 'Cluster' | 'Local';
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly healthCheckNodePort: number | undefined;
  /** From annotation `service.cilium.io/lb-algorithm`; absent: the default of the settings. */
  readonly algorithm: Algorithm | undefined;
  /** From annotation `service.cilium.io/forwarding-mode`; absent: as the settings say. */
  readonly forwarding: Forwarding | undefined;
  /** From annotations `causeway.io/health-check*`; absent: readiness is all that counts. */
  readonly healthCheck: HealthCheck | undefined;
  readonly mesh: MeshRules;
}

/** What a service has to do with those of its name in other clusters; clusters.ts says what follows from it. */
export interface MeshRules {
  /** Backends of other clusters serve it too. From `service.cilium.io/global`. */
  readonly global: boolean;
  /** Its own backends serve the others; only of a global one. From `service.cilium.io/shared`. */
  readonly shared: boolean;
  /** Whose backends come first. From `service.cilium.io/affinity`. */
  readonly affinity: 'local' | 'remote' | undefined;
  /** Clusters in the order in which they are tried; those that it does not name come after. */
  readonly preference: readonly string[];
  /** Healthy part, above 0 to 1, below which a tier gives connections away; undefined: when none is healthy. */
  readonly spillOver: number | undefined;
  /** How many backends a port should have in this cluster, of each family; 0: as many as there are. */
  readonly expected: number;
}

/** How a service's backends are tried by the nodes that they run on. */
export interface HealthCheck {
  readonly type: 'tcp' | 'http';
  /** Of `http`; with its slash. */
  readonly path: string;
  /** Absent: the backend's own port. */
  readonly port: number | undefined;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Tries in a row that turn the verdict. */
  readonly healthyAfter: number;
  readonly unhealthyAfter: number;
}

/** One address and port that serves a service port, as slices or pods have it. */
export interface Endpoint {
  readonly portName: string;
  readonly protocol: Protocol;
  readonly address: Address;
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  /** `shop/web-1`, for people. */
  readonly target: string | undefined;
  /** 0 to 100, its part of new connections relative to the others; 0: none. From `causeway.io/weight`. */
  readonly weight: number;
  /** What its own cluster's health checks say against it, of a backend in another cluster. */
  readonly failing?: string;
}

/** What another cluster says of a service's backends: all of them, or one shard. */
export interface RemotePart extends ServiceRef {
  readonly cluster: string;
  /** Empty for all; else the shard's number. Where there are shards, they are believed and nothing else. */
  readonly part: string;
  /** How many backends of a port and family it says it should have; 0: as many as it lists. */
  readonly expected: number;
  /** Their `node` is undefined: names of nodes mean something in their own cluster only. */
  readonly endpoints: readonly Endpoint[];
}

/**
 * What may happen at a backend. `active`: new connections. `terminating`: it drains; new ones only if
 * all are terminating. `leaving`: it drains and serves no more. `not-ready`: nothing.
 */
export type BackendState = 'active' | 'terminating' | 'leaving' | 'not-ready';

export interface Backend {
  /** `10.1.0.5:8080/TCP`, `[fd00::5]:8080/TCP`. */
  readonly key: string;
  readonly address: Address;
  readonly port: number;
  readonly protocol: Protocol;
  readonly state: BackendState;
  /** Where it runs. */
  readonly cluster: string;
  /** Undefined in other clusters. */
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly target: string | undefined;
  /** 0 to 100; among `chosen`, where tiers share connections, its part of all. */
  readonly weight: number;
  /** Clusters that name the same socket and are not believed: the own one counts first. */
  readonly alsoIn?: readonly string[];
  /** What its own node's health check says against it; absent: nothing. */
  readonly failing?: string;
  /** Why it gets no new connections though its state would let it. */
  readonly excluded?: 'other-node' | 'weight' | 'failing';
}

/** Where a frontend's address comes from. */
export type FrontendType = 'ClusterIP' | 'ExternalIP' | 'LoadBalancer' | 'NodePort';

/** An address and port that clients speak to, with everything that decides where they end up. */
export interface Frontend {
  /** As of Backend; a NodePort has no address of its own: `*4:30080/TCP`, `*6:30080/TCP`. */
  readonly key: string;
  readonly service: ServiceRef;
  readonly type: FrontendType;
  readonly portName: string;
  /** Absent for NodePort: every address of the node. */
  readonly address: Address | undefined;
  readonly family: 'ipv4' | 'ipv6';
  readonly port: number;
  readonly protocol: Protocol;
  readonly algorithm: Algorithm;
  readonly affinitySeconds: number | undefined;
  readonly trafficPolicy: 'Cluster' | 'Local';
  /** Clients outside of the cluster may use it. */
  readonly external: boolean;
  readonly forwarding: Forwarding;
  /** Clients outside that may; undefined: all. */
  readonly sourceRanges: readonly Prefix[] | undefined;
  /** Clusters in the order in which their backends are tried; those of one tier share. One tier, unless global. */
  readonly tiers: readonly (readonly string[])[];
  readonly spillOver: number | undefined;
  /** By cluster, how many backends it says it should have; absent: as many as are listed. */
  readonly expected: ReadonlyMap<string, number>;
  /** All of them, in the order of their keys. */
  readonly backends: readonly Backend[];
  /** Those among `backends` that new connections are spread over. */
  readonly chosen: readonly Backend[];
  /** The same for clients outside, of an external frontend with policy Local; undefined: `chosen` is for them too. */
  readonly chosenLocal: readonly Backend[] | undefined;
}

/** `10.0.0.1:80/TCP`, `[fd00::1]:80/TCP`. */
export function socketKey(address: Address, port: number, protocol: Protocol): string {
  return address.includes(':')
    ? `[${address}]:${port}/${protocol}`
    : `${address}:${port}/${protocol}`;
}

/** What a frontend is known by: its socket, or `*4:30080/TCP` for a NodePort, whose row has the address `0.0.0.0`. */
export function frontendKey(address: Address, port: number, protocol: Protocol): string {
  return Address.isUnspecified(address)
    ? `*${Address.family(address) === 'ipv4' ? 4 : 6}:${port}/${protocol}`
    : socketKey(address, port, protocol);
}

/** The address in the row of a NodePort. */
export const NODE_PORT_ADDRESS = Object.freeze({
  ipv4: Address.parse('0.0.0.0'),
  ipv6: Address.parse('::'),
});
