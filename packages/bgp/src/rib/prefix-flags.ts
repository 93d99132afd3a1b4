/** What is known of a prefix beside its paths. */
export const PrefixFlag = Object.freeze({
  /** It has no paths, and waits for its number to be given back. */
  limbo: 1,
  /** Some of its paths go to some neighbours only. */
  scoped: 2,
} as const);
