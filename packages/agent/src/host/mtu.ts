import type { Family } from '@causeway/ip';

/** Bytes that VXLAN adds: outer IP (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14. */
const VXLAN_OVERHEAD: Record<Family, number> = { ipv4: 50, ipv6: 70 };

export interface MtuPlan {
  /** The network between the nodes. */
  readonly device: number;
  /** A pod's interface, and so what a pod's own packets may reach. */
  readonly pod: number;
  /** Routes to pods of other nodes. */
  readonly route: number;
  /** What the tunnel device carries, whether pods go by it or only what leaves by an egress gateway. */
  readonly tunnel: number;
}

/**
 * @param configured wins over what the devices say: the path may be narrower than the first hop.
 * @param devices MTUs of the devices that carry traffic; the least counts.
 */
export function planMtu(
  mode: 'tunnel' | 'native',
  underlay: Family,
  configured: number | undefined,
  devices: readonly number[],
): MtuPlan {
  const device = configured ?? (devices.length === 0 ? 1500 : Math.min(...devices));
  const tunnel = device - VXLAN_OVERHEAD[underlay];
  const inner = mode === 'tunnel' ? tunnel : device;
  return { device, pod: inner, route: inner, tunnel };
}
