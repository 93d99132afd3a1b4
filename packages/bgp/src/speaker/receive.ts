import type { Rib } from '../rib/rib.ts';
import { NlriCursor } from '../wire/nlri.ts';
import type { NlriBlock, ParsedUpdate } from '../wire/update.ts';
import type { PeerFamily, SpeakerPeer } from './peer.ts';

const cursor = new NlriCursor();

const longestSet = 65_000;
const mostNumbers = 16_600_000;

/** Takes an UPDATE into the RIBs. This is where a million routes come through. */
export function receive(peer: SpeakerPeer, update: ParsedUpdate): void {
  for (const block of update.withdrawn) {
    const family = peer.families.get(block.family);
    if (family?.negotiated !== undefined) withdraw(family.rib, peer.index, block);
  }
  for (const block of update.announced) {
    const family = peer.families.get(block.family);
    if (family?.negotiated !== undefined) announce(family, peer.index, update, block);
  }
}

function withdraw(rib: Rib, peer: number, block: NlriBlock): void {
  const { prefixes } = rib;
  cursor.reset(block);
  while (cursor.next()) {
    const prefix = prefixes.find(cursor.length, cursor.w0, cursor.w1, cursor.w2, cursor.w3);
    if (prefix !== 0) rib.withdraw(peer, prefix, cursor.pathId);
  }
}

function announce(family: PeerFamily, peer: number, update: ParsedUpdate, block: NlriBlock): void {
  const { rib } = family;
  const { sets, prefixes } = rib;
  const importer = family.importer!;
  // Longer than a set can be (a path of two-octet numbers doubles), or more than there are numbers for: better no
  // route than a wrong one.
  if (
    update.attributesEnd - update.attributesStart > longestSet ||
    prefixes.size > mostNumbers ||
    sets.size > mostNumbers
  ) {
    withdraw(rib, peer, block);
    return;
  }
  const max = family.config.maxPrefixes;
  const limit = max?.action === 'refuse' ? max.limit : Number.POSITIVE_INFINITY;
  const hop = sets.nextHops.intern(block.bytes, block.nextHopStart, block.nextHopLength);
  const set = sets.intern(
    update.attributeBytes,
    update.attributesStart,
    update.attributesEnd,
    update.attributesHash,
    hop,
  );
  sets.nextHops.release(hop);
  const { usesPrefix } = importer;
  let result = usesPrefix ? 0 : importer.run(set, cursor);
  cursor.reset(block);
  while (cursor.next()) {
    if (usesPrefix) result = importer.run(set, cursor);
    const prefix = prefixes.insert(cursor.length, cursor.w0, cursor.w1, cursor.w2, cursor.w3);
    const isTaken = rib.announce(
      peer,
      prefix,
      cursor.pathId,
      set,
      Math.max(result, 0),
      result > 0 ? 0 : -result,
      limit,
    );
    if (!isTaken && rib.head[prefix] === 0) rib.graveyard.mayFree(prefix);
  }
  sets.release(set);
}
