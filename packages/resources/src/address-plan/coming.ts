import {
  type CallOptions,
  type Compare,
  type Kv,
  type KvEntry,
  type Lease,
  present,
  type TxnOperation,
} from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import type { PlanRange } from '@causeway/ipam';
import * as z from 'zod';

/** Written with every word about what is coming: who compares it has read all of them, or loses. */
export const COMING_COUNT = 'causeway/allocations/address-plan-coming';
/** What is about to be written: one key per lease and part, gone with whoever applies it. */
export const COMING_RANGES = `${COMING_COUNT}/`;

/** Seconds for which the ranges of somebody who died over applying them are refused to nodes. */
const TTL = 10;
/** In one key; a request may hold ten times as many. */
const PART = 1000;

const schema = z.array(
  z.strictObject({
    cidr: z.custom<Prefix>((value) => typeof value === 'string' && Prefix.is(value)),
    use: z.enum(['vpc', 'pods', 'services', 'nodes', 'vips']),
    scope: z.strictObject({
      region: z.string().exactOptional(),
      vpc: z.string().exactOptional(),
      cluster: z.string().exactOptional(),
    }),
    owner: z.string(),
    level: z.enum(['plan', 'object']),
  }),
);

/**
 * Ranges that somebody is about to take, said before he looks at who has them: a node that comes behind his look sees
 * this, and whoever else applies ranges does not heed it, for between those the plan's guard decides.
 */
export class ComingRanges implements AsyncDisposable {
  readonly #lease: Lease;
  readonly #keys: readonly string[];

  private constructor(lease: Lease, keys: readonly string[]) {
    this.#lease = lease;
    this.#keys = keys;
  }

  /** Throws KvError. */
  static async say(
    kv: Kv,
    ranges: readonly PlanRange[],
    options: CallOptions,
  ): Promise<ComingRanges> {
    const lease = await kv.lease(TTL, options);
    const keys: string[] = [];
    try {
      for (let at = 0; at < ranges.length; at += PART) {
        const key = `${COMING_RANGES}${lease.id}/${keys.length}`;
        const value = JSON.stringify(ranges.slice(at, at + PART));
        const success: TxnOperation[] = [
          { type: 'put', key, value, lease: lease.id },
          { type: 'put', key: COMING_COUNT, value: '' },
        ];
        await kv.txn({ compare: [], success }, options);
        keys.push(key);
      }
    } catch (error) {
      await lease[Symbol.asyncDispose]();
      throw error;
    }
    return new ComingRanges(lease, keys);
  }

  /** Must stand in every transaction that takes of the ranges: nothing is written once the word is not kept. */
  get compare(): Compare[] {
    // A lease's keys go together.
    return this.#keys.slice(0, 1).map(present);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lease[Symbol.asyncDispose]();
  }
}

/** What everybody is about to take, as far as it can be parsed. Throws KvError. */
export async function readComing(
  kv: Kv,
  cluster: string | undefined,
  options: CallOptions,
): Promise<PlanRange[]> {
  const found: PlanRange[] = [];
  for await (const { entries } of kv.pages(COMING_RANGES, options)) {
    for (const range of entries.flatMap(rangesIn)) {
      const own = range.level === 'object' && cluster !== undefined;
      found.push(own ? { ...range, scope: { cluster } } : range);
    }
  }
  return found;
}

function rangesIn({ text }: KvEntry): PlanRange[] {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return [];
  }
}
