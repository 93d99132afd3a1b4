import type { JournalReader } from './journal.ts';

/** One neighbour in a group. */
export interface Member extends JournalReader {
  readonly peer: number;
  readonly name: string;
  /** Next item of the walk over all; 0: none is going on. */
  walk: number;
  walkEnd: number;
  /** Instead of all items: these, withdrawals included. */
  list: Int32Array | undefined;
  /** The walk is a refresh that is framed (RFC 7313). */
  framing: 'none' | 'begin' | 'end';
  /** End-of-RIB is to be sent after the walk. */
  endOfRib: boolean;
  endOfRibSent: boolean;
  /** It has been told nothing at all: what happened before its walk begins is no news to it. */
  fresh: boolean;
  /** Goes out before anything else. */
  prelude: Uint8Array | undefined;
  /** Announced by the walk so far. */
  walked: number;
  /** It has been read dry: a `wake` is due when there is more. */
  asleep: boolean;
}

/** One that is told everything, then End-of-RIB. */
export const newMember = (peer: number, name: string): Member => ({
  position: 0,
  peer,
  name,
  walk: 1,
  walkEnd: 0,
  list: undefined,
  fresh: true,
  prelude: undefined,
  framing: 'none',
  endOfRib: true,
  endOfRibSent: false,
  walked: 0,
  asleep: true,
});
