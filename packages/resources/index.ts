export { ResourceError, type ResourceErrorCode, type ResourceIssue } from './src/errors.ts';
export {
  apiVersionOf,
  findKind,
  KIND_NAMES,
  KINDS,
  type KindDescriptor,
  type KindName,
  type Resource,
  type ResourceKinds,
} from './src/kinds.ts';
export type { CiliumCIDRGroup, CiliumNode } from './src/schema/cilium-misc.ts';
export {
  type CiliumClusterwideNetworkPolicy,
  type CiliumNetworkPolicy,
  type CiliumRule,
  ICMP_TYPES,
} from './src/schema/cilium-policy.ts';
export type { ObjectMeta } from './src/schema/common.ts';
export type { Namespace, Node, Pod } from './src/schema/core.ts';
export type { NetworkPolicy, NetworkPolicyPeer } from './src/schema/network-policy.ts';
export {
  type EndpointSlice,
  MANAGED_BY_LABEL,
  SERVICE_NAME_LABEL,
  type Service,
  type ServicePort,
} from './src/schema/service.ts';
export type { ServiceCIDR } from './src/schema/service-cidr.ts';
export type {
  ApplyOptions,
  ApplyReport,
  ApplyResult,
  DeleteOptions,
  ListOptions,
  ObjectRef,
  ReadOptions,
  RejectedObject,
  ResourceEvent,
  ResourceList,
  ResourceStore,
  ResourceWatch,
  WatchOptions,
  WriteOptions,
} from './src/store.ts';
