import type { Prefix } from '@causeway/ip';
import type { BlockUse, DemandState, DemandStep, Marks, PoolDemandInput } from './types.ts';

export const DEFAULT_MARKS: Marks = { high: 0.8, low: 0.3, lowForMs: 600_000, preAllocate: 16 };

export const FRESH_DEMAND: DemandState = { lowSince: undefined, givingBack: [] };

/**
 * What a node asks of a pool, and what it gives back. Growth is at once; giving back waits until use has been under
 * the low mark without a break, takes one block at a time, the emptiest, and only one that will not be asked for
 * again: with the rest, use is midway between the marks at most and a whole `preAllocate` below asking. So steady
 * use never makes it ask and give in turn. Blocks that are being given back are taken up again before new ones are
 * asked for. `now` is milliseconds of a steady clock; one that runs backwards starts the wait anew.
 */
export function stepDemand(
  state: DemandState,
  input: PoolDemandInput,
  marks: Marks,
  now: number,
): DemandStep {
  const { blocks, waiting, recent } = input;
  const inUse = blocks.reduce((sum, block) => sum + block.used + block.resting, 0) + waiting;
  const wanted = wantedFor(inUse, recent, marks);
  const open = blocks.filter((block) => !block.closed);
  let givingBack = open.filter((block) => state.givingBack.includes(block.cidr));
  const kept = open.filter((block) => !givingBack.includes(block));
  let why = 'use is between the marks';

  // Use climbs again: the fullest of what was on its way back stays after all.
  for (const block of [...givingBack].sort((a, b) => b.used - a.used)) {
    if (capacityOf(kept) >= wanted) break;
    kept.push(block);
    givingBack = givingBack.filter((one) => one !== block);
    why = `${block.cidr} is kept, for use climbs again`;
  }

  const capacity = capacityOf(kept);
  const low = inUse < marks.low * capacity;
  let lowSince = low ? Math.min(state.lowSince ?? now, now) : undefined;
  if (capacity < wanted) why = `${inUse} of ${capacity} addresses are in use: more are asked for`;
  if (lowSince !== undefined && now - lowSince >= marks.lowForMs) {
    const spare = emptiest(kept.filter((block) => canSpare(capacity, block, inUse, recent, marks)));
    if (spare !== undefined) {
      givingBack.push(spare);
      lowSince = now;
      why = `${inUse} of ${capacity} addresses are in use: ${spare.cidr} is given back`;
    }
  }

  const back = new Set(givingBack.map((block) => block.cidr));
  const draining = blocks.filter((block) => block.closed || back.has(block.cidr));
  return {
    state: { lowSince, givingBack: [...back] },
    // The operator does not know what is on its way back and counts it, so the wish must hold it too.
    needed: wanted + capacityOf(givingBack),
    draining: draining.map((block) => block.cidr),
    empty: draining.filter((block) => block.used === 0 && block.resting === 0).map(cidrOf),
    why,
  };
}

/** Addresses to have for this use; in steps of `preAllocate`, so that not every pod changes the wish. */
function wantedFor(inUse: number, recent: number, marks: Marks): number {
  const wanted = Math.max(
    Math.ceil(inUse / marks.high),
    inUse + Math.max(marks.preAllocate, recent),
  );
  const step = Math.max(1, marks.preAllocate);
  return Math.ceil(wanted / step) * step;
}

function canSpare(
  capacity: number,
  block: BlockUse,
  inUse: number,
  recent: number,
  marks: Marks,
): boolean {
  const rest = capacity - block.capacity;
  return (
    inUse <= ((marks.low + marks.high) / 2) * rest &&
    wantedFor(inUse, recent, marks) + Math.max(1, marks.preAllocate) <= rest
  );
}

/** The block with the fewest pods; of equals the last, so that a node keeps what it has had longest. */
function emptiest(blocks: readonly BlockUse[]): BlockUse | undefined {
  let best: BlockUse | undefined;
  for (const block of blocks) {
    if (best === undefined || block.used + block.resting <= best.used + best.resting) best = block;
  }
  return best;
}

const capacityOf = (blocks: readonly BlockUse[]): number =>
  blocks.reduce((sum, block) => sum + block.capacity, 0);
const cidrOf = (block: BlockUse): Prefix => block.cidr;
