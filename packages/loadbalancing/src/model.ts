import type { Address } from '@causeway/ip';

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
  /** From the status: what a load balancer gave. */
  readonly loadBalancerIPs: readonly Address[];
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
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly target: string | undefined;
  /** Why it gets no new connections though its state would let it. */
  readonly excluded?: 'other-node';
}

/** Where a frontend's address comes from. Only ClusterIP is put into the maps so far. */
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
  /** All of them, in the order of their keys. */
  readonly backends: readonly Backend[];
  /** Those among `backends` that new connections are spread over. */
  readonly chosen: readonly Backend[];
}

/** `10.0.0.1:80/TCP`, `[fd00::1]:80/TCP`. */
export function socketKey(address: Address, port: number, protocol: Protocol): string {
  return address.includes(':')
    ? `[${address}]:${port}/${protocol}`
    : `${address}:${port}/${protocol}`;
}
