/** How much one list may take away at once. */
export interface GuardSettings {
  /** Of what the source has, 0 to 1. */
  readonly share: number;
  /** So many never wait, unless it is everything. */
  readonly least: number;
  /** How long a larger removal waits for a list that takes it back, or for a person who lets it through. */
  readonly seconds: number;
}

/** Whether a removal of `missing` out of `known` waits. A list that is empty where there was more than one is always doubted. */
export function doubted(missing: number, known: number, guard: GuardSettings): boolean {
  if (missing === 0) return false;
  if (missing === known && known > 1) return true;
  return missing > Math.max(guard.least, known * guard.share);
}

/** What one source no longer names, and the guard keeps back: ids only. */
export class Withheld {
  readonly #guard: GuardSettings;
  #kept: { readonly since: number; readonly of: number; readonly ids: Set<string> } | undefined;

  constructor(guard: GuardSettings) {
    this.#guard = guard;
  }

  get any(): boolean {
    return this.#kept !== undefined;
  }

  /**
   * A whole list leaves `missing` out of `known`. True: they wait, and no longer than the first of them in a row of
   * such lists; false: they go at once, and what waited is decided.
   */
  keepsBack(missing: readonly string[], known: number, now: number): boolean {
    if (!doubted(missing.length, known, this.#guard)) {
      this.#kept = undefined;
      return false;
    }
    this.#kept = { since: this.#kept?.since ?? now, of: known, ids: new Set(missing) };
    return true;
  }

  /** It is named again, or gone for another reason. */
  forget(id: string): void {
    this.#kept?.ids.delete(id);
    if (this.#kept?.ids.size === 0) this.#kept = undefined;
  }

  /** They have waited long enough. */
  due(now: number): boolean {
    return this.#kept !== undefined && now - this.#kept.since >= this.#guard.seconds * 1000;
  }

  /** All of them, which wait no more. */
  takeAll(): ReadonlySet<string> {
    const ids = this.#kept?.ids ?? new Set<string>();
    this.#kept = undefined;
    return ids;
  }

  view(
    now: number,
  ): { readonly count: number; readonly of: number; readonly secondsLeft: number } | undefined {
    if (this.#kept === undefined) return undefined;
    const { ids, of, since } = this.#kept;
    const secondsLeft = Math.max(0, this.#guard.seconds - (now - since) / 1000);
    return { count: ids.size, of, secondsLeft };
  }
}
