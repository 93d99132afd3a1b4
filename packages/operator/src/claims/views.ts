import { type Kv, unchanged } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import {
  type Claim,
  claimKey,
  decodeClaim,
  encodeClaim,
  ownerText,
  sameOwner,
  switchClaim,
} from '@causeway/ipam';
import { OperatorError } from '../errors.ts';
import type { World } from '../views/world.ts';
import { stateOf } from './show.ts';

/** An address that stays, for people. */
export interface ClaimView {
  readonly address: string;
  readonly owner: string;
  readonly state: string;
  readonly node: string;
  readonly home: string;
  readonly partner: string;
  readonly epoch: number;
  readonly standby: string;
  readonly reservation: string;
  readonly ttlSeconds: number | null;
}

export const claimViews = ({ claims }: Pick<World, 'claims'>): ClaimView[] => claims.map(claimView);

export function claimView(claim: Claim): ClaimView {
  return {
    address: claim.address,
    owner: ownerText(claim.owner),
    state: stateOf(claim),
    node: claim.at ?? '',
    home: claim.home ?? '',
    partner: claim.partner ?? '',
    epoch: claim.epoch,
    standby: claim.standby?.node ?? '',
    reservation: claim.reservation ?? '',
    ttlSeconds: claim.ttlSeconds,
  };
}

const ATTEMPTS = 16;

/**
 * The hand-over of an address to its second endpoint, by one update of the record; its partner of the other family
 * goes in the same transaction. Throws OperatorError `unknown-address`, `claim-refused`, `lost-race`; KvError.
 */
export async function switchAddress(kv: Kv, address: Address, node: string): Promise<ClaimView[]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const first = await kv.get(claimKey(address));
    if (first === undefined) {
      throw new OperatorError('unknown-address', `nobody keeps ${address}`, {
        field: 'address',
        value: address,
        hint: 'causeway ipam claims lists the addresses that stay with an owner',
      });
    }
    const { partner, owner } = decodeClaim(first.text);
    const other = partner === null ? undefined : await kv.get(claimKey(partner));
    // What was the owner's may be another's by now: his goes where it is.
    const second =
      other !== undefined && sameOwner(decodeClaim(other.text).owner, owner) ? other : undefined;
    const steps = [first, ...(second === undefined ? [] : [second])].map((entry) => {
      const claim = decodeClaim(entry.text);
      const step = switchClaim(claim, node);
      if (step.type === 'refused') {
        throw new OperatorError('claim-refused', step.message, {
          field: 'node',
          value: node,
          hint: step.hint,
        });
      }
      return {
        entry,
        claim: step.type === 'delete' ? claim : step.claim,
        same: step.type === 'same',
      };
    });
    const changed = steps.filter(({ same }) => !same);
    const { succeeded } = await kv.txn({
      compare: steps.map(({ entry }) => unchanged(entry)),
      success: changed.map(({ entry, claim }) => ({
        type: 'put',
        key: entry.key,
        value: encodeClaim(claim),
      })),
    });
    if (succeeded) return steps.map(({ claim }) => claimView(claim));
  }
  throw new OperatorError('lost-race', `the claim of ${address} changes all the time`, {
    field: 'address',
    value: address,
    hint: 'try again',
  });
}
