import { Address, type Family } from '@causeway/ip';
import { chooseByTier, healthOf, sharesOf, type TierHealth, tiersOf } from './clusters.ts';
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
  /** The own cluster's name, for services that other clusters serve too. */
  readonly cluster?: string;
  readonly defaultAlgorithm: Algorithm;
  /** `hybrid`: dsr for TCP, where a connection pays for it, and snat for the rest. Default `snat`. */
  readonly forwarding?: Forwarding | 'hybrid';
  /** ClusterIPs may be used from outside as well. Default: no. */
  readonly externalClusterIPs?: boolean;
}

/** What the health check of a backend's node says against it; undefined: nothing. */
export type FailingOf = (backend: string, node: string | undefined) => string | undefined;

/** What other clusters say of one service. */
export type Remote = ReadonlyMap<string, RemoteShare>;

export interface RemoteShare {
  readonly expected: number;
  readonly endpoints: readonly Endpoint[];
}

/** The own cluster's name where none is given: clusters without a mesh have no other. */
const UNNAMED_CLUSTER = 'default';

/** Everything that clients can speak to of one service, with who answers. Pure. */
export function deriveFrontends(
  service: Service,
  endpoints: Iterable<Endpoint>,
  context: DeriveContext,
  failingOf: FailingOf = () => undefined,
  remote: Remote = new Map(),
): Frontend[] {
  if (service.type === 'ExternalName' || service.headless) return [];
  const found = backendsByPort(service, endpoints, context, failingOf, remote);
  return service.ports.flatMap((port, index) =>
    frontendsOf(service, port, found[index]!, context, remote),
  );
}

/** For each port of a service its backends, sorted by key. */
export function backendsByPort(
  service: Service,
  endpoints: Iterable<Endpoint>,
  context: DeriveContext,
  failingOf: FailingOf,
  remote: Remote,
): Backend[][] {
  const byPort = Map.groupBy(endpoints, ({ portName, protocol }) => portKey(portName, protocol));
  const own = context.cluster ?? UNNAMED_CLUSTER;
  const others = inOrder(service, own, remote);
  return service.ports.map((port) => {
    const merged = new Map<string, Backend>();
    mergeBackends(merged, own, byPort.get(portKey(port.name, port.protocol)) ?? []);
    for (const [cluster, share] of others) {
      mergeBackends(
        merged,
        cluster,
        share.endpoints.filter((each) => serves(each, port)),
      );
    }
    return [...merged.values()]
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map((each) => (each.cluster === own ? judged(each, failingOf(each.key, each.node)) : each));
  });
}

/** Who comes first is believed where two clusters name one socket. */
function inOrder(service: Service, own: string, remote: Remote): [string, RemoteShare][] {
  if (!service.mesh.global || remote.size === 0) return [];
  const order = tiersOf(service.mesh, own, remote.keys()).flat();
  return order.flatMap((cluster) => {
    const share = cluster === own ? undefined : remote.get(cluster);
    return share === undefined ? [] : [[cluster, share] as [string, RemoteShare]];
  });
}

/** As Cilium 1.19 has it: names of ports are compared only where both sides have one. */
const serves = (endpoint: Endpoint, { name, protocol }: ServicePort): boolean =>
  endpoint.protocol === protocol &&
  (endpoint.portName === name || endpoint.portName === '' || name === '');

const portKey = (name: string, protocol: string): string => `${name}/${protocol}`;

/** Weight 0 is the owner's word and stands whatever its health: checks that nobody believes must not undo it. */
function judged(backend: Backend, failing: Backend['failing']): Backend {
  if (backend.weight === 0) return { ...backend, excluded: 'weight' };
  return failing === undefined ? backend : { ...backend, failing, excluded: 'failing' };
}

function frontendsOf(
  service: Service,
  port: ServicePort,
  all: readonly Backend[],
  context: DeriveContext,
  remote: Remote,
): Frontend[] {
  const isLocal = ({ node }: Backend): boolean => node === context.node;
  const own = context.cluster ?? UNNAMED_CLUSTER;
  const { mesh } = service;
  const tiers = mesh.global ? tiersOf(mesh, own, remote.keys()) : [[own]];
  const expected = expectedBy(service, own, remote);
  const build = (
    type: FrontendType,
    family: Family,
    number: number,
    address: Address,
  ): Frontend => {
    const inside = type === 'ClusterIP';
    const trafficPolicy = inside ? service.internalTrafficPolicy : service.externalTrafficPolicy;
    const external = !inside || context.externalClusterIPs === true;
    const backends = backendsOfFrontend(all, family, type, trafficPolicy, context);
    const keepsClients = !inside && trafficPolicy === 'Local';
    // Traffic that stays on its node has no other cluster to go to.
    const spillOver = inside && trafficPolicy === 'Local' ? undefined : mesh.spillOver;
    const ranked = { tiers, spillOver, expected };
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
      // Nodes of another cluster need not know our way of telling them the address that was asked for.
      forwarding: tiers.flat().length > 1 ? 'snat' : forwardingOf(service, port, context),
      sourceRanges:
        type === 'LoadBalancer' && service.sourceRanges.length > 0
          ? service.sourceRanges
          : undefined,
      ...ranked,
      backends,
      chosen: choose(backends, ranked),
      chosenLocal: keepsClients
        ? choose(backends.filter(isLocal), { ...ranked, spillOver: undefined })
        : undefined,
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

function expectedBy(service: Service, own: string, remote: Remote): ReadonlyMap<string, number> {
  const said = [
    [own, service.mesh.expected] as const,
    ...[...remote].map(([cluster, { expected }]) => [cluster, expected] as const),
  ];
  return new Map(said.filter(([, expected]) => expected > 0));
}

/** Of a port's backends those of a frontend's family, without those that its policy keeps it from. */
export function backendsOfFrontend(
  all: readonly Backend[],
  family: Family,
  type: FrontendType,
  trafficPolicy: Frontend['trafficPolicy'],
  context: DeriveContext,
): Backend[] {
  const keepsHere = type === 'ClusterIP' && trafficPolicy === 'Local';
  return all
    .filter((each) => Address.family(each.address) === family)
    .map(
      (each): Backend =>
        keepsHere && each.node !== context.node ? { ...each, excluded: 'other-node' } : each,
    );
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
 * of these, the checks are not believed: a wrong check must not take a service down. Of each kind those of the first
 * clusters that have any, or of more than one where a service spills over.
 */
function choose(
  backends: readonly Backend[],
  { tiers, spillOver, expected }: Pick<Frontend, 'tiers' | 'spillOver' | 'expected'>,
): Backend[] {
  const allowed = (state: BackendState, failing: boolean) =>
    backends.filter(
      (each) => each.state === state && each.excluded === (failing ? 'failing' : undefined),
    );
  for (const failing of [false, true]) {
    for (const state of ['active', 'terminating'] as const) {
      const found = allowed(state, failing);
      if (found.length === 0) continue;
      if (tiers.length === 1) return found;
      const healthy = !failing && state === 'active';
      // Of what is on its way out, or not believed to fail, nobody knows how much there should be.
      const health = healthy ? healthOf(backends, tiers, expected) : presence(found, tiers);
      return chooseByTier(found, tiers, sharesOf(health, healthy ? spillOver : undefined));
    }
  }
  return [];
}

const presence = (found: readonly Backend[], tiers: Frontend['tiers']): TierHealth[] =>
  tiers.map((clusters) => {
    const healthy = found.filter(({ cluster }) => clusters.includes(cluster)).length;
    return { healthy, expected: healthy };
  });

// The better state wins where two slices name one backend, as while an endpoint moves between them.
const RANK: readonly BackendState[] = ['not-ready', 'leaving', 'terminating', 'active'];

/** Adds one cluster's endpoints: one backend for each socket, and the first cluster that names it has it. */
function mergeBackends(
  into: Map<string, Backend>,
  cluster: string,
  endpoints: readonly Endpoint[],
): void {
  for (const endpoint of endpoints) {
    const { address, port, protocol, node, zone, target, weight, failing } = endpoint;
    const key = socketKey(address, port, protocol);
    const state = stateOf(endpoint);
    const known = into.get(key);
    if (known !== undefined && known.cluster !== cluster) {
      const alsoIn = new Set([...(known.alsoIn ?? []), cluster]);
      into.set(key, { ...known, alsoIn: [...alsoIn] });
      continue;
    }
    if (known !== undefined && RANK.indexOf(known.state) >= RANK.indexOf(state)) continue;
    const base = { key, address, port, protocol, state, cluster, node, zone, target, weight };
    into.set(key, judged(base, failing));
  }
}

/** Readiness first: with publishNotReadyAddresses a terminating pod still counts as ready. */
export function stateOf({ ready, serving, terminating }: Endpoint): BackendState {
  if (ready) return 'active';
  if (terminating) return serving ? 'terminating' : 'leaving';
  return 'not-ready';
}
