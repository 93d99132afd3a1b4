import type { Family } from '@causeway/ip';
import type { RoutingMode } from '@causeway/mesh';

/** Bytes that VXLAN adds: outer IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14. */
const VXLAN_OVERHEAD: Record<Family, number> = { ipv4: 50, ipv6: 70 };

export interface MtuPlan {
  /** The network between the nodes. */
  readonly device: number;
  /**
   * A pod's interface, and so what a pod's own packets may reach. With hybrid routing the tunnel's is not taken from
   * all: who sends more than fits into a tunnel hears of it from the datapath, for that destination.
   */
  readonly pod: number;
  /** What the tunnel device carries, and routes to pods behind it. */
  readonly tunnel: number;
}

/**
 * @param configured wins over what the devices say: the path may be narrower than the first hop.
 * @param devices MTUs of the devices that carry traffic; the least counts.
 */
export function planMtu(
  mode: RoutingMode,
  underlay: Family,
  configured: number | undefined,
  devices: readonly number[],
): MtuPlan {
  const device = configured ?? (devices.length === 0 ? 1500 : Math.min(...devices));
  const tunnel = device - VXLAN_OVERHEAD[underlay];
  return { device, pod: mode === 'tunnel' ? tunnel : device, tunnel };
}
