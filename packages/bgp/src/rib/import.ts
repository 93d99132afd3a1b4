import type { BoundPolicy } from '../policy/bound.ts';
import { AttributeType } from '../wire/attribute-table.ts';
import { hashBytes } from '../wire/hash.ts';
import {
  AttributeWriter,
  countAs,
  findAttribute,
  hasCluster,
  SetFlag,
  u32Bytes,
  WellKnown,
} from './attribute-bytes.ts';
import type { AttributeTable } from './attribute-table.ts';
import { SetMemo } from './memo.ts';
import type { PeerKind } from './peer-columns.ts';
import type { PrefixFields } from './prefix-table.ts';
import { refusedCode } from './refusals.ts';

/** Everything that decides what becomes of a received path; neighbours with equal ones share an importer. */
export interface ImportContext {
  readonly external: boolean;
  /** PeerKind of the neighbour. */
  readonly kind: PeerKind;
  readonly localAsn: number;
  /** The speaker's own, where it differs from the session's: a path through either is a loop. */
  readonly ownAsn: number;
  readonly routerId: number;
  readonly clusterId: number;
  /** Our address on the session: what comes back as next hop leads nowhere. */
  readonly localAddress: string | undefined;
}

const writer = new AttributeWriter();

/** From a received set to the accepted one (positive), or to why it is refused (negative code of `refusedNames`). */
export class Importer {
  readonly context: ImportContext;
  readonly policy: BoundPolicy | undefined;
  readonly usesPrefix: boolean;
  readonly #sets: AttributeTable;
  /** The whole way when no prefix is looked at; otherwise only the checks. */
  readonly #memo: SetMemo;
  /** What is done after the policy. */
  readonly #final: SetMemo;

  constructor(sets: AttributeTable, context: ImportContext, policy: BoundPolicy | undefined) {
    this.context = context;
    this.policy = policy;
    this.usesPrefix = policy?.usesPrefix === true;
    this.#sets = sets;
    this.#memo = new SetMemo(sets);
    this.#final = new SetMemo(sets);
  }

  /** The number is good as long as `set` is held. */
  run(set: number, prefix: PrefixFields): number {
    const known = this.#memo.get(set, 1);
    if (known < 0 || (known > 0 && !this.usesPrefix)) return known;
    if (known === 0) {
      const checked = this.#check(set);
      if (checked < 0 || this.usesPrefix) {
        this.#memo.set(set, 1, checked);
        if (checked < 0) return checked;
      } else {
        const result = this.#apply(set, prefix);
        this.#memo.set(set, 1, result);
        return result;
      }
    }
    return this.#apply(set, prefix);
  }

  /** The set itself, or why it cannot be used whatever the policy says. */
  #check(set: number): number {
    const { context } = this;
    const sets = this.#sets;
    const { bytes } = sets;
    const start = sets.start(set);
    const end = sets.end(set);
    if (
      countAs(bytes, start, end, context.localAsn) > 0 ||
      (context.ownAsn !== context.localAsn && countAs(bytes, start, end, context.ownAsn) > 0)
    ) {
      return -refusedCode('as-loop');
    }
    if (!context.external) {
      // RFC 4456 section 8.
      if (
        (sets.flags[set]! & SetFlag.hasOriginator) !== 0 &&
        sets.originatorId[set] === context.routerId
      ) {
        return -refusedCode('originator-loop');
      }
      if (hasCluster(bytes, start, end, context.clusterId)) return -refusedCode('cluster-loop');
    }
    const hop = sets.nextHops.address(sets.nextHop[set]!);
    if (hop !== undefined && hop === context.localAddress) return -refusedCode('own-next-hop');
    if (context.external && this.policy === undefined) return -refusedCode('no-policy');
    return set;
  }

  #apply(set: number, prefix: PrefixFields): number {
    const { policy, context } = this;
    let result = set;
    if (policy !== undefined) {
      result = policy.run(set, prefix, context.kind, undefined);
      if (result === 0) return -refusedCode('policy');
    }
    // RFC 8326 section 4.3: least preferred, so that whoever has another path leaves this one.
    if (!context.external || (this.#sets.flags[result]! & SetFlag.gracefulShutdown) === 0)
      return result;
    const known = this.#final.get(result, 1);
    if (known !== 0) return known;
    const shut = withLocalPreference(this.#sets, result, 0);
    this.#final.set(result, 1, shut);
    this.#sets.release(shut);
    return shut;
  }

  close(): void {
    this.#memo.close();
    this.#final.close();
  }
}

function rewritten(
  sets: AttributeTable,
  set: number,
  type: number,
  flags: number,
  value: Uint8Array,
): number {
  const bytes = writer.edit(sets.bytes, sets.start(set), sets.end(set), [{ type, flags, value }]);
  return sets.intern(bytes, 0, bytes.length, hashBytes(bytes, 0, bytes.length), sets.nextHop[set]!);
}

/** One reference to the result is the caller's. */
export function withLocalPreference(sets: AttributeTable, set: number, value: number): number {
  return rewritten(sets, set, AttributeType.localPreference, 0x40, u32Bytes(value));
}

/** With the LLGR_STALE community (RFC 9494 section 4.2). One reference to the result is the caller's. */
export function withLlgrStale(sets: AttributeTable, set: number): number {
  const range = { start: 0, end: 0 };
  const has = findAttribute(
    sets.bytes,
    sets.start(set),
    sets.end(set),
    AttributeType.communities,
    range,
  );
  const list: number[] = [];
  if (has) {
    for (let at = range.start; at < range.end; at += 4) {
      const b = sets.bytes;
      list.push(((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0);
    }
  }
  if (!list.includes(WellKnown.llgrStale >>> 0)) list.push(WellKnown.llgrStale >>> 0);
  list.sort((a, b) => a - b);
  const value = new Uint8Array(list.length * 4);
  list.forEach((community, i) => {
    value.set(u32Bytes(community), i * 4);
  });
  return rewritten(sets, set, AttributeType.communities, 0xc0, value);
}
