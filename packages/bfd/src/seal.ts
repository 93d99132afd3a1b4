import type { Discriminator } from './values.ts';

/**
 * What tells our discriminators from all other numbers, known to this process alone: a product's upper half. The
 * numbers look random in all their bits, so that one of them says nothing of the next, and the kernel's filter can still
 * tell them by three instructions.
 */
export interface Seal {
  /** Odd, 32 bits. */
  readonly factor: number;
  /** 1 to 65535. */
  readonly mark: number;
}

/** `random`: 32 bits at a time. */
export const drawSeal = (random: () => number): Seal => ({
  factor: (random() | 1) >>> 0,
  mark: 1 + ((random() >>> 0) % 0xffff),
});

/** One of the 65,536 sealed numbers, by its lower half. Never 0, for the mark is not. */
export const sealed = ({ factor, mark }: Seal, low: number): Discriminator =>
  (Math.imul(inverse(factor), (mark << 16) | (low & 0xffff)) >>> 0) as Discriminator;

export const isSealed = ({ factor, mark }: Seal, value: number): boolean =>
  Math.imul(factor, value) >>> 16 === mark;

/** Of an odd number, modulo 2^32: each step doubles the bits that are right, of which three are at first. */
function inverse(factor: number): number {
  let guess = factor;
  for (let bits = 3; bits < 32; bits *= 2) guess = Math.imul(guess, 2 - Math.imul(factor, guess));
  return guess;
}
