import type { SharedBackend, SharedService } from '@causeway/loadbalancing';
import type {
  BackendZone,
  PortsByAddress,
  ServiceValue,
  ShardBackend,
  ShardBackendState,
} from '@causeway/mesh';
import type { Service } from '@causeway/resources';
import type { ShardHead } from './shards.ts';

export interface Cluster {
  readonly name: string;
  readonly id: number;
}

/** All of a service in Cilium's form: backends that are ready and that no health check speaks against. */
export function wholeValue(
  cluster: Cluster,
  { service, ports, backends }: SharedService,
  object: Service,
): ServiceValue {
  const good = backends.filter(({ state, weight }) => state === 'active' && weight > 0);
  const zones = good.flatMap(({ address, zone }): [string, BackendZone][] =>
    zone === undefined ? [] : [[address, { zone, forZones: [] }]],
  );
  // Headless services have no address that clients would find.
  const frontends: PortsByAddress = Object.fromEntries(
    service.clusterIPs.map((address) => [address, ports]),
  );
  return {
    cluster: cluster.name,
    clusterId: cluster.id,
    namespace: service.namespace,
    name: service.name,
    frontends,
    backends: Object.fromEntries(good.map((each) => [each.address, each.ports])),
    hostnames: {},
    zones: Object.fromEntries(zones),
    labels: object.metadata.labels ?? {},
    selector: object.spec.selector ?? {},
    includeExternal: true,
    shared: true,
  };
}

export const shardHead = (cluster: Cluster, { service }: SharedService): ShardHead => ({
  cluster: cluster.name,
  clusterId: cluster.id,
  namespace: service.namespace,
  name: service.name,
  expected: service.mesh.expected,
});

const STATES = {
  active: 'active',
  failing: 'failing',
  terminating: 'terminating',
  leaving: 'draining',
  'not-ready': 'not-ready',
} as const satisfies Record<SharedBackend['state'], ShardBackendState>;

/** Names within the service's namespace are told without it. */
export function shardBackend(namespace: string, backend: SharedBackend): ShardBackend {
  const { address, ports, state, weight, zone = '', target = '' } = backend;
  const own = `${namespace}/`;
  const pod = target.startsWith(own) ? target.slice(own.length) : '';
  return { address, ports, state: STATES[state], weight, zone, target: pod };
}
