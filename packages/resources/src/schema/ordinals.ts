/** Ordinals above this are no StatefulSet's: each of them may hold an address. */
const MAX_ORDINAL = 1_000_000;
const MAX_RANGES = 1024;

/** From and to, both included. */
export type OrdinalRange = readonly [from: number, to: number];

/**
 * `0-3,7`: the ordinals of a StatefulSet's pods, scattered ones too (AdvancedStatefulSet reserves
 * some). Undefined for what is not of this form.
 */
export function parseOrdinals(text: string): readonly OrdinalRange[] | undefined {
  const parts = text.split(',');
  if (parts.length > MAX_RANGES) return undefined;
  const ranges: OrdinalRange[] = [];
  for (const part of parts) {
    const match = /^\s*(\d{1,7})(?:\s*-\s*(\d{1,7}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from > to || to > MAX_ORDINAL) return undefined;
    ranges.push([from, to]);
  }
  return ranges;
}

/** How many ordinals the ranges name, those that stand twice counted twice. */
export const countOrdinals = (ranges: readonly OrdinalRange[]): number =>
  ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);

export const hasOrdinal = (ranges: readonly OrdinalRange[], ordinal: number): boolean =>
  ranges.some(([from, to]) => ordinal >= from && ordinal <= to);
