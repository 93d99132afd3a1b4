import type { Member } from './group-member.ts';
import type { UpdateGroup } from './update-group.ts';

/**
 * Takes a neighbour from one group to another that has nothing left to evaluate: it is told what differs. If it was not
 * up to date before, nothing is known of what it has, and everything is told.
 */
export function moveMember(from: UpdateGroup, to: UpdateGroup, member: Member): Member {
  const { peer } = member;
  const joined = to.join(peer, member.name);
  joined.fresh = false;
  joined.endOfRib = member.endOfRib;
  joined.endOfRibSent = member.endOfRibSent;
  joined.walked = member.walked;
  if (to.out.isAddPath) {
    // What it was to be told first on its last move still comes first.
    const before = member.prelude ?? new Uint8Array(0);
    const gone = from.withdrawals(strangers(from, to, peer));
    joined.prelude = new Uint8Array(before.length + gone.length);
    joined.prelude.set(before);
    joined.prelude.set(gone, before.length);
    return joined;
  }
  const isKnown = member.walk === 0 && member.prelude === undefined;
  const { prefixes } = to.rib;
  const differing: number[] = [];
  for (let prefix = 1; prefix < prefixes.end; prefix++) {
    if (
      !isKnown ||
      to.seenBy(peer, prefix) !== from.seenBy(peer, prefix) ||
      from.journal.isPending(prefix, member.position)
    ) {
      if (prefixes.has(prefix)) differing.push(prefix);
    }
  }
  joined.list = Int32Array.from(differing);
  return joined;
}

/** Paths that a member may have from its old group, and that are not in the new one. */
function strangers(from: UpdateGroup, to: UpdateGroup, peer: number): number[] {
  const { out } = from;
  const items: number[] = [];
  for (let item = 1; item < out.end(0); item++) {
    const prefix = out.prefixOf(item);
    if (prefix === 0) continue;
    const there = to.out.find(prefix, out.pathIdOf(item));
    if (there === 0 || to.seenBy(peer, there) === 0) items.push(item);
  }
  return items;
}
