import { Address } from '@causeway/ip';
import {
  type Algorithm,
  type Backend,
  type BackendState,
  type Endpoint,
  type Frontend,
  type FrontendType,
  type Service,
  type ServicePort,
  socketKey,
} from './model.ts';

/** What of the node and its configuration a service's frontends hang on. */
export interface DeriveContext {
  /** This node's name: internalTrafficPolicy Local keeps to backends on it. */
  readonly node: string;
  readonly defaultAlgorithm: Algorithm;
}

/** Everything that clients can speak to of one service, with who answers. Pure. */
export function deriveFrontends(
  service: Service,
  endpoints: Iterable<Endpoint>,
  context: DeriveContext,
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
    return frontendsOf(service, port, served, context);
  });
}

const portKey = (name: string, protocol: string): string => `${name}/${protocol}`;

function frontendsOf(
  service: Service,
  port: ServicePort,
  endpoints: readonly Endpoint[],
  context: DeriveContext,
): Frontend[] {
  const merged = mergeBackends(endpoints);
  const build = (
    type: FrontendType,
    family: 'ipv4' | 'ipv6',
    number: number,
    address?: Address,
  ): Frontend => {
    const trafficPolicy =
      type === 'ClusterIP' ? service.internalTrafficPolicy : service.externalTrafficPolicy;
    const backends = merged
      .filter((each) => Address.family(each.address) === family)
      .map(
        (each): Backend =>
          trafficPolicy === 'Local' && each.node !== context.node
            ? { ...each, excluded: 'other-node' }
            : each,
      );
    return {
      key: address
        ? socketKey(address, number, port.protocol)
        : `*${family === 'ipv4' ? 4 : 6}:${number}/${port.protocol}`,
      service: { namespace: service.namespace, name: service.name },
      type,
      portName: port.name,
      address,
      family,
      port: number,
      protocol: port.protocol,
      algorithm: service.algorithm ?? context.defaultAlgorithm,
      affinitySeconds: service.affinitySeconds,
      trafficPolicy,
      backends,
      chosen: choose(backends),
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
    for (const family of families) frontends.push(build('NodePort', family, port.nodePort));
  }
  return frontends;
}

/** Active ones; where there is none, those that still serve while they drain. */
function choose(backends: readonly Backend[]): Backend[] {
  const allowed = backends.filter((each) => each.excluded === undefined);
  const active = allowed.filter((each) => each.state === 'active');
  return active.length > 0 ? active : allowed.filter((each) => each.state === 'terminating');
}

// The better state wins where two slices name one backend, as while an endpoint moves between them.
const RANK: readonly BackendState[] = ['not-ready', 'leaving', 'terminating', 'active'];

/** One backend for each socket, sorted by key, so that every node counts them alike. */
function mergeBackends(endpoints: readonly Endpoint[]): Backend[] {
  const byKey = new Map<string, Backend>();
  for (const endpoint of endpoints) {
    const { address, port, protocol, node, zone, target } = endpoint;
    const key = socketKey(address, port, protocol);
    const state = stateOf(endpoint);
    const known = byKey.get(key);
    if (known !== undefined && RANK.indexOf(known.state) >= RANK.indexOf(state)) continue;
    byKey.set(key, { key, address, port, protocol, state, node, zone, target });
  }
  return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Readiness first: with publishNotReadyAddresses a terminating pod still counts as ready. */
export function stateOf({ ready, serving, terminating }: Endpoint): BackendState {
  if (ready) return 'active';
  if (terminating) return serving ? 'terminating' : 'leaving';
  return 'not-ready';
}
