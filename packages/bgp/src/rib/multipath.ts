import type { MultipathConfig } from '../speaker/config.ts';
import { PathFlag } from './path-table.ts';
import { PeerKind } from './peer-columns.ts';
import type { Rib } from './rib.ts';

/** Paths that are as good as the best one, and used beside it. */
export class Multipath {
  readonly #rib: Rib;
  isOn = false;
  #maxEbgp = 1;
  #maxIbgp = 1;
  #sameAsPath = false;

  constructor(rib: Rib) {
    this.#rib = rib;
  }

  configure(config: MultipathConfig): void {
    this.#maxEbgp = config.ebgp ?? 1;
    this.#maxIbgp = config.ibgp ?? 1;
    this.#sameAsPath = config.sameAsPath ?? false;
    this.isOn = this.#maxEbgp > 1 || this.#maxIbgp > 1;
  }

  /**
   * Sets the marks of the equal-cost set among `count` candidates; true if it is another than before. The order of
   * `slots` is lost.
   */
  mark(prefix: number, best: number, slots: Int32Array, count: number, changed: number): boolean {
    const { paths, decision, peers, head } = this.#rib;
    let differs = false;
    let equal = 0;
    if (best !== 0) {
      const kind = peers.kind[paths.peer[best]!]!;
      const limit =
        kind === PeerKind.ebgp ? this.#maxEbgp : kind === PeerKind.ibgp ? this.#maxIbgp : 1;
      for (let i = 0; i < count; i++) {
        const slot = slots[i]!;
        const isEqual =
          slot === best ||
          (limit > 1 &&
            peers.kind[paths.peer[slot]!] === kind &&
            decision.compareCost(paths, slot, best, true) === 0 &&
            (!this.#sameAsPath || decision.sameAsPath(paths, slot, best)));
        if (!isEqual) continue;
        slots[i] = slots[equal]!;
        slots[equal++] = slot;
      }
      if (equal > limit) {
        // As many as may be, the best first.
        for (let i = 0; i < limit; i++) {
          let least = i;
          for (let j = i + 1; j < equal; j++) {
            if (decision.compareTie(paths, slots[j]!, slots[least]!) < 0) least = j;
          }
          const swap = slots[i]!;
          slots[i] = slots[least]!;
          slots[least] = swap;
        }
        equal = limit;
      }
    }
    for (let slot = head[prefix]!; slot !== 0; slot = paths.next[slot]!) {
      let is = false;
      for (let i = 0; i < equal && !is; i++) is = slots[i] === slot;
      const was = (paths.flags[slot]! & PathFlag.multipath) !== 0;
      if (is !== was) {
        differs = true;
        paths.flags[slot]! ^= PathFlag.multipath;
      } else if (is && slot === changed) {
        differs = true;
      }
    }
    // A path that was unchained took its mark along.
    if (
      changed > 0 &&
      paths.prefix[changed] === prefix &&
      (paths.flags[changed]! & PathFlag.multipath) !== 0
    ) {
      differs = true;
    }
    return differs;
  }
}
