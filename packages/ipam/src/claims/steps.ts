import type { Address } from '@causeway/ip';
import { ownerText, sameOwner } from './owner.ts';
import type { Claim, ClaimOwner, ClaimRefusal, ClaimStep } from './types.ts';

/*
 * Every change of a claim is one of these functions: the record as it was read (undefined where there is none) and
 * who does what, in; the record to write by compare-and-swap, out. A function whose answer is `same` has been done
 * before, so that each may be repeated; one that comes too late is refused or changes nothing.
 *
 * A move: the new node takes (`takeClaim`), makes the endpoint and announces the route, says so (`announceClaim`);
 * the node before it sends on what it gets until then, withdraws its route, and says so (`withdrawnClaim`).
 */

/** What an owner's endpoint needs, to make a claim or to move one. */
export interface ClaimWish {
  readonly address: Address;
  readonly owner: ClaimOwner;
  readonly partner: Address | null;
  readonly home: string | null;
  readonly ttlSeconds: number | null;
  readonly reservation: string | null;
}

/** An endpoint: a node and the container on it. */
export interface ClaimPlace {
  readonly node: string;
  readonly holder: string;
}

/** The owner's pod has come to the node: the claim is made if there is none, and follows the pod if there is. */
export function takeClaim(claim: Claim | undefined, wish: ClaimWish, to: ClaimPlace): ClaimStep {
  if (claim === undefined) {
    const { node, holder } = to;
    return write({ ...fresh(wish), at: node, holder, epoch: 1 });
  }
  if (!sameOwner(claim.owner, wish.owner)) return heldByAnother(claim);
  if (claim.at === to.node) {
    if (claim.holder === to.holder) return { type: 'same', claim };
    // A new epoch, so that whoever has seen the claim lie unused does not end it now.
    return write({ ...claim, holder: to.holder, epoch: claim.epoch + 1, releasedAt: null });
  }
  const standby = claim.standby?.node === to.node ? null : claim.standby;
  return write({ ...moved(claim, to), standby });
}

/** Keeps an address for an owner before he has a pod. What an owner has already is only bound to the reservation. */
export function reserveClaim(claim: Claim | undefined, wish: ClaimWish): ClaimStep {
  if (claim === undefined) return write(fresh(wish));
  if (!sameOwner(claim.owner, wish.owner)) return heldByAnother(claim);
  const { partner, ttlSeconds, reservation } = wish;
  const next = { ...claim, partner: partner ?? claim.partner, ttlSeconds, reservation };
  const same =
    claim.partner === next.partner &&
    claim.ttlSeconds === ttlSeconds &&
    claim.reservation === reservation;
  return same ? { type: 'same', claim } : write(next);
}

/** The reservation is gone: the address stays while it is used, and `ttlSeconds` after that. */
export function unreserveClaim(claim: Claim, ttlSeconds: number, wallMs: number): ClaimStep {
  if (claim.reservation === null) return { type: 'same', claim };
  const releasedAt = claim.holder === null ? (claim.releasedAt ?? wallMs) : null;
  return write({ ...claim, reservation: null, ttlSeconds, releasedAt });
}

/** The node answers for the address: routes to it lead here. `epoch` is that of the move that has been finished. */
export function announceClaim(claim: Claim, node: string, epoch: number): ClaimStep {
  if (claim.at !== node || claim.epoch !== epoch || claim.holder === null) return elsewhere(claim);
  return claim.announced ? { type: 'same', claim } : write({ ...claim, announced: true });
}

/** Whether the record waits for this node to say that nothing of an earlier endpoint is left there. */
export function isBehind(claim: Claim, node: string): boolean {
  return claim.from === node || claim.behind.includes(node);
}

/** The node before has withdrawn its route, and has no endpoint with the address. */
export function withdrawnClaim(claim: Claim, node: string): ClaimStep {
  if (!isBehind(claim, node)) return { type: 'same', claim };
  if (claim.from === node && !claim.announced && claim.holder !== null) {
    return refused(claim, 'claim-moved', `is not announced by ${claim.at} yet`, 'keep the route');
  }
  return write(withoutBehind(claim, node));
}

/** The node is gone for good: what it had is released, and nothing is waited for from it. */
export function forgetNode(claim: Claim, node: string, wallMs: number): ClaimStep {
  const { at, standby } = claim;
  if (at !== node && standby?.node !== node && !isBehind(claim, node)) {
    return { type: 'same', claim };
  }
  const rest = withoutBehind(claim, node);
  const left = { ...rest, standby: standby?.node === node ? null : standby };
  if (at !== node) return write(left);
  const releasedAt = claim.releasedAt ?? wallMs;
  return write({ ...left, at: null, holder: null, announced: false, from: null, releasedAt });
}

function withoutBehind(claim: Claim, node: string): Claim {
  const from = claim.from === node ? null : claim.from;
  return { ...claim, from, behind: claim.behind.filter((one) => one !== node) };
}

/** The container is gone. `wallMs` is for people to read. */
export function releaseClaim(
  claim: Claim,
  { node, holder }: ClaimPlace,
  wallMs: number,
): ClaimStep {
  if (claim.standby?.node === node && claim.standby.holder === holder) {
    return write({ ...claim, standby: null });
  }
  if (claim.at !== node || claim.holder !== holder) return { type: 'same', claim };
  // What nodes before still get has nowhere to go.
  return write({ ...claim, holder: null, announced: false, from: null, releasedAt: wallMs });
}

/** A second endpoint for the hand-over of a running machine: ready, and silent until the switch. */
export function standbyClaim(
  claim: Claim | undefined,
  owner: ClaimOwner,
  at: ClaimPlace,
): ClaimStep {
  if (claim === undefined) {
    return {
      type: 'refused',
      code: 'claim-unknown',
      message: `nothing is kept for ${ownerText(owner)}`,
      by: undefined,
      hint: 'start the machine with a fixed address before it is moved',
    };
  }
  if (!sameOwner(claim.owner, owner)) return heldByAnother(claim);
  if (claim.at === at.node) {
    const hint = 'make the second endpoint on another node';
    return refused(claim, 'claim-in-use', `has its endpoint on ${at.node} already`, hint);
  }
  const { standby } = claim;
  if (standby?.node === at.node && standby.holder === at.holder) return { type: 'same', claim };
  if (standby !== null && standby.node !== at.node) {
    const hint = 'end that hand-over first';
    return refused(claim, 'claim-in-use', `has a second endpoint on ${standby.node}`, hint);
  }
  return write({ ...claim, standby: { node: at.node, holder: at.holder } });
}

/** The hand-over: the silent endpoint becomes the address, and the other the silent one, so that it can go back. */
export function switchClaim(claim: Claim, node: string): ClaimStep {
  if (claim.at === node && claim.holder !== null) return { type: 'same', claim };
  if (claim.standby?.node !== node) {
    const where = claim.standby === null ? 'nowhere' : `on ${claim.standby.node}`;
    const hint = 'start the second pod there first';
    return refused(claim, 'no-standby', `has its second endpoint ${where}`, hint);
  }
  const { at, holder } = claim;
  const standby = at === null || holder === null ? null : { node: at, holder };
  return write({ ...moved(claim, claim.standby), standby });
}

/** The end of a claim that `ClaimExpiry` names. Refused if anything has happened to it since. */
export function expireClaim(claim: Claim, epoch: number, releasedAt: number | null): ClaimStep {
  if (isUnused(claim) && claim.epoch === epoch && claim.releasedAt === releasedAt)
    return { type: 'delete' };
  return refused(claim, 'claim-in-use', 'is in use again', 'leave it');
}

/**
 * Nobody has the address or waits for it, and no node may still answer for it: it can end once its time is over. A
 * reservation that names the address keeps it without a time; one that names a workload keeps what that had for its.
 */
export function isUnused({ holder, standby, reservation, ttlSeconds, behind }: Claim): boolean {
  const named = reservation !== null && ttlSeconds === null;
  return holder === null && standby === null && !named && behind.length === 0;
}

function fresh({ address, owner, partner, home, ttlSeconds, reservation }: ClaimWish): Claim {
  return {
    address,
    owner,
    partner,
    home,
    at: null,
    holder: null,
    epoch: 0,
    announced: false,
    from: null,
    behind: [],
    standby: null,
    releasedAt: null,
    ttlSeconds,
    reservation,
  };
}

function moved(claim: Claim, { node, holder }: ClaimPlace): Claim {
  // Who announces now goes on until the new one does. One that never came to announce is passed over.
  const announcer = claim.holder === null ? null : claim.announced ? claim.at : claim.from;
  const before = claim.holder === null || claim.at === null ? [] : [claim.at];
  const behind = new Set([...claim.behind, ...before]);
  behind.delete(node);
  return {
    ...claim,
    at: node,
    holder,
    epoch: claim.epoch + 1,
    announced: false,
    from: announcer === node ? null : announcer,
    behind: [...behind].sort(),
    releasedAt: null,
  };
}

const write = (claim: Claim): ClaimStep => ({ type: 'write', claim });

function heldByAnother(claim: Claim): ClaimRefusal {
  const where = claim.at === null ? '' : ` on ${claim.at}`;
  const by = `${ownerText(claim.owner)}${where}`;
  const hint = 'ask for another address, or end that claim';
  return { ...refused(claim, 'claim-held', `is kept for ${by}`, hint), by };
}

function elsewhere(claim: Claim): ClaimRefusal {
  return refused(claim, 'claim-moved', `is at ${claim.at} now`, 'read the claim again');
}

function refused(
  claim: Claim,
  code: ClaimRefusal['code'],
  what: string,
  hint: string,
): ClaimRefusal {
  const message = `${claim.address} ${what}`;
  return { type: 'refused', code, message, by: ownerText(claim.owner), hint };
}
