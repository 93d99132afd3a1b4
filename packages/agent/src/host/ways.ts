import { Address, type Family, type Prefix } from '@causeway/ip';
import type { RoutingMode } from '@causeway/mesh';
import { ROUTING_ZONE } from '@causeway/resources';
import { type DeviceView, deviceReaching } from './devices.ts';

/** How packets go from this node to the pods of another, and why so. */
export interface Way {
  readonly type: 'direct' | 'tunnel';
  readonly because: string;
}

/** What the choice needs to know of this node. */
export interface WayInputs {
  readonly mode: RoutingMode;
  readonly families: readonly Family[];
  readonly labels: Readonly<Record<string, string>>;
  /** Those that carry traffic between nodes. */
  readonly devices: readonly DeviceView[];
}

/** What it needs to know of the other, of whichever cluster it is. */
export interface WayNode {
  readonly labels: Readonly<Record<string, string>>;
  /** Its own mode, where it says so. */
  readonly routingMode?: RoutingMode | undefined;
  /** By which it is reached. */
  readonly addresses: readonly Address[];
  readonly podCIDRs: readonly Prefix[];
}

/**
 * One choice for each pair of nodes, made alike by both: nodes that name a routing zone are direct within it and
 * by tunnel between zones; nodes that name none are direct where they share a layer 2 in every family; one that
 * names a zone and one that does not use the tunnel, which always leads there. One that knows a single way, whatever
 * its zone, is answered by it. Nodes of other programs do not say: of those that share our layer 2 and speak by tunnel
 * alone the Nodes are to be given a zone of their own.
 */
export function wayTo(inputs: WayInputs, node: WayNode): Way {
  if (inputs.mode === 'tunnel') return { type: 'tunnel', because: 'routingMode tunnel' };
  if (inputs.mode === 'native') return { type: 'direct', because: 'routingMode native' };
  if (node.routingMode === 'tunnel' || node.routingMode === 'native') {
    const type = node.routingMode === 'tunnel' ? 'tunnel' : 'direct';
    return { type, because: `routingMode ${node.routingMode} there` };
  }
  const own = inputs.labels[ROUTING_ZONE];
  const other = node.labels[ROUTING_ZONE];
  if (own !== undefined || other !== undefined) {
    if (own === other) return { type: 'direct', because: `both are in routing zone ${own}` };
    const zones = `${own ?? 'none'} here, ${other ?? 'none'} there`;
    return { type: 'tunnel', because: `other routing zones: ${zones}` };
  }
  const apart = inputs.families.find(
    (family) =>
      !node.addresses.some(
        (address) =>
          Address.family(address) === family &&
          deviceReaching(inputs.devices, address) !== undefined,
      ),
  );
  if (apart === undefined) return { type: 'direct', because: 'on the same layer 2' };
  return { type: 'tunnel', because: `no routing zone, and not on the same layer 2 in ${apart}` };
}
