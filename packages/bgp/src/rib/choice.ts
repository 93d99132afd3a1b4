import type { MultipathConfig } from '../speaker/config.ts';
import { grown } from './grown.ts';
import { Multipath } from './multipath.ts';
import { PathFlag } from './path-table.ts';
import { PrefixFlag } from './prefix-flags.ts';
import type { Rib } from './rib.ts';

/** Chooses among the paths of a prefix, and journals the prefix when what is chosen is another. */
export class Choice {
  readonly #rib: Rib;
  readonly #multipath: Multipath;
  #scratch = new Int32Array(64);

  constructor(rib: Rib) {
    this.#rib = rib;
    this.#multipath = new Multipath(rib);
  }

  configureMultipath(config: MultipathConfig): void {
    this.#multipath.configure(config);
  }

  /** `changed`: the path whose content is another, or which is gone; -1 if none. */
  decide(prefix: number, changed: number): void {
    const rib = this.#rib;
    if (rib.deferred) return;
    const { paths, decision } = rib;
    const multipath = this.#multipath.isOn;
    const old = rib.best[prefix]!;
    const first = rib.head[prefix]!;
    // One path and no other before: what most of a table is.
    if (first === changed && paths.next[first] === 0 && (old === 0 || old === changed)) {
      const best = decision.isCandidate(paths, first) ? first : 0;
      rib.best[prefix] = best;
      if (best !== old) rib.reachablePrefixes += best === 0 ? -1 : 1;
      if (best !== 0 && multipath) paths.flags[first]! |= PathFlag.multipath;
      else paths.flags[first]! &= ~PathFlag.multipath;
      if (best !== 0 || old !== 0) rib.journal.append(prefix);
      return;
    }
    const isNoisy = rib.noisy > 0 || (rib.flags[prefix]! & PrefixFlag.scoped) !== 0;
    // A newcomer or a loser against the best, when the better of two is the better of all.
    if (
      changed > 0 &&
      old !== 0 &&
      old !== changed &&
      !multipath &&
      decision.isTotalOrder &&
      paths.prefix[changed] === prefix
    ) {
      const wins =
        decision.isCandidate(paths, changed) && decision.compare(paths, changed, old) < 0;
      if (wins) rib.best[prefix] = changed;
      if (wins || isNoisy) rib.journal.append(prefix);
      return;
    }
    const count = this.#candidates(prefix);
    const best = decision.best(paths, this.#scratch, count);
    rib.best[prefix] = best;
    if (old === 0 && best !== 0) rib.reachablePrefixes++;
    else if (old !== 0 && best === 0) rib.reachablePrefixes--;
    let differs = best !== old || (best === changed && best !== 0);
    if (multipath && this.#multipath.mark(prefix, best, this.#scratch, count, changed))
      differs = true;
    if (differs || isNoisy) rib.journal.append(prefix);
  }

  #candidates(prefix: number): number {
    const { paths, decision, head } = this.#rib;
    let count = 0;
    for (let slot = head[prefix]!; slot !== 0; slot = paths.next[slot]!) {
      if (!decision.isCandidate(paths, slot)) continue;
      if (count === this.#scratch.length) this.#scratch = grown(this.#scratch, count * 2);
      this.#scratch[count++] = slot;
    }
    return count;
  }

  /** Candidates of a prefix, best first, at most `limit`; for ADD-PATH and explanations. */
  ranked(prefix: number, limit: number, into: number[]): void {
    into.length = 0;
    let count = this.#candidates(prefix);
    const slots = this.#scratch;
    while (count > 0 && into.length < limit) {
      const best = this.#rib.decision.best(this.#rib.paths, slots, count);
      into.push(best);
      let at = 0;
      while (slots[at] !== best) at++;
      slots[at] = slots[--count]!;
    }
  }
}
