import type { PeerColumns } from '../rib/peer-columns.ts';
import type { PrefixFields } from '../rib/prefix-table.ts';
import type { Rib } from '../rib/rib.ts';
import type { FamilyKey } from '../types.ts';
import { UpdateEncoder } from '../wire/update-encoder.ts';
import type { FeedId, FeedItem } from './feed-types.ts';
import type { LocalPaths } from './locals.ts';
import type { SpeakerPeer } from './peer.ts';

export interface FeedContext {
  readonly ribs: Readonly<Record<FamilyKey, Rib>>;
  readonly columns: PeerColumns;
  readonly peers: ReadonlyMap<string, SpeakerPeer>;
  readonly byIndex: readonly (SpeakerPeer | undefined)[];
  readonly locals: LocalPaths;
  readonly wake: (feed: FeedId) => void;
}

/** One feed: positions in journals, and where a first walk over the table stands. */
export interface Feed {
  asleep: boolean;
  hasMore(): boolean;
  read(limit: number, into: FeedItem[]): void;
  peerUp(peer: SpeakerPeer): void;
  peerDown(peer: SpeakerPeer): void;
  overrun(rib: Rib): void;
  close(): void;
}

/** Items of journals looked at in one read: the event loop goes on even if none of them is told. */
export const mostLooks = 50_000;
/** Gone paths remembered for monitors, above which the monitors start anew. */
export const mostTombs = 65_536;
export const bytesPerItem = 32_768;

function encoderFor(family: FamilyKey, addPath: boolean): UpdateEncoder {
  // Small at first: there is one for each neighbour.
  return new UpdateEncoder({ family, addPath, fourOctetAs: true, maxMessage: 4096 }, 1024);
}

const unspecified = { 32: new Uint8Array(4), 128: new Uint8Array(16) } as const;

/** Writes one path's or prefix's present state; messages are counted as they are opened. */
export class Monitor {
  readonly #rib: Rib;
  readonly #encoder: UpdateEncoder;
  readonly #fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };
  #set = -1;

  constructor(rib: Rib, addPath: boolean) {
    this.#rib = rib;
    this.#encoder = encoderFor(rib.family, addPath);
  }

  get length(): number {
    return this.#encoder.length;
  }

  /** `set` 0: withdrawn. */
  put(prefix: number, set: number, pathId: number): void {
    const { sets, prefixes } = this.#rib;
    if (set !== this.#set) {
      this.#set = set;
      if (set === 0) this.#encoder.withdraw();
      else {
        const hop = sets.nextHops.bytes(sets.nextHop[set]!);
        this.#encoder.announce(
          sets.bytes,
          sets.start(set),
          sets.end(set),
          hop.length === 0 ? unspecified[prefixes.bits] : hop,
        );
      }
    }
    const fields = this.#fields;
    prefixes.read(prefix, fields);
    this.#encoder.prefix(pathId, fields.length, fields.w0, fields.w1, fields.w2, fields.w3);
  }

  take(): Uint8Array {
    this.#set = -1;
    return this.#encoder.take();
  }
}

/** Sets that go to a monitor must fit one classic message. */
export const fits = (rib: Rib, set: number): boolean => rib.sets.length[set]! < 3900;

export function countMessages(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) at += (bytes[at + 16]! << 8) | bytes[at + 17]!;
  return count;
}
