export {
  Btf,
  type BtfMapLayout,
  type BtfVariable,
  compareLayouts,
  type ExpectedLayout,
  flattenLayout,
  type Layout,
  type LayoutMember,
} from './src/bpf/btf.ts';
export type { ConstantValue } from './src/bpf/constants.ts';
export { type Feature, type FeatureRow, Features } from './src/bpf/features.ts';
export {
  attachCgroup,
  attachTcx,
  BpfLink,
  type CgroupHook,
  type Direction,
  type LinkInfo,
  queryCgroup,
  queryTcx,
  unpin,
} from './src/bpf/link.ts';
export {
  LoadedObject,
  type LoadOptions,
  loadObject,
  type PinOptions,
} from './src/bpf/loader.ts';
export {
  BpfMap,
  type MapInfo,
  type MapShape,
  type MapSpec,
  possibleCpus,
  type UpdateMode,
} from './src/bpf/map.ts';
export { MapFlag, type MapType } from './src/bpf/map-types.ts';
export { inspectObject, type ObjectFile } from './src/bpf/object-file.ts';
export {
  BpfProgram,
  type ProgramInfo,
  type TestRunInput,
  type TestRunResult,
} from './src/bpf/program.ts';
export { RingReader, type RingReaderOptions } from './src/bpf/ring-reader.ts';
export {
  readSkbContext,
  type SkbFields,
  type SkbResult,
  skbContext,
} from './src/bpf/skb-context.ts';
export {
  attachTcFilter,
  detachTcFilter,
  queryTcFilter,
  type TcFilter,
} from './src/bpf/tc-filter.ts';
export {
  errnoName,
  LinuxError,
  type LinuxErrorCode,
  MapBatchError,
  NetlinkBatchError,
  NetlinkError,
  UnsupportedError,
  VerifierError,
} from './src/errors.ts';
export { Fd } from './src/fd.ts';

export { FileLock } from './src/file-lock.ts';
export {
  ensureBpffs,
  isBpffs,
  type MountOptions,
  mount,
  type Propagation,
  unmount,
  unshareMounts,
} from './src/mounts.ts';
export { Netns } from './src/netns.ts';
export {
  getIntOption,
  getSocketOption,
  peerCredentials,
  SocketOption,
  type SocketOptionId,
  setSocketOption,
  socketFd,
} from './src/socket-options.ts';
export {
  type AddressBytes,
  bindUdp,
  type InetSocketOptions,
  listenTcp,
  type SocketName,
  socketName,
} from './src/sockets.ts';
export { readSysctl, writeSysctl } from './src/sysctl.ts';

import type { NetlinkError } from './src/errors.ts';
import type { Netns } from './src/netns.ts';
import type { AddressBytes } from './src/sockets.ts';

// What follows is still only declared.
// ---------- rtnetlink
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly kind: string | undefined; // "veth", "vxlan", "bridge"; undefined for physical ones
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly up: boolean; // administratively
  readonly running: boolean; // carrier
  readonly loopback: boolean;
  readonly noArp: boolean;
  readonly flags: number;
  readonly master: number | undefined;
  readonly peerIndex: number | undefined; // IFLA_LINK: veth peer's index in its namespace
  readonly alias: string | undefined;
  readonly gsoMaxSize: number | undefined;
  readonly groMaxSize: number | undefined;
  readonly data: unknown; // kind's own data (vxlan: id, port, collectMetadata...)
  readonly stats:
    | {
        readonly rxPackets: bigint;
        readonly txPackets: bigint;
        readonly rxBytes: bigint;
        readonly txBytes: bigint;
        readonly rxDropped: bigint;
        readonly txDropped: bigint;
      }
    | undefined;
}
export interface InterfaceAddress {
  readonly ifindex: number;
  readonly address: AddressBytes;
  readonly prefixLength: number;
  readonly scope: number;
  readonly flags: number;
  readonly peer: AddressBytes | undefined;
  readonly label: string | undefined;
  readonly protocol: number | undefined;
}
export interface NextHop {
  readonly via?: AddressBytes;
  readonly ifindex?: number;
  readonly weight?: number;
  readonly onlink?: boolean;
}
export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'multicast'
  | 'anycast';
export interface RouteSpec {
  readonly family: 4 | 6;
  readonly destination?: AddressBytes; // absent: default
  readonly prefixLength?: number; // default: 0 without, full with destination
  readonly type?: RouteType;
  readonly via?: AddressBytes; // a v6 gateway of a v4 route is sent as RTA_VIA
  readonly ifindex?: number;
  readonly onlink?: boolean;
  readonly scope?: 'global' | 'link' | 'host' | number;
  readonly source?: AddressBytes; // preferred source
  readonly table?: number;
  readonly protocol?: number; // default causewayProtocol
  readonly metric?: number;
  readonly mtu?: number;
  readonly nextHops?: readonly NextHop[];
}
export interface Route
  extends Required<Pick<RouteSpec, 'family' | 'prefixLength' | 'type' | 'table' | 'protocol'>> {
  readonly destination: AddressBytes | undefined;
  readonly via: AddressBytes | undefined;
  readonly ifindex: number | undefined;
  readonly onlink: boolean;
  readonly scope: number;
  readonly source: AddressBytes | undefined;
  readonly metric: number | undefined;
  readonly mtu: number | undefined;
  readonly nextHops: readonly NextHop[];
}
export interface Neighbour {
  readonly family: 4 | 6 | 7;
  readonly ifindex: number;
  readonly address: AddressBytes | undefined;
  readonly mac: Uint8Array | undefined;
  readonly state: number;
  readonly proxy: boolean;
}
export interface RuleSpec {
  readonly family: 4 | 6;
  readonly priority: number;
  readonly table?: number;
  readonly action?: 'lookup' | 'blackhole' | 'unreachable' | 'prohibit';
  readonly mark?: number;
  readonly markMask?: number;
  readonly source?: AddressBytes;
  readonly sourceLength?: number;
  readonly destination?: AddressBytes;
  readonly destinationLength?: number;
  readonly inputInterface?: string;
  readonly outputInterface?: string;
  readonly protocol?: number;
}
export interface Rule extends RuleSpec {
  readonly table: number;
}

/** Our rtm_protocol, so that our routes can be told from others'. */
export declare const causewayProtocol: 0xc5;

export interface LinkSettings {
  readonly name?: string;
  readonly mac?: Uint8Array;
  readonly mtu?: number;
  readonly up?: boolean;
  readonly noArp?: boolean;
  readonly multicast?: boolean;
  readonly allMulticast?: boolean;
  readonly promiscuous?: boolean;
  readonly master?: number;
  readonly alias?: string;
  readonly gsoMaxSize?: number;
  readonly groMaxSize?: number;
  readonly gsoIpv4MaxSize?: number;
  readonly groIpv4MaxSize?: number;
  readonly txQueueLength?: number;
  readonly namespace?: Netns;
  readonly addressGeneration?: 'eui64' | 'none' | 'stable';
}
/** A request for one change, made by the pure builders of `request`; sent by RtSocket.apply. */
export interface RtRequest {
  readonly type: number;
  readonly flags: number;
  readonly name: string;
  readonly body: Uint8Array;
}
export declare const request: {
  /** `index`/`peer.index` preassign interface indexes. The peer lives in peer.namespace (else in the same). */
  createVeth(
    spec: LinkSettings & {
      readonly name: string;
      readonly index?: number;
      readonly peer: LinkSettings & { readonly name: string; readonly index?: number };
    },
  ): RtRequest;
  /** collectMetadata ("external") unless a vni is given. */
  createVxlan(
    spec: LinkSettings & {
      readonly name: string;
      readonly port: number;
      readonly vni?: number;
      readonly learning?: boolean;
      readonly udp6ZeroChecksum?: boolean;
      readonly local?: AddressBytes;
      readonly underlayIfindex?: number;
    },
  ): RtRequest;
  createBridge(
    spec: LinkSettings & {
      readonly name: string;
      readonly vlanFiltering?: boolean;
      readonly stp?: boolean;
      readonly multicastSnooping?: boolean;
    },
  ): RtRequest;
  setLink(
    which: { readonly index: number } | { readonly name: string },
    settings: LinkSettings,
  ): RtRequest;
  deleteLink(which: { readonly index: number } | { readonly name: string }): RtRequest;
  addAddress(spec: {
    readonly ifindex: number;
    readonly address: AddressBytes;
    readonly prefixLength: number;
    readonly peer?: AddressBytes;
    readonly scope?: 'global' | 'link' | 'host';
    readonly noDad?: boolean;
    readonly noPrefixRoute?: boolean;
    readonly replace?: boolean;
  }): RtRequest;
  deleteAddress(spec: {
    readonly ifindex: number;
    readonly address: AddressBytes;
    readonly prefixLength: number;
  }): RtRequest;
  addRoute(spec: RouteSpec): RtRequest; // EEXIST when there
  replaceRoute(spec: RouteSpec): RtRequest;
  deleteRoute(spec: RouteSpec): RtRequest;
  setNeighbour(spec: {
    readonly ifindex: number;
    readonly address: AddressBytes;
    readonly mac?: Uint8Array;
    readonly proxy?: boolean;
    readonly state?: 'permanent' | 'reachable' | 'noarp' | 'stale';
  }): RtRequest;
  deleteNeighbour(spec: {
    readonly ifindex: number;
    readonly address: AddressBytes;
    readonly proxy?: boolean;
  }): RtRequest;
  addRule(spec: RuleSpec): RtRequest;
  deleteRule(spec: RuleSpec): RtRequest;
};
/** Synchronous: the kernel works rtnetlink requests off within the send, so nothing here waits for the network. */
export declare class RtSocket implements Disposable {
  static open(ns?: Netns): RtSocket;
  /** One request, or several in one send. Several: every one is tried; failures are thrown together as NetlinkBatchError (a single one as NetlinkError). */
  apply(requests: RtRequest | readonly RtRequest[]): void;
  /** As apply, giving an answer per request in place of throwing. */
  tryApply(requests: readonly RtRequest[]): (NetlinkError | undefined)[];
  links(): Link[];
  link(which: { readonly index: number } | { readonly name: string }): Link | undefined;
  addresses(filter?: { readonly family?: 4 | 6; readonly ifindex?: number }): InterfaceAddress[];
  routes(filter?: {
    readonly family?: 4 | 6;
    readonly table?: number;
    readonly protocol?: number;
    readonly ifindex?: number;
  }): Route[];
  /** What the kernel would do (RTM_GETROUTE, fib match). */
  lookupRoute(
    destination: AddressBytes,
    options?: { readonly source?: AddressBytes; readonly ifindex?: number; readonly mark?: number },
  ): Route | undefined;
  neighbours(filter?: {
    readonly family?: 4 | 6;
    readonly ifindex?: number;
    readonly proxy?: boolean;
  }): Neighbour[];
  rules(filter?: { readonly family?: 4 | 6 }): Rule[];
  close(): void;
  [Symbol.dispose](): void;
}
export type RtEvent =
  | { readonly type: 'link'; readonly change: 'new' | 'deleted'; readonly link: Link }
  | {
      readonly type: 'address';
      readonly change: 'new' | 'deleted';
      readonly address: InterfaceAddress;
    }
  | { readonly type: 'route'; readonly change: 'new' | 'deleted'; readonly route: Route }
  | {
      readonly type: 'neighbour';
      readonly change: 'new' | 'deleted';
      readonly neighbour: Neighbour;
    }
  | { readonly type: 'rule'; readonly change: 'new' | 'deleted'; readonly rule: Rule }
  | { readonly type: 'resync'; readonly reason: string }; // the kernel dropped events: list again
export declare class RtMonitor implements Disposable {
  constructor(options: {
    readonly ns?: Netns;
    readonly groups: readonly ('link' | 'address' | 'route' | 'neighbour' | 'rule')[];
    readonly onEvent: (event: RtEvent) => void;
    readonly onError?: (error: unknown) => void;
    readonly receiveBuffer?: number;
  });
  close(): void;
  [Symbol.dispose](): void;
}
