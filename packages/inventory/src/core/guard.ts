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
