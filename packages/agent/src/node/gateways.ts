import { type Address, Prefix } from '@causeway/ip';
import type { HostPlan } from '../host/planner.ts';

/** The gateway of the first pod CIDR of each family: what pods see, and what the node is reached by through tunnels. */
export function gatewaysOf(plan: HostPlan): { ipv4?: Address; ipv6?: Address } {
  const of = (family: 'ipv4' | 'ipv6') =>
    plan.gateways.find(({ prefix }) => Prefix.family(prefix) === family)?.gateway;
  const ipv4 = of('ipv4');
  const ipv6 = of('ipv6');
  return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
}
