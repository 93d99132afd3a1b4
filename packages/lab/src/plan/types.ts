import type { Address, Family, Prefix } from '@causeway/ip';
import type { ROUTING_DAEMONS } from '../file/router-schema.ts';
import type { LabCluster, LabPod, Serve } from '../file/schema.ts';

/** An address on a device with its rack's length: `10.1.0.11/24`. */
export interface DeviceAddress {
  readonly address: Address;
  readonly length: number;
}

export interface DevicePlan {
  readonly name: string;
  readonly mtu: number;
  readonly addresses: readonly DeviceAddress[];
}

export interface RoutePlan {
  /** `default` stands for everything of the family. */
  readonly destination: Prefix | 'default';
  /** More than one is a multipath route. */
  readonly via: readonly Address[];
  /** The kernel's own if left out; a greater one yields to a smaller. */
  readonly metric?: number;
}

/** One network namespace. A rack's holds a bridge, `br0`, with one port a machine. */
export interface PlacePlan {
  readonly place: string;
  readonly kind: 'rack' | 'router' | 'host' | 'node' | 'etcd' | 'operator' | 'inventory';
  readonly devices: readonly DevicePlan[];
  readonly routes: readonly RoutePlan[];
}

/** One session between two routers, over one family and for it. */
export interface SessionPlan {
  readonly neighbor: string;
  readonly family: Family;
  readonly device: string;
  readonly local: Address;
  readonly remote: Address;
  readonly asn: number;
  /** Whether the other side has BFD too. */
  readonly bfd: boolean;
}

/** Where a router takes sessions from nodes, whoever comes out of the range. */
export interface ListenPlan {
  readonly rack: string;
  readonly family: Family;
  readonly device: string;
  readonly local: Address;
  readonly range: Prefix;
  readonly asn: number | 'external' | 'internal';
  readonly advertise: 'none' | 'default' | 'all';
  /** Undefined is everything but a default route. */
  readonly accept: readonly Prefix[] | undefined;
  readonly reflect: boolean;
  readonly limit: number;
}

/** A router that runs a daemon. */
export interface RouterPlan {
  readonly name: string;
  readonly daemon: (typeof ROUTING_DAEMONS)[number];
  readonly asn: number;
  readonly routerId: string;
  readonly sessions: readonly SessionPlan[];
  readonly listens: readonly ListenPlan[];
  readonly originate: readonly Prefix[];
  /** Devices on racks, whose prefixes are announced. */
  readonly rackDevices: readonly string[];
  readonly multipath: number;
  readonly bfd: { readonly intervalMs: number; readonly multiplier: number } | undefined;
  readonly holdSeconds: number;
}

export interface CableEnd {
  readonly place: string;
  readonly device: string;
}

/** A veth pair; the end in a rack is a port of its bridge. */
export interface CablePlan {
  readonly a: CableEnd;
  readonly b: CableEnd;
}

export interface NodePlan {
  readonly name: string;
  readonly rack: string;
  readonly addresses: readonly Address[];
  /** Empty where operators give them. */
  readonly podCIDRs: readonly Prefix[];
  readonly labels: Readonly<Record<string, string>>;
  /** What its agent is told besides. */
  readonly agent: Readonly<Record<string, unknown>>;
  readonly serve: readonly Serve[];
}

export interface PodPlan {
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** The StatefulSet that it belongs to. */
  readonly statefulSet?: { readonly name: string; readonly ordinal: number } | undefined;
  readonly runtime: LabPod['runtime'];
  readonly serve: readonly Serve[];
}

/** One instance of `causeway operator` or `causeway inventory`; its place is `CLUSTER/operator-N`, `CLUSTER/inventory-N`. */
export interface OperatorPlan {
  readonly place: string;
  readonly addresses: readonly Address[];
}

/** One cluster of a mesh as its peers see it. */
export interface MeshPlan {
  readonly by: 'files' | 'token';
  /** Clusters that it reads, by name. */
  readonly reads: readonly string[];
  /** Clusters that read it. */
  readonly readBy: readonly string[];
}

export interface ClusterPlan {
  readonly name: string;
  readonly id: number;
  readonly settings: LabCluster;
  readonly etcd: { readonly place: string; readonly addresses: readonly Address[] };
  readonly operators: readonly OperatorPlan[];
  /** Instances of `causeway inventory`; where there are any, there are no nodes. */
  readonly inventories: readonly OperatorPlan[];
  /** Undefined in a lab without a mesh, whose stores take everybody's word. */
  readonly mesh: MeshPlan | undefined;
  readonly nodes: readonly NodePlan[];
  readonly pods: readonly PodPlan[];
}

export interface HostPlan {
  readonly name: string;
  readonly addresses: readonly Address[];
  readonly serve: readonly Serve[];
}

/** Everything that is decided before anything is built. */
export interface LabPlan {
  readonly places: readonly PlacePlan[];
  readonly cables: readonly CablePlan[];
  readonly hosts: readonly HostPlan[];
  readonly clusters: readonly ClusterPlan[];
  readonly routers: readonly RouterPlan[];
}
