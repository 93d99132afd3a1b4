/**
 * The shapes that the agent's HTTP API speaks. The CNI plugin and the command line import these
 * types; they are plain data, so that a bash script with curl is as good a client as ours.
 */

export type EndpointState = 'creating' | 'ready' | 'restoring' | 'deleting' | 'error';

export interface FamilyAddresses {
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** One attached interface of one container. Addresses are in canonical text form. */
export interface Endpoint {
  /** Stable over restarts of the agent; 1 to 65535, unique on the node. */
  readonly id: number;
  readonly containerId: string;
  readonly ifname: string;
  readonly hostIfname: string;
  readonly hostIfindex: number;
  readonly addresses: FamilyAddresses;
  readonly gateways: FamilyAddresses;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
  readonly identity: number;
  /** Cilium's text form, `k8s:app=x`, in order of the key. */
  readonly labels: readonly string[];
  readonly podNamespace?: string;
  readonly podName?: string;
  readonly state: EndpointState;
  readonly stateReason?: string;
  readonly policy: { readonly ingress: boolean; readonly egress: boolean; readonly audit: boolean };
}

/** Body of `POST /v1/endpoints` and of `POST /v1/endpoints/check`. */
export interface AttachRequest {
  readonly containerId: string;
  /** Any path that the agent can open: `/run/netns/x`, `/proc/123/ns/net`, `/proc/123/fd/7`. */
  readonly netns: string;
  /** Name of the interface inside the container. */
  readonly ifname: string;
  readonly podNamespace?: string | undefined;
  readonly podName?: string | undefined;
  readonly podUid?: string | undefined;
  /** Labels known to the caller; used only where no Pod resource says more. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly cniVersion?: string | undefined;
  readonly mtu?: number | undefined;
  /** Chained use: another plugin made the veth and its addresses; the agent adopts its host side. */
  readonly chained?: ChainedInterface | undefined;
}

/** What the plugin before us in a chain reported of its interface. */
export interface ChainedInterface {
  readonly hostIfname: string;
  /** Without prefix lengths. */
  readonly addresses: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined };
}

export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
}

export interface HealthRow {
  readonly name: string;
  readonly healthy: boolean;
  /** One sentence for a person; says what to do when it is not healthy. */
  readonly detail: string;
  readonly since?: string;
}

export interface LatencySummary {
  readonly count: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface AgentStatus {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly cluster: { readonly name: string; readonly id: number };
  readonly node: {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly podCIDRs: readonly string[];
    readonly gateways: FamilyAddresses;
  };
  readonly modes: {
    readonly routing: 'tunnel' | 'native' | 'hybrid';
    readonly families: readonly ('ipv4' | 'ipv6')[];
    readonly masquerade: boolean;
    readonly socketLB: boolean;
    readonly mtu: { readonly device: number; readonly pod: number; readonly tunnel: number };
    readonly devices: readonly string[];
  };
  readonly cni: { readonly ready: boolean; readonly reasons: readonly string[] };
  readonly sources: readonly HealthRow[];
  readonly reconcilers: readonly HealthRow[];
  readonly endpoints: {
    readonly total: number;
    readonly byState: Readonly<Record<string, number>>;
  };
  readonly latency: { readonly add: LatencySummary; readonly del: LatencySummary };
}
