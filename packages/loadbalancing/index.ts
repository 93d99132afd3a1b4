export {
  AFFINITY_ANNOTATION,
  ALGORITHM_ANNOTATION,
  DEFAULT_WEIGHT,
  EXPECTED_ANNOTATION,
  FORWARDING_ANNOTATION,
  GLOBAL_ANNOTATION,
  HEALTH_CHECK_ANNOTATION,
  PREFERENCE_ANNOTATION,
  SHARED_ANNOTATION,
  SPILL_OVER_ANNOTATION,
  WEIGHT_ANNOTATION,
} from './src/annotations.ts';
export { Balancer, type BalancerSettings } from './src/balancer.ts';
export type { Failing } from './src/catalogue.ts';
export { tierOf } from './src/clusters.ts';
export { type DeriveContext, deriveFrontends, stateOf } from './src/derive.ts';
export {
  LoadBalancingError,
  type LoadBalancingErrorCode,
  type Parsed,
  type Problem,
} from './src/errors.ts';
export {
  MAGLEV_SIZES,
  type MaglevBackend,
  maglevSize,
  maglevTable,
  weightedTable,
} from './src/maglev.ts';
export {
  type Algorithm,
  type Backend,
  type BackendState,
  type Endpoint,
  type Forwarding,
  type Frontend,
  type FrontendType,
  frontendKey,
  type HealthCheck,
  type MeshRules,
  NODE_PORT_ADDRESS,
  PROTOCOLS,
  type Protocol,
  type RemotePart,
  type Service,
  type ServicePort,
  type ServiceRef,
  serviceName,
  socketKey,
} from './src/model.ts';
export {
  type MapOperation,
  type ServiceKey,
  type ServiceRow,
  SLOTS_PER_CHUNK,
  type SlotTable,
} from './src/operations.ts';
export {
  type EndpointSlice,
  endpointsOfPods,
  parseEndpointSlice,
  parsePod,
  type ServingPod,
} from './src/parse-endpoints.ts';
export { parseService } from './src/parse-service.ts';
export type { Assignment } from './src/program.ts';
export type { PartKey } from './src/remote-parts.ts';
export {
  type NamedPort,
  type NamedPorts,
  type SharedBackend,
  type SharedService,
  SharedServices,
} from './src/shared.ts';
export type { Candidate, Choice, ChoiceQuery, TierView } from './src/why.ts';
