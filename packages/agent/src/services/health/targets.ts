import type { Backend, Frontend, Service } from '@causeway/loadbalancing';
import { serviceName } from '@causeway/loadbalancing';
import { hash32 } from '@causeway/wire';
import type { CheckTarget } from './checker.ts';

/** Backends of a VIP on other nodes that an announcing node tries: enough to tell one dead pod from a dead path. */
const SAMPLE = 4;

/** Services as the balancer has them. */
export interface CheckedServices {
  services(): Iterable<Service>;
  frontendsOf(service: Service): readonly Frontend[];
}

/** What this node has to try for all others: the backends on it, of services that want it. */
export function ownTargets(of: CheckedServices, node: string): CheckTarget[] {
  return checked(of).flatMap(({ service, backends }) =>
    backends
      .filter((each) => each.node === node)
      .flatMap((backend) => targetOf(service, backend) ?? []),
  );
}

/**
 * What an announcing node tries for itself: some of the backends elsewhere that their own nodes find healthy, of
 * services with an address for clients outside. Which ones is each node's own choice, for the sake of spread.
 */
export function reachTargets(of: CheckedServices, node: string): CheckTarget[] {
  return checked(of).flatMap(({ service, backends, frontends }) => {
    if (!frontends.some(({ type }) => type === 'LoadBalancer' || type === 'ExternalIP')) return [];
    return backends
      .filter((each) => each.node !== undefined && each.node !== node)
      .filter(({ state, failing }) => state === 'active' && failing === undefined)
      .map((backend) => ({ backend, order: hash32(`${node} ${backend.key}`) }))
      .sort((a, b) => a.order - b.order)
      .flatMap(({ backend }) => targetOf(service, backend) ?? [])
      .slice(0, SAMPLE);
  });
}

function checked(of: CheckedServices) {
  return [...of.services()].flatMap((service) => {
    if (service.healthCheck === undefined) return [];
    const frontends = of.frontendsOf(service);
    const backends = new Map<string, Backend>();
    for (const frontend of frontends) {
      for (const backend of frontend.backends) backends.set(backend.key, backend);
    }
    return [{ service, frontends, backends: [...backends.values()] }];
  });
}

/** A UDP port answers no probe by itself; with a port of its own the check can be had all the same. */
function targetOf(service: Service, backend: Backend): CheckTarget | undefined {
  const check = service.healthCheck!;
  if (backend.state === 'not-ready' || backend.state === 'leaving') return undefined;
  if (backend.protocol !== 'TCP' && check.port === undefined) return undefined;
  return {
    service: serviceName(service),
    backend: backend.key,
    address: backend.address,
    port: check.port ?? backend.port,
    check,
  };
}
