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
  attachXdp,
  BpfLink,
  type CgroupHook,
  type Direction,
  type LinkInfo,
  queryCgroup,
  queryTcx,
  unpin,
  type XdpMode,
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
export { EchoSocket } from './src/echo-socket.ts';
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
export { EventFd } from './src/event-fd.ts';
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
export {
  AddressFlag,
  type AddressSelector,
  type AddressSpec,
  type InterfaceAddress,
} from './src/netlink/address.ts';
export {
  type Link,
  type LinkData,
  LinkFlag,
  type LinkStats,
} from './src/netlink/link.ts';
export type {
  BridgeSpec,
  LinkSelector,
  LinkSettings,
  NewLink,
  VethSpec,
  VxlanSpec,
} from './src/netlink/link-requests.ts';
export type { RtRequest } from './src/netlink/message.ts';
export {
  type RtChange,
  type RtEvent,
  type RtGroup,
  RtMonitor,
  type RtMonitorOptions,
} from './src/netlink/monitor.ts';
export {
  type Neighbour,
  type NeighbourSelector,
  type NeighbourSpec,
  NeighbourState,
} from './src/netlink/neighbour.ts';
export { request } from './src/netlink/requests.ts';
export { type NextHop, type Route, RouteTable, type RouteType } from './src/netlink/route.ts';
export { causewayProtocol, type RouteSpec, speakerProtocol } from './src/netlink/route-requests.ts';
export { type RouteFilter, RtSocket } from './src/netlink/rt-socket.ts';
export type { Rule, RuleAction, RuleSpec } from './src/netlink/rule.ts';
export { Netns } from './src/netns.ts';
export { PollSet } from './src/poll-set.ts';
export { RouterAdvertiser } from './src/router-advertiser.ts';
export { type Preference, preferThisThread } from './src/scheduling.ts';
export {
  attachSocketFilter,
  type FilterInstruction,
  filterStep,
  longestFilter,
  refuseAll,
} from './src/socket-filter.ts';
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
export {
  connectTcp,
  linkLocalDevice,
  setTcp,
  setTcpMd5,
  type TcpConnectorOptions,
  type TcpMd5Key,
  type TcpSettings,
} from './src/tcp.ts';
export { type ReceivedDatagram, UdpReceiver } from './src/udp-receiver.ts';
export { interfaceIndex, UdpSender, type UdpSenderOptions } from './src/udp-sender.ts';
