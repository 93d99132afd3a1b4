import type { FamilyKey } from '../types.ts';
import type { NlriBlock } from './update.ts';

/**
 * Walks a block without allocating: `reset(block)`, then `next()` until false, reading the fields between. Words
 * are signed 32-bit integers, most significant first, host bits clear; IPv4 stands in `w0` alone.
 */
export interface NlriCursor {
  family: FamilyKey;
  /** Signed 32 bits; 0 without ADD-PATH. */
  pathId: number;
  /** Bits. */
  length: number;
  w0: number;
  w1: number;
  w2: number;
  w3: number;
  reset(block: NlriBlock): void;
  next(): boolean;
}
