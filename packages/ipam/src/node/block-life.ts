import type { BlockFacts, BlockOrders, BlockPhase } from './types.ts';

/** Where a block that was first seen in `allocated` begins. */
export const FIRST_PHASE: BlockPhase = 'learning';

export interface BlockStep {
  /** `gone`: forget the block. */
  readonly phase: BlockPhase | 'gone';
  readonly orders: BlockOrders;
}

/**
 * One step in a block's life on its node; call it until the phase stays the same. The order is what keeps traffic
 * from black holes: announced before use, out of use before it is withdrawn, withdrawn before it is given back.
 * What is given back is taken out of `allocated` first and has a record until the operator has seen that.
 */
export function stepBlock(phase: BlockPhase, facts: BlockFacts): BlockStep {
  const next = nextPhase(phase, facts);
  return { phase: next, orders: ordersOf(next) };
}

function nextPhase(phase: BlockPhase, facts: BlockFacts): BlockPhase | 'gone' {
  const { allocated, recorded, takenBy, claimsKnown, announced, drain, empty } = facts;
  if (takenBy !== undefined) return allocated || announced || !empty ? 'taken' : 'gone';
  const mine = allocated && recorded;
  switch (phase) {
    case 'learning':
      if (!allocated && empty) return 'withdrawing';
      if (!mine) return empty ? 'learning' : 'lost';
      if (drain) return empty ? 'withdrawing' : 'draining';
      return claimsKnown ? 'announcing' : 'learning';
    case 'announcing':
    case 'ready':
      if (!mine) return 'lost';
      if (drain) return 'draining';
      // The speaker may lose it, as when it starts anew: those who have its addresses keep them.
      return announced ? 'ready' : 'announcing';
    case 'draining':
      if (!mine) return 'lost';
      if (!drain) return announced ? 'ready' : 'announcing';
      return empty ? 'withdrawing' : 'draining';
    case 'withdrawing':
      if (!empty) return 'draining';
      if (mine && !drain) return 'learning';
      return announced ? 'withdrawing' : 'returning';
    case 'returning':
      if (!empty) return 'lost';
      // The store may name it still: our update is under way or was lost, and is written again.
      return allocated || announced ? 'returning' : 'gone';
    case 'lost':
      if (mine && drain) return empty ? 'withdrawing' : 'draining';
      if (mine && claimsKnown) return 'announcing';
      return !allocated && empty ? 'withdrawing' : 'lost';
    case 'taken':
      return empty ? 'withdrawing' : 'lost';
    default:
      return phase satisfies never;
  }
}

const REST = { give: 'no', announce: false, keep: false, ask: false, stop: false } as const;

/** What to do while a block is in the phase. */
export function ordersOf(phase: BlockPhase | 'gone'): BlockOrders {
  switch (phase) {
    case 'learning':
    case 'withdrawing':
      return { ...REST, keep: true };
    case 'announcing':
      return { ...REST, give: 'last-resort', announce: true, keep: true };
    case 'ready':
      return { ...REST, give: 'yes', announce: true, keep: true };
    case 'draining':
      return { ...REST, announce: true, keep: true };
    case 'lost':
      return { ...REST, announce: true, keep: true, ask: true };
    case 'taken':
      return { ...REST, stop: true };
    case 'returning':
    case 'gone':
      return REST;
    default:
      return phase satisfies never;
  }
}
