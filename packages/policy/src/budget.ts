import type { EntryOrigin } from './entry.ts';

/** Room for entries that several sets share: the kernel's map is one. */
export interface EntryBudget {
  left: number;
}

export interface SetLimits {
  readonly entries: number;
  readonly shared: EntryBudget;
}

/** For sets that answer one question and are thrown away. */
export const unlimited = (): SetLimits => ({
  entries: Number.POSITIVE_INFINITY,
  shared: { left: Number.POSITIVE_INFINITY },
});

/** Reasons behind one entry are bounded too, in sum over a set: this many for each entry it may hold. */
export const ORIGINS_PER_ENTRY = 8;

/**
 * Takes the place of deny rules that found no room: everything of that direction is denied, since a
 * packet that they would have denied must not pass.
 */
export const OVERFLOW_RULE: EntryOrigin & { readonly name: string } = Object.freeze({
  ruleId: 2,
  name: 'built in: more deny rules than there is room for, so all is denied',
  deny: true,
  audit: false,
});
