import type { Frontend } from '@causeway/loadbalancing';
import type { Service } from '@causeway/resources';
import type { ServiceAddress, ServiceAddressType, ServiceView } from './inputs.ts';

const TYPES: Partial<Record<Frontend['type'], ServiceAddressType>> = {
  ClusterIP: 'ClusterIP',
  ExternalIP: 'ExternalIP',
  LoadBalancer: 'LoadBalancerIP',
};

/** A Service with what the load balancer made of it: its addresses, and whether this node serves them. */
export function serviceView(
  { metadata, spec }: Service,
  frontends: readonly Frontend[],
  node: string,
  outside: Pick<ServiceView, 'edge' | 'unreachable'>,
): ServiceView {
  const addresses = new Map<string, ServiceAddress>();
  for (const frontend of frontends) {
    const type = TYPES[frontend.type];
    const { address, trafficPolicy: policy } = frontend;
    if (type === undefined || address === undefined) continue;
    // What a load balancer gave before the type was changed is in the status still.
    if (type === 'LoadBalancerIP' && spec.type !== 'LoadBalancer') continue;
    const key = `${type} ${address}`;
    const known = addresses.get(key);
    const ready = frontend.backends.filter(
      ({ state, excluded }) =>
        state === 'active' && excluded !== 'weight' && excluded !== 'failing',
    );
    const localReady = known?.localReady === true || ready.some((each) => each.node === node);
    const readyElsewhere =
      known?.readyElsewhere === true || ready.some((each) => each.node !== node);
    addresses.set(key, { type, address, policy, localReady, readyElsewhere });
  }
  return {
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    labels: metadata.labels ?? {},
    terminating: metadata.deletionTimestamp !== undefined,
    loadBalancerClass: spec.type === 'LoadBalancer' ? spec.loadBalancerClass : undefined,
    addresses: [...addresses.values()],
    ...outside,
  };
}
