import type { VipPoolStatus, VipRefusal } from '@causeway/ipam';

/** Types and reasons are Cilium's, so that what watches them there does so here. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

const REASONS: Readonly<Record<VipRefusal['code'], string>> = {
  'no-pool': 'no_pool',
  'pools-full': 'out_of_ips',
  'outside-pools': 'no_pool',
  'pool-not-selecting': 'pool_selector_mismatch',
  reserved: 'already_allocated',
  taken: 'already_allocated',
  'not-shareable': 'already_allocated_incompatible_service',
};

/** Of a Service: whether it has every address that it asks for. */
export const VIP_SATISFIED = 'cilium.io/IPAMRequestSatisfied';

export function vipServiceCondition(refusals: readonly VipRefusal[]): Condition {
  const [first] = refusals;
  return {
    type: VIP_SATISFIED,
    status: first === undefined ? 'True' : 'False',
    reason: first === undefined ? 'satisfied' : REASONS[first.code],
    message: refusals.map(({ message }) => message).join('\n'),
  };
}

export function vipPoolConditions({
  total,
  used,
  available,
  conflict,
}: VipPoolStatus): Condition[] {
  const count = (type: string, value: bigint): Condition => ({
    type,
    status: 'Unknown',
    reason: 'noreason',
    message: String(value),
  });
  return [
    {
      type: 'cilium.io/PoolConflict',
      status: conflict === undefined ? 'False' : 'True',
      reason: conflict === undefined ? 'resolved' : 'cidr_overlap',
      message: conflict === undefined ? '' : `pool conflicts since it overlaps pool ${conflict}`,
    },
    count('cilium.io/IPsTotal', total),
    count('cilium.io/IPsAvailable', available),
    count('cilium.io/IPsUsed', used),
  ];
}
