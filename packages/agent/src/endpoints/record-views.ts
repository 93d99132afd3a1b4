import { formatAlias } from './alias.ts';
import type { PodInterface } from './kernel.ts';
import type { PodReference } from './ports.ts';
import type { EndpointRecord } from './record.ts';

/** The interface that a record speaks of. */
export function podInterface(record: EndpointRecord): PodInterface {
  const { hostIfname, ifname, mac, hostMac, mtu, addresses, gateways } = record;
  return { hostIfname, ifname, mac, hostMac, mtu, addresses, gateways, alias: formatAlias(record) };
}

/** The pod that a record speaks of. */
export function podReference(record: EndpointRecord): PodReference {
  const { id, podNamespace, podName, podUid, callerLabels } = record;
  return { endpointId: id, podNamespace, podName, podUid, callerLabels };
}
