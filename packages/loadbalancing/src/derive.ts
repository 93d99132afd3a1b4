import { Address, type Family } from '@causeway/ip';
import {
  type Algorithm,
  type Backend,
  type BackendState,
  type Endpoint,
  type Forwarding,
  type Frontend,
  type FrontendType,
  frontendKey,
  NODE_PORT_ADDRESS,
  type Service,
  type ServicePort,
  socketKey,
} from './model.ts';

/** What of the node and its configuration a service's frontends hang on. */
export interface DeriveContext {
  /** This node's name: traffic policy Local keeps to backends on it. */
  readonly node: string;
  readonly defaultAlgorithm: Algorithm;
  /** `hybrid`: dsr for TCP, where a connection pays for it, and snat for the rest. Default `snat`. */
  readonly forwarding?: Forwarding | 'hybrid';
  /** ClusterIPs may be used from outside as well. Default: no. */
  readonly externalClusterIPs?: boolean;
}

/** What the health check of a backend's node says against it; undefined: nothing. */
export type FailingOf = (backend: string, node: string | undefined) => string | undefined;

/** Everything that clients can speak to of one service, with who answers. Pure. */
export function deriveFrontends(
  service: Service,
  endpoints: Iterable<Endpoint>,
  context: DeriveContext,
  failingOf: FailingOf = () => undefined,
): Frontend[] {
  if (service.type === 'ExternalName' || service.headless) return [];
  const byPort = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    const key = portKey(endpoint.portName, endpoint.protocol);
    const list = byPort.get(key);
    if (list === undefined) byPort.set(key, [endpoint]);
    else list.push(endpoint);
  }
  return service.ports.flatMap((port) => {
    const served = byPort.get(portKey(port.name, port.protocol)) ?? [];
    const backends = mergeBackends(served).map((each) => judged(each, failingOf));
    return frontendsOf(service, port, backends, context);
  });
}

const portKey = (name: string, protocol: string): string => `${name}/${protocol}`;

function judged(backend: Backend, failingOf: FailingOf): Backend {
  const failing = failingOf(backend.key, backend.node);
  if (backend.weight === 0) return { ...backend, excluded: 'weight' };
  return failing === undefined ? backend : { ...backend, failing, excluded: 'failing' };
}

function frontendsOf(
  service: Service,
  port: ServicePort,
  all: readonly Backend[],
  context: DeriveContext,
): Frontend[] {
  const isLocal = ({ node }: Backend): boolean => node === context.node;
  const build = (
    type: FrontendType,
    family: Family,
    number: number,
    address: Address,
  ): Frontend => {
    const inside = type === 'ClusterIP';
    const trafficPolicy = inside ? service.internalTrafficPolicy : service.externalTrafficPolicy;
    const external = !inside || context.externalClusterIPs === true;
    const backends = all
      .filter((each) => Address.family(each.address) === family)
      .map(
        (each): Backend =>
          inside && trafficPolicy === 'Local' && !isLocal(each)
            ? { ...each, excluded: 'other-node' }
            : each,
      );
    const keepsClients = !inside && trafficPolicy === 'Local';
    return {
      key: frontendKey(address, number, port.protocol),
      service: { namespace: service.namespace, name: service.name },
      type,
      portName: port.name,
      address: type === 'NodePort' ? undefined : address,
      family,
      port: number,
      protocol: port.protocol,
      // Any node may have to go on with a flow from outside: all must choose alike.
      algorithm: external ? 'maglev' : (service.algorithm ?? context.defaultAlgorithm),
      affinitySeconds: service.affinitySeconds,
      trafficPolicy,
      external,
      forwarding: forwardingOf(service, port, context),
      sourceRanges:
        type === 'LoadBalancer' && service.sourceRanges.length > 0
          ? service.sourceRanges
          : undefined,
      backends,
      chosen: choose(backends),
      chosenLocal: keepsClients ? choose(backends.filter(isLocal)) : undefined,
    };
  };
  const at = (type: FrontendType) => (address: Address) =>
    build(type, Address.family(address), port.port, address);
  const frontends = [
    ...service.clusterIPs.map(at('ClusterIP')),
    ...service.externalIPs.map(at('ExternalIP')),
    ...service.loadBalancerIPs.map(at('LoadBalancer')),
  ];
  if (port.nodePort !== undefined && service.type !== 'ClusterIP') {
    const families = new Set(service.clusterIPs.map((each) => Address.family(each)));
    for (const family of families) {
      frontends.push(build('NodePort', family, port.nodePort, NODE_PORT_ADDRESS[family]));
    }
  }
  return frontends;
}

function forwardingOf(
  service: Service,
  { protocol }: ServicePort,
  { forwarding = 'snat' }: DeriveContext,
): Forwarding {
  if (service.forwarding !== undefined) return service.forwarding;
  if (forwarding !== 'hybrid') return forwarding;
  return protocol === 'TCP' ? 'dsr' : 'snat';
}

/**
 * Active ones; where there is none, those that still serve while they drain. If the health checks speak against all
 * of these, the checks are not believed: a wrong check must not take a service down.
 */
function choose(backends: readonly Backend[]): Backend[] {
  const allowed = (state: BackendState, failing: boolean) =>
    backends.filter(
      (each) => each.state === state && each.excluded === (failing ? 'failing' : undefined),
    );
  for (const failing of [false, true]) {
    for (const state of ['active', 'terminating'] as const) {
      const found = allowed(state, failing);
      if (found.length > 0) return found;
    }
  }
  return [];
}

// The better state wins where two slices name one backend, as while an endpoint moves between them.
const RANK: readonly BackendState[] = ['not-ready', 'leaving', 'terminating', 'active'];

/** One backend for each socket, sorted by key, so that every node counts them alike. */
function mergeBackends(endpoints: readonly Endpoint[]): Backend[] {
  const byKey = new Map<string, Backend>();
  for (const endpoint of endpoints) {
    const { address, port, protocol, node, zone, target, weight } = endpoint;
    const key = socketKey(address, port, protocol);
    const state = stateOf(endpoint);
    const known = byKey.get(key);
    if (known !== undefined && RANK.indexOf(known.state) >= RANK.indexOf(state)) continue;
    byKey.set(key, { key, address, port, protocol, state, node, zone, target, weight });
  }
  return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Readiness first: with publishNotReadyAddresses a terminating pod still counts as ready. */
export function stateOf({ ready, serving, terminating }: Endpoint): BackendState {
  if (ready) return 'active';
  if (terminating) return serving ? 'terminating' : 'leaving';
  return 'not-ready';
}
