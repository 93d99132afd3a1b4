// The public face of the one seam to the kernel. Signatures first: the parts behind them are being
// filled in, and then this file only re-exports.

// ---------- errors
export type LinuxErrorCode =
  | 'unsupported' // the kernel lacks a feature: UnsupportedError names the release that has it
  | 'program-refused' // verifier: VerifierError has program, log and summary
  | 'map-full' // E2BIG / ENOSPC on a map update
  | 'map-incompatible' // a pinned map has another shape than the object declares
  | 'layout-mismatch' // BTF differs from the declared layout
  | 'bad-object' // not an ELF/BPF object, or without what was asked (program, map, variable)
  | 'not-found' // ENOENT, ENODEV, ESRCH, ENXIO
  | 'exists' // EEXIST
  | 'denied' // EPERM, EACCES
  | 'busy' // EBUSY, EAGAIN
  | 'invalid-argument' // EINVAL and our own checks of arguments
  | 'no-memory'
  | 'closed' // use after close
  | 'timeout'
  | 'netlink-malformed' // bytes from the kernel (or a test) that are no netlink message
  | 'system'; // any other errno
export declare class LinuxError extends Error {
  readonly code: LinuxErrorCode;
  readonly operation: string;
  readonly errno: number | undefined; // positive
  readonly errnoName: string | undefined; // "ENOSPC"
  readonly value: unknown;
}
export declare class UnsupportedError extends LinuxError {
  readonly feature: string;
  readonly needs: string; // "Linux 6.6"
}
export declare class VerifierError extends LinuxError {
  readonly program: string;
  readonly log: string; // whole
  readonly summary: string; // its useful lines
}
export declare class NetlinkError extends LinuxError {
  readonly request: string; // "new-link"
  readonly kernelText: string | undefined; // extended ack
  readonly attribute: string | undefined; // offending attribute, "linkinfo.data.id"
}
/** Several requests of one batch failed; the others took effect. */
export declare class NetlinkBatchError extends LinuxError {
  readonly failures: readonly { readonly index: number; readonly error: NetlinkError }[];
}
export declare class MapBatchError extends LinuxError {
  readonly applied: number; // entries written before the failure
}

// ---------- descriptors
/** An owned descriptor. Closing twice is nothing; using it closed throws code 'closed'. Never fd 0. */
export declare class Fd implements Disposable {
  static adopt(fd: number, what: string): Fd;
  get number(): number;
  get closed(): boolean;
  close(): void;
  [Symbol.dispose](): void;
}

// ---------- BPF objects
export type MapType =
  | 'hash'
  | 'array'
  | 'percpu_hash'
  | 'percpu_array'
  | 'lru_hash'
  | 'lru_percpu_hash'
  | 'lpm_trie'
  | 'prog_array'
  | 'perf_event_array'
  | 'array_of_maps'
  | 'hash_of_maps'
  | 'ringbuf'
  | 'cgroup_storage'
  | 'sk_storage'
  | 'devmap'
  | 'sockmap'
  | 'sockhash'
  | 'stack_trace'
  | 'queue'
  | 'stack'
  | 'other';
export interface MapShape {
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number; // bytes
  readonly valueSize: number; // bytes, of one cpu's value for per-cpu maps
  readonly maxEntries: number;
  readonly flags: number;
}
export interface MapInfo extends MapShape {
  readonly id: number;
}
export type ConstantValue = number | bigint | boolean | Uint8Array;
export interface LoadOptions {
  readonly path: string; // the .o file
  /** Values of `const volatile` variables by name; sizes come from BTF; arrays and structs as bytes. Unknown names are refused. */
  readonly constants?: Readonly<Record<string, ConstantValue>>;
  /** Programs (C function names) to load; all when absent. */
  readonly programs?: readonly string[];
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Maps that exist already, by name in the object. */
  readonly reuse?: Readonly<Record<string, BpfMap>>;
  /** Maps kept under `directory/<map name>`: reused when pinned there, else created and pinned after a good load.
   *  A pinned map of another shape: 'refuse' throws map-incompatible, 'replace' unpins it and makes a new one. */
  readonly pins?: {
    readonly directory: string;
    readonly maps: readonly string[];
    readonly incompatible?: 'refuse' | 'replace';
  };
}
export declare function loadObject(options: LoadOptions): LoadedObject;
export declare class LoadedObject implements Disposable {
  readonly btf: Btf;
  readonly programNames: readonly string[]; // loaded ones
  readonly mapNames: readonly string[];
  /** Owned by the object: usable after its close only if dup()ed. */
  program(name: string): BpfProgram;
  map(name: string): BpfMap;
  /** Names of maps replaced because of another shape (pins.incompatible = 'replace'). */
  readonly replacedMaps: readonly string[];
  close(): void;
  [Symbol.dispose](): void;
}
/** What is in an object file, without loading it (pure parsing of ELF and BTF). */
export declare function inspectObject(path: string): ObjectFile;
export interface ObjectFile {
  readonly btf: Btf;
  readonly programs: readonly { readonly name: string; readonly section: string }[];
  readonly license: string | undefined;
}
export interface LayoutMember {
  readonly name: string;
  readonly offset: number; // bytes
  readonly bitOffset: number; // bits from the start of the struct
  readonly size: number; // bytes
  readonly type: string; // "u32", "struct addr16", "u8[16]"
  readonly members?: readonly LayoutMember[];
}
export interface Layout {
  readonly name: string;
  readonly size: number;
  readonly members: readonly LayoutMember[];
}
export declare class Btf {
  static parse(bytes: Uint8Array): Btf;
  structLayout(name: string): Layout;
  structNames(): string[];
  /** Key and value layouts of a BTF-declared map (`__type(key, ...)` or key_size/value_size). */
  mapLayout(name: string): {
    readonly keySize: number;
    readonly valueSize: number;
    readonly key?: Layout;
    readonly value?: Layout;
  };
  enumValues(name: string): ReadonlyMap<string, number>;
  /** Variables of a data section (".rodata", ".data", ".bss"). */
  variables(
    section: string,
  ): readonly {
    readonly name: string;
    readonly offset: number;
    readonly size: number;
    readonly type: string;
  }[];
  /** Throws layout-mismatch naming every differing member. */
  check(
    name: string,
    expected: {
      readonly size: number;
      readonly members: readonly {
        readonly name: string;
        readonly offset: number;
        readonly size: number;
      }[];
    },
  ): void;
}

export interface TestRunInput {
  readonly data?: Uint8Array; // the frame, Ethernet header first
  readonly context?: Uint8Array; // struct __sk_buff etc.; see skbContext()
  readonly repeat?: number;
  readonly outputSize?: number; // bytes of room for data out; default input + 256
}
export interface TestRunResult {
  readonly returnValue: number; // signed 32 bit
  readonly data: Uint8Array;
  readonly context: Uint8Array;
  readonly durationNs: number; // mean per run
}
/** struct __sk_buff for TestRunInput.context, with the fields a test run takes. */
export declare function skbContext(fields: {
  mark?: number;
  priority?: number;
  ifindex?: number;
  ingressIfindex?: number;
  cb?: readonly number[];
  wireLength?: number;
  gsoSegments?: number;
  gsoSize?: number;
}): Uint8Array;
export declare function readSkbContext(bytes: Uint8Array): {
  mark: number;
  ifindex: number;
  ingressIfindex: number;
  cb: readonly number[];
};
export declare class BpfProgram implements Disposable {
  readonly fd: Fd;
  readonly info: {
    readonly id: number;
    readonly name: string;
    readonly type: number;
    readonly tag: string;
  };
  static openPinned(path: string): BpfProgram;
  static openId(id: number): BpfProgram;
  pin(path: string): void;
  testRun(input: TestRunInput): TestRunResult;
  dup(): BpfProgram;
  close(): void;
  [Symbol.dispose](): void;
}

export type UpdateMode = 'any' | 'create' | 'replace';
export declare class BpfMap implements Disposable {
  readonly fd: Fd;
  readonly info: MapInfo;
  /** Bytes of a value as get() and update() see it: valueSize, or for per-cpu maps cpus * round8(valueSize). */
  readonly storedSize: number;
  static create(shape: {
    name: string;
    type: MapType;
    keySize: number;
    valueSize: number;
    maxEntries: number;
    flags?: number;
    innerMap?: BpfMap;
  }): BpfMap;
  static openPinned(path: string): BpfMap;
  static openId(id: number): BpfMap;
  pin(path: string): void;
  dup(): BpfMap;
  /** Into `into` when given (no allocation), else a new array; undefined when the key is absent. */
  get(key: Uint8Array, into?: Uint8Array): Uint8Array | undefined;
  has(key: Uint8Array): boolean;
  update(key: Uint8Array, value: Uint8Array, mode?: UpdateMode): void;
  /** False when the key was absent. */
  delete(key: Uint8Array): boolean;
  /** count() walks the map. */
  count(): number;
  keys(): IterableIterator<Uint8Array>;
  /** By batches where the map type has them, else key by key. An entry may be seen twice or missed while others change the map. */
  entries(batchSize?: number): IterableIterator<[Uint8Array, Uint8Array]>;
  /** Packed keys and values, one after the other. Falls back to single operations where batches are missing. Returns the count written; MapBatchError otherwise. */
  updateBatch(keys: Uint8Array, values: Uint8Array, mode?: UpdateMode): number;
  /** Absent keys are passed over. Returns how many were deleted. */
  deleteBatch(keys: Uint8Array): number;
  clear(): number;
  /** Splits what get() gave of a per-cpu map. */
  perCpu(stored: Uint8Array): Uint8Array[];
  close(): void;
  [Symbol.dispose](): void;
}
export declare function possibleCpus(): number;

// ---------- links and filters. Interface indexes are those of the calling thread's namespace: wrap in Netns.run.
export type Direction = 'ingress' | 'egress';
export type CgroupHook =
  | 'connect4'
  | 'connect6'
  | 'sendmsg4'
  | 'sendmsg6'
  | 'recvmsg4'
  | 'recvmsg6'
  | 'getpeername4'
  | 'getpeername6'
  | 'getsockname4'
  | 'getsockname6'
  | 'bind4'
  | 'bind6'
  | 'post_bind4'
  | 'post_bind6'
  | 'sock_create'
  | 'sock_release';
export interface LinkInfo {
  readonly id: number;
  readonly type: 'tcx' | 'cgroup' | 'xdp' | 'other';
  readonly programId: number;
  readonly ifindex?: number; // 0 when the device is gone
  readonly cgroupId?: bigint;
  readonly attachType?: number;
}
export declare class BpfLink implements Disposable {
  readonly fd: Fd;
  info(): LinkInfo;
  /** Atomic replacement under traffic. With `expected`, only if that program is the present one (else code 'busy'). */
  update(program: BpfProgram, expected?: BpfProgram): void;
  pin(path: string): void;
  static openPinned(path: string): BpfLink;
  detach(): void; // now, also when pinned
  close(): void; // an unpinned link detaches
  [Symbol.dispose](): void;
}
export declare function attachTcx(
  program: BpfProgram,
  ifindex: number,
  direction: Direction,
): BpfLink;
export declare function queryTcx(
  ifindex: number,
  direction: Direction,
): { readonly programId: number; readonly linkId: number }[];
export declare function attachCgroup(
  program: BpfProgram,
  cgroupPath: string,
  hook: CgroupHook,
): BpfLink;
export declare function queryCgroup(
  cgroupPath: string,
  hook: CgroupHook,
): { readonly programIds: readonly number[] };
/** clsact filter in direct-action mode: the fallback below Linux 6.6. Replaces a filter of the same handle and priority. */
export interface TcFilter {
  readonly ifindex: number;
  readonly direction: Direction;
  readonly handle: number;
  readonly priority: number;
}
export declare function attachTcFilter(program: BpfProgram, filter: TcFilter): void;
export declare function detachTcFilter(filter: TcFilter): boolean;
export declare function queryTcFilter(filter: TcFilter): { readonly programId: number } | undefined;
export declare function unpin(path: string): boolean; // false when absent

// ---------- ring buffer
export interface RingReaderOptions {
  readonly map: BpfMap;
  /** A copy, free to keep. Throwing ends the reader with onError. */
  readonly onRecord: (record: Uint8Array) => void;
  readonly onError?: (error: unknown) => void;
  readonly maxPerTurn?: number; // records per event loop turn, default 1024
}
export declare class RingReader implements Disposable {
  constructor(options: RingReaderOptions);
  /** Reads what is there now without waiting for readiness; returns the count. */
  drain(): number;
  close(): void;
  [Symbol.dispose](): void;
}

// ---------- features
export type Feature =
  | 'tcx'
  | 'bpf-link-cgroup'
  | 'ringbuf'
  | 'redirect-peer'
  | 'redirect-neigh'
  | 'fib-lookup'
  | 'set-retval'
  | 'netns-cookie'
  | 'cgroup-getpeername'
  | 'map-batch-hash'
  | 'map-batch-lpm'
  | 'timer'
  | 'skb-tunnel-key'
  | 'btf';
export interface FeatureRow {
  readonly feature: Feature;
  readonly present: boolean;
  readonly needs: string;
  readonly reason?: string;
}
export declare class Features {
  /** Probes by trying, once each; `overrides` simulate presence or absence. */
  constructor(overrides?: Partial<Record<Feature, boolean>>);
  has(feature: Feature): boolean;
  require(feature: Feature): void; // throws UnsupportedError
  report(): FeatureRow[];
}

// ---------- namespaces, mounts, sysctl
export declare class Netns implements Disposable {
  readonly fd: Fd;
  readonly identity: { readonly device: bigint; readonly inode: bigint };
  static open(path: string): Netns; // refuses what is no network namespace
  static ofPid(pid: number): Netns;
  static named(name: string): Netns; // /run/netns/NAME
  static current(): Netns;
  /** As `ip netns add`: bind-mounted under /run/netns. */
  static create(name: string): Netns;
  static remove(name: string): boolean;
  static list(): string[];
  sameAs(other: Netns): boolean;
  cookie(): bigint; // SO_NETNS_COOKIE
  /** Runs fn with the calling thread inside; synchronous only (a returned promise is refused); always comes back. */
  run<T>(fn: () => T): T;
  dup(): Netns;
  close(): void;
  [Symbol.dispose](): void;
}
export declare function readSysctl(name: string, ns?: Netns): string; // "net/ipv4/ip_forward"
export declare function writeSysctl(name: string, value: string | number, ns?: Netns): void;
export declare function mount(options: {
  source?: string;
  target: string;
  type?: string;
  bind?: boolean;
  recursive?: boolean;
  readOnly?: boolean;
  data?: string;
  propagation?: 'private' | 'slave' | 'shared';
}): void;
export declare function unmount(target: string, options?: { lazy?: boolean }): void;
export declare function isBpffs(path: string): boolean;
export declare function ensureBpffs(path: string): boolean; // true when it mounted one

// ---------- sockets and files
export interface InetSocketOptions {
  readonly ns?: Netns;
  readonly address: AddressBytes;
  readonly port: number;
  readonly mark?: number;
  readonly device?: string;
  readonly reusePort?: boolean;
  readonly v6Only?: boolean;
  readonly freeBind?: boolean;
}
/** A bound, listening TCP socket for `server.listen({ fd })`; the caller owns the number. */
export declare function listenTcp(options: InetSocketOptions & { readonly backlog?: number }): Fd;
/** A bound UDP socket for `dgram socket.bind({ fd })`. */
export declare function bindUdp(options: InetSocketOptions): Fd;
export declare function socketFd(socket: object): number; // of a net.Socket, net.Server, dgram.Socket
export declare const SocketOption: {
  readonly [name: string]: { readonly level: number; readonly name: number };
};
export declare function getSocketOption(
  fd: number,
  option: { level: number; name: number },
  size?: number,
): Uint8Array;
export declare function setSocketOption(
  fd: number,
  option: { level: number; name: number },
  value: number | string | Uint8Array,
): void;
export declare function socketName(
  fd: number,
):
  | { readonly family: 'ipv4' | 'ipv6'; readonly address: AddressBytes; readonly port: number }
  | { readonly family: 'unix'; readonly path: string };
export declare function peerCredentials(fd: number): {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
};
/** Advisory lock for the life of the process; undefined when another holds it. */
export declare class FileLock implements Disposable {
  static tryAcquire(path: string): FileLock | undefined;
  close(): void;
  [Symbol.dispose](): void;
}

// ---------- rtnetlink
/** 4 bytes (IPv4) or 16 bytes (IPv6), network order. */
export type AddressBytes = Uint8Array;
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
