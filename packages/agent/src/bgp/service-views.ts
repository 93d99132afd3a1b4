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
): ServiceView {
  const addresses = new Map<string, ServiceAddress>();
  for (const frontend of frontends) {
    const type = TYPES[frontend.type];
    const { address, trafficPolicy: policy } = frontend;
    if (type === undefined || address === undefined) continue;
    // What a load balancer gave before the type was changed is in the status still.
    if (type === 'LoadBalancerIP' && spec.type !== 'LoadBalancer') continue;
    const key = `${type} ${address}`;
    const localReady =
      frontend.backends.some((each) => each.state === 'active' && each.node === node) ||
      addresses.get(key)?.localReady === true;
    addresses.set(key, { type, address, policy, localReady });
  }
  return {
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    labels: metadata.labels ?? {},
    terminating: metadata.deletionTimestamp !== undefined,
    loadBalancerClass: spec.type === 'LoadBalancer' ? spec.loadBalancerClass : undefined,
    addresses: [...addresses.values()],
  };
}
