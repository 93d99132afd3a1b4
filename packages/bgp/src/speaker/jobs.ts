import { SetFlag } from '../rib/attribute-bytes.ts';
import type { Importer } from '../rib/import.ts';
import { withLlgrStale } from '../rib/import.ts';
import { PathFlag } from '../rib/path-table.ts';
import type { PrefixFields } from '../rib/prefix-table.ts';
import type { Rib } from '../rib/rib.ts';

/**
 * Work over whole tables, done a slice at a time so that sessions live on meanwhile. A slice is measured in units:
 * about 50 ns each, so that 40,000 of them are some ms.
 */
export interface Job {
  /** True: done. */
  step(units: number): boolean;
}

export const sliceUnits = 40_000;

/** Looks at all paths of a family, acting on some. */
abstract class PathJob implements Job {
  protected readonly rib: Rib;
  #at = 1;

  constructor(rib: Rib) {
    this.rib = rib;
  }

  step(units: number): boolean {
    const { paths } = this.rib;
    let left = units;
    // Looking costs little, acting much.
    for (; this.#at < paths.end && left > 0; this.#at++) {
      left -= 0.05;
      if (this.isOver()) break;
      const slot = this.#at;
      if (paths.prefix[slot] === 0 || (paths.flags[slot]! & PathFlag.gone) !== 0) continue;
      if (this.act(slot)) left -= 4;
    }
    if (this.#at < paths.end && !this.isOver()) return false;
    this.done();
    return true;
  }

  protected isOver(): boolean {
    return false;
  }

  /** True: it was one that concerned us. */
  protected abstract act(slot: number): boolean;
  protected abstract done(): void;
}

/** Removes a peer's paths that still bear one of the flags. */
export class PurgeJob extends PathJob {
  readonly #peer: number;
  readonly #flags: number;
  readonly #done: (count: number) => void;
  #count = 0;
  cancelled = false;

  constructor(rib: Rib, peer: number, flags: number, done: (count: number) => void) {
    super(rib);
    this.#peer = peer;
    this.#flags = flags;
    this.#done = done;
  }

  protected override isOver(): boolean {
    return this.cancelled || this.rib.counts(this.#peer).received === 0;
  }

  protected act(slot: number): boolean {
    const { paths } = this.rib;
    if (paths.peer[slot] !== this.#peer || (paths.flags[slot]! & this.#flags) === 0) return false;
    this.rib.remove(slot);
    this.#count++;
    return true;
  }

  protected done(): void {
    if (!this.cancelled) this.#done(this.#count);
  }
}

/** RFC 9494 section 4.2: the peer's stale paths are kept for longer, least preferred. */
export class LongLivedJob extends PathJob {
  readonly #peer: number;
  readonly #done: () => void;

  constructor(rib: Rib, peer: number, done: () => void) {
    super(rib);
    this.#peer = peer;
    this.#done = done;
  }

  protected act(slot: number): boolean {
    const { paths, sets } = this.rib;
    if (paths.peer[slot] !== this.#peer || (paths.flags[slot]! & PathFlag.stale) === 0)
      return false;
    const accepted = paths.accepted[slot]!;
    if ((sets.flags[paths.received[slot]!]! & SetFlag.noLlgr) !== 0) {
      this.rib.remove(slot);
      return true;
    }
    if (accepted === 0) {
      this.rib.mark(slot, PathFlag.llgr);
      return true;
    }
    const marked = withLlgrStale(sets, accepted);
    this.rib.mark(slot, PathFlag.llgr, marked, 0);
    sets.release(marked);
    return true;
  }

  protected done(): void {
    this.#done();
  }
}

/** Import policy anew, on what was received. */
export class ReimportJob extends PathJob {
  readonly #importers: (peer: number) => Importer | undefined;
  readonly #done: () => void;
  readonly #fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };

  /** `importers`: of a peer as it is then, undefined if it is not concerned. */
  constructor(rib: Rib, importers: (peer: number) => Importer | undefined, done: () => void) {
    super(rib);
    this.#importers = importers;
    this.#done = done;
  }

  protected act(slot: number): boolean {
    const { rib } = this;
    const importer = this.#importers(rib.paths.peer[slot]!);
    if (importer === undefined) return false;
    reimport(rib, slot, importer, this.#fields);
    return true;
  }

  protected done(): void {
    this.#done();
  }
}

export function reimport(rib: Rib, slot: number, importer: Importer, fields: PrefixFields): void {
  const { paths, sets } = rib;
  if (importer.usesPrefix) rib.prefixes.read(paths.prefix[slot]!, fields);
  const result = importer.run(paths.received[slot]!, fields);
  if (result > 0 && (paths.flags[slot]! & PathFlag.llgr) !== 0) {
    const marked = withLlgrStale(sets, result);
    rib.reconsider(slot, marked, 0);
    sets.release(marked);
  } else {
    rib.reconsider(slot, Math.max(result, 0), result > 0 ? 0 : -result);
  }
}

/** Chooses anew where a next hop of `hops` is concerned. */
export class NextHopJob extends PathJob {
  readonly #hops: ReadonlySet<number>;

  constructor(rib: Rib, hops: readonly number[]) {
    super(rib);
    this.#hops = new Set(hops);
  }

  protected act(slot: number): boolean {
    const { paths, sets } = this.rib;
    const accepted = paths.accepted[slot]!;
    if (accepted === 0 || !this.#hops.has(sets.nextHop[accepted]!)) return false;
    this.rib.decide(paths.prefix[slot]!);
    return true;
  }

  protected done(): void {}
}

/** Chooses anew for every prefix. */
export class DecideJob implements Job {
  readonly #rib: Rib;
  readonly #done: () => void;
  #at = 1;

  constructor(rib: Rib, done: () => void) {
    this.#rib = rib;
    this.#done = done;
  }

  step(units: number): boolean {
    const { prefixes, head } = this.#rib;
    let left = units;
    for (; this.#at < prefixes.end && left > 0; this.#at++, left -= 2) {
      if (prefixes.has(this.#at) && head[this.#at] !== 0) this.#rib.decide(this.#at);
    }
    if (this.#at < prefixes.end) return false;
    this.#done();
    return true;
  }
}
