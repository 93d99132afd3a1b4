import type { Address } from '@causeway/ip';
import type { Item } from './item.ts';

/** What an address of the inventory's cluster is to be. */
export interface Endpoint {
  readonly source: string;
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** `LabelSet.text`; equal texts are one string. */
  readonly labels: string;
  readonly nodeAddress: Address | undefined;
  readonly addresses: readonly Address[];
}

/** One item of one source, with what became of it. */
export interface Member extends Endpoint {
  /** Undefined for one that only the store has told of: its source has not spoken since the start. */
  readonly item: Item | undefined;
  readonly warnings: readonly string[];
  /** Its source no longer names it, and the guard keeps it. */
  readonly withheld: boolean;
}

/** A member as the inventory holds it. */
export interface Entry extends Member {
  withheld: boolean;
  /** ms; Infinity without a time to live. */
  expires: number;
  leftOut: boolean;
  expired: boolean;
}

/** The addresses that an entry is there for. */
export const claimedBy = (entry: Entry): readonly Address[] =>
  entry.leftOut || entry.expired ? NO_ADDRESSES : entry.addresses;

const NO_ADDRESSES: readonly Address[] = Object.freeze([]);
