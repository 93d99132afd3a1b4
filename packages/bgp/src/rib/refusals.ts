import type { RefusedWhy } from '../speaker/types.ts';

/** Why a path is no candidate, as the column has it. */
export const refusedNames: readonly (RefusedWhy | undefined)[] = [
  undefined,
  'policy',
  'no-policy',
  'as-loop',
  'originator-loop',
  'cluster-loop',
  'own-next-hop',
  'no-llgr',
];

export const refusedCode = (why: RefusedWhy): number => refusedNames.indexOf(why);
