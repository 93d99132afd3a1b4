import { type Address, Prefix } from '@causeway/ip';
import { layout } from '@causeway/ipam';

/** The gateway of the first pod CIDR of each family: what pods see, and what the node is reached by through tunnels. */
export function gatewaysOf(cidrs: Iterable<Prefix>): { ipv4?: Address; ipv6?: Address } {
  const gateways: { ipv4?: Address; ipv6?: Address } = {};
  for (const cidr of cidrs) gateways[Prefix.family(cidr)] ??= layout(cidr).gateway;
  return gateways;
}
