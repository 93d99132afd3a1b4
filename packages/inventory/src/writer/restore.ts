import type { Inventory } from '../core/inventory.ts';
import type { Publication } from '../core/publication.ts';
import { type Stored, storedEndpoints } from './stored.ts';

/**
 * Takes over what the store holds, so that nothing of it is touched before its source has spoken: a restart
 * or a change of leader is seen by nobody.
 */
export function restore(
  stored: Stored,
  inventory: Inventory,
  publication: Publication,
  now: number,
): void {
  for (const [number, labels] of stored.identities)
    publication.numbers.restore(number, labels, now);
  for (const [number, labels] of stored.resting) {
    publication.numbers.restoreResting(number, labels, now);
  }
  for (const [address, { value, ip }] of stored.entries) {
    const labels = stored.identities.get(ip.identity);
    // Of two numbers for one label set the other was kept; an entry under neither is written anew or goes.
    if (labels === undefined || publication.numberOf(labels) !== ip.identity) continue;
    publication.restore(address, value, labels, ip.hostIP);
  }
  for (const endpoint of storedEndpoints(stored)) inventory.restore(endpoint);
  inventory.restored(now);
}
