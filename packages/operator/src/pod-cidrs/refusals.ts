import type { Refusal } from '@causeway/ipam';

/** A refusal in a sentence that says what would help. */
export function refusalText(refusal: Refusal): string {
  const { pool, type } = refusal;
  switch (type) {
    case 'unknown-pool':
      return `pool ${pool} does not exist: apply a CiliumPodIPPool of that name`;
    case 'no-family':
      return `pool ${pool} has no ${refusal.family} ranges: add spec.${refusal.family} to it`;
    case 'wrong-place':
      return `pool ${pool} is for nodes with ${refusal.place}: label the node, or use its own pool`;
    case 'exhausted': {
      const { family, maskSize, needed, have, closedFree } = refusal;
      const help =
        closedFree > 0n
          ? `open its closed ranges again (${closedFree} addresses are free there), or add a range`
          : `add a range to spec.${family}.cidrs, or take pods away`;
      return `pool ${pool} has no ${family} block of /${maskSize} left: the node has ${have} addresses of ${needed} asked for; ${help}`;
    }
    case 'cidr-taken':
      return `${refusal.cidr} of pool ${pool} belongs to node ${refusal.holder}: this node must stop using it`;
    default:
      return refusal satisfies never;
  }
}

/** Texts by node, those of one node together. */
export function refusalsByNode(refusals: readonly Refusal[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const refusal of refusals) {
    const before = found.get(refusal.node);
    const text = refusalText(refusal);
    found.set(refusal.node, before === undefined ? text : `${before}\n${text}`);
  }
  return found;
}
