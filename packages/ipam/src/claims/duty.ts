import { isBehind } from './steps.ts';
import type { Claim, ClaimDuty } from './types.ts';

/**
 * What this node has to do for a claim. `covers`: the address lies in a pod CIDR that the node announces, so that
 * it needs no host route of its own.
 */
export function dutyOf(claim: Claim, node: string, covers: boolean): ClaimDuty {
  const { address, at, holder, from, announced, standby } = claim;
  const elsewhere = at !== null && at !== node && holder !== null;
  const here = at === node && holder !== null;
  const before = elsewhere && from === node && !announced;
  const silent = !here && standby?.node === node;
  return {
    address,
    keep: true,
    endpoint: here ? 'active' : silent ? 'standby' : 'none',
    holder: here ? holder : silent ? standby.holder : undefined,
    announce: !covers && (here || before),
    publish: here,
    forwardTo: elsewhere && (covers || isBehind(claim, node)) ? at : undefined,
  };
}
