export { clusterOfGuard, PLAN_GUARD } from './src/address-plan/guard.ts';
export {
  decodePodCidr,
  encodePodCidr,
  POD_CIDRS,
  type PodCidrRecord,
  podCidrKey,
  podCidrOfKey,
  poolUseKey,
} from './src/address-plan/pod-cidrs.ts';
export { isTolerated, rangesOf } from './src/address-plan/ranges.ts';
export { type BgpConfigChoice, bgpNodeSpec, chooseBgpConfig } from './src/bgp-node.ts';
export { type Condition, withConditions } from './src/conditions.ts';
export { describeKind, type FieldDoc, jsonSchemaOf, type KindDoc } from './src/describe.ts';
export { ResourceError, type ResourceErrorCode, type ResourceIssue } from './src/errors.ts';
export { type EtcdStoreOptions, etcdStore } from './src/etcd-store.ts';
export { EmptyStoreGuard } from './src/follow/empty-store.ts';
export { KindFollower, type KindSource, type SourceStatus } from './src/follow/follower.ts';
export { Followers, objectKey } from './src/follow/followers.ts';
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
export {
  MANIFEST_LIMITS,
  type ManifestLimits,
  parseManifests,
  type RawObject,
} from './src/manifest.ts';
export {
  ADDRESS_TTL,
  ADDRESSES,
  EDGE_LABEL,
  FIXED_ADDRESS,
  MIGRATING_FROM,
  PLATFORM_LABEL,
  RENEWED_AT,
  ROUTING_ZONE,
  SITE_LABEL,
} from './src/own-keys.ts';
export { decodeObject, encodeObject, registryKey } from './src/registry.ts';
export {
  DEFAULT_TTL_SECONDS,
  type ReservedAddress,
  reservedAddresses,
} from './src/reserved-addresses.ts';
export type { AddressPlan } from './src/schema/address-plan.ts';
export type { AddressReservation } from './src/schema/address-reservation.ts';
export { WELL_KNOWN_COMMUNITIES } from './src/schema/bgp-fields.ts';
export type { BGPClusterOptions, BGPPeerOptions } from './src/schema/causeway-bgp.ts';
export type {
  CiliumBGPAdvertisement,
  CiliumBGPClusterConfig,
  CiliumBGPPeerConfig,
} from './src/schema/cilium-bgp.ts';
export type {
  CiliumBGPNodeConfig,
  CiliumBGPNodeConfigOverride,
} from './src/schema/cilium-bgp-node.ts';
export type { CiliumCIDRGroup, CiliumNode } from './src/schema/cilium-misc.ts';
export type {
  CiliumClusterwideNetworkPolicy,
  CiliumNetworkPolicy,
  CiliumRule,
} from './src/schema/cilium-policy.ts';
export {
  isDnsLabel,
  isLabelKey,
  isLabelValue,
  type ObjectMeta,
  type OwnerReference,
} from './src/schema/common.ts';
export type { Namespace, Node, Pod } from './src/schema/core.ts';
export type { CiliumEgressGatewayPolicy } from './src/schema/egress-gateway.ts';
export {
  type AddressRange,
  blocksOf,
  type CiliumLoadBalancerIPPool,
} from './src/schema/load-balancer-pool.ts';
export { MESH_SECRETS_NAMESPACE, type MeshPeer } from './src/schema/mesh-peer.ts';
export type { NetworkPolicy, NetworkPolicyPeer } from './src/schema/network-policy.ts';
export {
  countOrdinals,
  hasOrdinal,
  type OrdinalRange,
  parseOrdinals,
} from './src/schema/ordinals.ts';
export type { OutsideEndpoint } from './src/schema/outside-endpoint.ts';
export type { CiliumPodIPPool, PodIPPoolOptions } from './src/schema/pod-pools.ts';
export { redacted, type Secret, secretValue } from './src/schema/secret.ts';
export {
  type EndpointSlice,
  MANAGED_BY_LABEL,
  SERVICE_NAME_LABEL,
  type Service,
  type ServicePort,
} from './src/schema/service.ts';
export type { ServiceCIDR } from './src/schema/service-cidr.ts';
export type { StatefulSet } from './src/schema/workload.ts';
export { type Labels, type Selector, selects } from './src/selector.ts';
export type { ServiceCidrs } from './src/service-addresses.ts';
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
export { nameOf, type Validation, validateAll, validateObject } from './src/validate.ts';
