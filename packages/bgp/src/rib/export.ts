import { Address, Prefix } from '@causeway/ip';
import type { BoundPolicy } from '../policy/bound.ts';
import { NextHopMode } from '../policy/compile-set.ts';
import type { ExportOutcome } from '../speaker/types.ts';
import type { FamilyKey } from '../types.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { hashBytes } from '../wire/hash.ts';
import {
  type AttributeEdit,
  AttributeWriter,
  findAttribute,
  prependPath,
  SetFlag,
  u32Bytes,
  withoutConfederation,
} from './attribute-bytes.ts';
import type { AttributeTable } from './attribute-table.ts';
import { SetMemo } from './memo.ts';
import { PathFlag } from './path-table.ts';
import { PeerKind } from './peer-columns.ts';
import type { PrefixFields } from './prefix-table.ts';
import type { Rib } from './rib.ts';

/** Everything that decides what a neighbour is sent; neighbours with equal ones share an update group. */
export interface ExportContext {
  readonly family: FamilyKey;
  readonly external: boolean;
  /** A reflector's client (RFC 4456). */
  readonly client: boolean;
  readonly localAsn: number;
  readonly clusterId: number;
  /** Of this speaker, for routes that an owner originated. */
  readonly routerId: number;
  readonly nextHop: 'self' | 'unchanged' | undefined;
  /** 4, 16 or 32 bytes; undefined: we have no address that the neighbour could use in this family. */
  readonly self: Uint8Array | undefined;
  /** Next hops of 16 bytes may go with IPv4 (RFC 8950). */
  readonly extendedNextHop: boolean;
  readonly sharedSubnets: readonly string[];
  /** The neighbour takes part in LLGR (RFC 9494). */
  readonly llgr: boolean;
  /** Attributes longer than this fit in no message. */
  readonly room: number;
}

/** Negative results, as memos keep them. */
const outcomes = [
  'sent',
  'no-policy',
  'policy',
  'no-advertise',
  'no-export',
  'no-export-subconfed',
  'internal-to-internal',
  'llgr-stale',
  'no-next-hop',
  'too-long',
] as const satisfies readonly ExportOutcome[];

const code = (outcome: (typeof outcomes)[number]): number => -outcomes.indexOf(outcome);
export const outcomeOf = (result: number): ExportOutcome =>
  result > 0 ? 'sent' : outcomes[-result]!;

const refused = {
  noPolicy: code('no-policy'),
  policy: code('policy'),
  noAdvertise: code('no-advertise'),
  noExport: code('no-export'),
  noExportSubconfed: code('no-export-subconfed'),
  internal: code('internal-to-internal'),
  llgr: code('llgr-stale'),
  noNextHop: code('no-next-hop'),
  tooLong: code('too-long'),
} as const;

const writer = new AttributeWriter();
/** What the quick way to an external neighbour does not know. */
const unusual = SetFlag.unknown | SetFlag.nonTransitive | SetFlag.confederation;
const emptyBytes = new Uint8Array(0);

/**
 * What becomes of a path on its way to a neighbour: may it go at all, what does the policy say, what do the
 * standards change (RFC 4271 section 5, RFC 4456 section 8). Remembered by attribute set.
 */
export class Exporter {
  readonly context: ExportContext;
  readonly policy: BoundPolicy | undefined;
  readonly #rib: Rib;
  readonly #sets: AttributeTable;
  /** From the accepted set to the result, when the policy looks at neither prefix nor tag. */
  readonly #whole: SetMemo | undefined;
  /** From what the policy gave to the result. */
  readonly #final: SetMemo;
  readonly #subnets: readonly Prefix[];
  #lastHop = 0;
  #lastAddress: Address | undefined;
  #lastShared = false;
  readonly #fields: PrefixFields = { length: 0, w0: 0, w1: 0, w2: 0, w3: 0 };

  constructor(rib: Rib, context: ExportContext, policy: BoundPolicy | undefined) {
    this.context = context;
    this.policy = policy;
    this.#rib = rib;
    this.#sets = rib.sets;
    this.#whole =
      policy?.usesPrefix === true || policy?.usesTag === true ? undefined : new SetMemo(rib.sets);
    this.#final = new SetMemo(rib.sets);
    this.#subnets = context.sharedSubnets.map((subnet) =>
      Prefix.parse(subnet, { hostBits: 'clear' }),
    );
  }

  /**
   * The set that goes out (positive; held by memos as long as the path's own set lives), or a negative
   * outcome. `path` is a candidate.
   */
  run(path: number, tag: string | undefined): number {
    const { paths, peers } = this.#rib;
    const set = paths.accepted[path]!;
    const peer = paths.peer[path]!;
    const kind = peers.kind[peer]!;
    const isLlgr = (paths.flags[path]! & PathFlag.llgr) !== 0;
    // Who sent it matters for internal routes only: reflection names the originator.
    const key = ((kind === PeerKind.ibgp ? peer + 2 : kind) << 1) | (isLlgr ? 1 : 0) | 0x1000000;
    const whole = this.#whole;
    if (whole === undefined) return this.#apply(path, set, peer, kind, isLlgr, tag);
    const known = whole.get(set, key);
    if (known !== 0) return known;
    const result = this.#apply(path, set, peer, kind, isLlgr, tag);
    whole.set(set, key, result);
    return result;
  }

  #apply(
    path: number,
    set: number,
    peer: number,
    kind: number,
    isLlgr: boolean,
    tag: string | undefined,
  ): number {
    const { context, policy } = this;
    const barred = this.#barred(set, peer, kind, isLlgr);
    if (barred !== 0) return barred;
    let result = set;
    let mode: NextHopMode = NextHopMode.standard;
    let setMed = false;
    if (policy !== undefined) {
      const { paths, prefixes } = this.#rib;
      prefixes.read(paths.prefix[path]!, this.#fields);
      result = policy.run(set, this.#fields, kind, tag);
      if (result === 0) return refused.policy;
      mode = policy.nextHop;
      setMed = policy.setMed;
    } else if (context.external) {
      // RFC 8212 section 2: without a policy nothing goes to an external neighbour.
      return refused.noPolicy;
    }
    const source = kind === PeerKind.ibgp ? peer + 2 : kind;
    const key = (source << 3) | (mode << 1) | (setMed ? 1 : 0) | 0x1000000;
    const known = this.#final.get(result, key);
    if (known !== 0) return known;
    const final = this.#finish(result, peer, kind, mode, setMed);
    this.#final.set(result, key, final);
    if (final > 0) this.#sets.release(final);
    return final;
  }

  #barred(set: number, peer: number, kind: number, isLlgr: boolean): number {
    const { context } = this;
    const flags = this.#sets.flags[set]!;
    if ((flags & SetFlag.noAdvertise) !== 0) return refused.noAdvertise;
    if (context.external) {
      if ((flags & SetFlag.noExport) !== 0) return refused.noExport;
      if ((flags & SetFlag.noExportSubconfed) !== 0) return refused.noExportSubconfed;
    } else if (kind === PeerKind.ibgp && !context.client && this.#rib.peers.client[peer] === 0) {
      return refused.internal;
    }
    // RFC 9494 section 4.3: not to those who do not know what the community means.
    if (!context.llgr && (isLlgr || (flags & SetFlag.llgrStale) !== 0)) return refused.llgr;
    return 0;
  }

  /** The set as the standards want it, one reference to which is the caller's; or a negative outcome. */
  #finish(set: number, peer: number, kind: number, mode: NextHopMode, setMed: boolean): number {
    const { context } = this;
    const sets = this.#sets;
    const hop = this.#nextHop(set, kind, mode);
    if (hop === undefined) return refused.noNextHop;
    const start = sets.start(set);
    const end = sets.end(set);
    let bytes: Uint8Array | undefined;
    if (context.external && (sets.flags[set]! & unusual) === 0) {
      const keepsMed = setMed || kind === PeerKind.local;
      bytes = writer.external(sets.bytes, start, end, context.localAsn, keepsMed);
    } else {
      const edits = this.#edits(set, peer, kind, setMed);
      if (edits.length > 0) bytes = writer.edit(sets.bytes, start, end, edits);
    }
    if ((bytes?.length ?? end - start) > context.room) return refused.tooLong;
    const hopId = sets.nextHops.intern(hop, 0, hop.length);
    const result =
      bytes === undefined
        ? sets.intern(sets.bytes, start, end, hashBytes(sets.bytes, start, end), hopId)
        : sets.intern(bytes, 0, bytes.length, hashBytes(bytes, 0, bytes.length), hopId);
    sets.nextHops.release(hopId);
    return result;
  }

  #edits(set: number, peer: number, kind: number, setMed: boolean): AttributeEdit[] {
    const { context } = this;
    const sets = this.#sets;
    const flags = sets.flags[set]!;
    const edits: AttributeEdit[] = [];
    if (context.external) {
      const path = withoutConfederation(this.#value(set, AttributeType.asPath) ?? emptyBytes);
      edits.push({
        type: AttributeType.asPath,
        flags: 0x40,
        value: prependPath(path, context.localAsn, 1),
      });
      // RFC 4271 section 5.1.4: a MED that came from one AS is not told to another.
      if (!setMed && kind !== PeerKind.local) edits.push(without(AttributeType.med));
      edits.push(
        without(AttributeType.localPreference),
        without(AttributeType.originatorId),
        without(AttributeType.clusterList),
      );
    } else {
      if ((flags & SetFlag.hasLocalPreference) === 0) {
        edits.push({
          type: AttributeType.localPreference,
          flags: 0x40,
          value: u32Bytes(sets.localPreference[set]!),
        });
      }
      if (kind === PeerKind.ibgp) {
        // RFC 4456 section 8.
        if ((flags & SetFlag.hasOriginator) === 0) {
          edits.push({
            type: AttributeType.originatorId,
            flags: 0x80,
            value: u32Bytes(this.#rib.peers.routerId[peer]!),
          });
        }
        const list = this.#value(set, AttributeType.clusterList) ?? emptyBytes;
        const value = new Uint8Array(list.length + 4);
        value.set(u32Bytes(context.clusterId));
        value.set(list, 4);
        edits.push({ type: AttributeType.clusterList, flags: 0x80, value });
      } else {
        edits.push(without(AttributeType.originatorId), without(AttributeType.clusterList));
      }
    }
    if (context.external && (flags & SetFlag.nonTransitive) !== 0) {
      edits.push({
        type: AttributeType.extendedCommunities,
        flags: 0xc0,
        value: transitiveOnly(this.#value(set, AttributeType.extendedCommunities)!),
      });
    }
    if ((flags & SetFlag.unknown) !== 0) {
      const { bytes } = sets;
      for (let at = sets.start(set); at < sets.end(set); ) {
        const long = (bytes[at]! & 0x10) !== 0;
        const length = long ? (bytes[at + 2]! << 8) | bytes[at + 3]! : bytes[at + 2]!;
        const value = at + (long ? 4 : 3);
        if (!known.has(bytes[at + 1]!)) {
          // RFC 4271 section 5: who does not recognize it sets the Partial bit.
          edits.push({
            type: bytes[at + 1]!,
            flags: (bytes[at]! & ~0x10) | 0x20,
            value: bytes.slice(value, value + length),
          });
        }
        at = value + length;
      }
    }
    return edits.sort((a, b) => a.type - b.type);
  }

  #value(set: number, type: number): Uint8Array | undefined {
    const sets = this.#sets;
    const range = { start: 0, end: 0 };
    return findAttribute(sets.bytes, sets.start(set), sets.end(set), type, range)
      ? sets.bytes.slice(range.start, range.end)
      : undefined;
  }

  /** RFC 4271 section 5.1.3, RFC 2545 section 3, RFC 8950. */
  #nextHop(set: number, kind: number, mode: NextHopMode): Uint8Array | undefined {
    const { context } = this;
    const hops = this.#sets.nextHops;
    const id = this.#sets.nextHop[set]!;
    const address = hops.address(id);
    const own = context.self;
    if (address === undefined) return own;
    let keeps: boolean;
    if (mode === NextHopMode.self) keeps = false;
    else if (mode !== NextHopMode.standard) keeps = true;
    else if (context.nextHop !== undefined) keeps = context.nextHop === 'unchanged';
    else if (!context.external || kind === PeerKind.local) keeps = true;
    else keeps = this.#isShared(id, address);
    if (!keeps) return own;
    // A link-local address means something on one link only; it is not handed on.
    if (Address.isLinkLocal(address)) return mode === NextHopMode.explicit ? undefined : own;
    const bytes = hops.bytes(id);
    if (context.family === 'ipv6-unicast') {
      return bytes.length === 4 ? own : bytes.subarray(0, 16);
    }
    if (bytes.length === 4 || context.extendedNextHop)
      return bytes.subarray(0, Math.min(16, bytes.length));
    return mode === NextHopMode.explicit ? undefined : own;
  }

  /** Does the neighbour reach the next hop over the subnet that it shares with us? */
  #isShared(id: number, address: Address): boolean {
    if (this.#subnets.length === 0) return false;
    // One set after another has the same next hop.
    if (id !== this.#lastHop || address !== this.#lastAddress) {
      this.#lastHop = id;
      this.#lastAddress = address;
      this.#lastShared = this.#subnets.some((subnet) => Prefix.contains(subnet, address));
    }
    return this.#lastShared;
  }

  /** For explanations: why not, before any policy is asked. */
  barred(path: number): ExportOutcome | undefined {
    const { paths, peers } = this.#rib;
    const peer = paths.peer[path]!;
    const isLlgr = (paths.flags[path]! & PathFlag.llgr) !== 0;
    const barred = this.#barred(paths.accepted[path]!, peer, peers.kind[peer]!, isLlgr);
    return barred === 0 ? undefined : outcomeOf(barred);
  }

  close(): void {
    this.#whole?.close();
    this.#final.close();
  }
}

const without = (type: number): AttributeEdit => ({ type, flags: 0, value: undefined });

const known: ReadonlySet<number> = new Set(Object.values(AttributeType));

function transitiveOnly(list: Uint8Array): Uint8Array | undefined {
  const kept: number[] = [];
  for (let at = 0; at + 8 <= list.length; at += 8) {
    if ((list[at]! & 0x40) === 0) for (let i = at; i < at + 8; i++) kept.push(list[i]!);
  }
  return kept.length === 0 ? undefined : Uint8Array.from(kept);
}
