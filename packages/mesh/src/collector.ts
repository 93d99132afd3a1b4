import { type CallOptions, type Kv, type KvEntry, unchanged } from '@causeway/etcd';
import { type IdentityLayout, NumericIdentity } from '@causeway/identity';
import { IDENTITY_CLAIMS } from './allocator.ts';
import { IDENTITY_IDS, IDENTITY_VALUES } from './keys.ts';
import type { ClusterRef } from './sources.ts';

export interface CollectorOptions {
  readonly kv: Kv;
  readonly cluster: ClusterRef;
  readonly layout: IdentityLayout;
}

export interface CollectorResult {
  readonly used: number;
  /** Unused for the first time: gone next time, unless somebody uses them by then. */
  readonly suspects: number;
  readonly removed: readonly NumericIdentity[];
}

/**
 * Takes away numbers of this cluster that no node uses, once two rounds in a row found them so, as
 * Cilium's operator does. A node that had just taken one puts it back when it sees it go.
 */
export class IdentityCollector {
  readonly #options: CollectorOptions;
  /** Keys that the last round found unused, with their revision then. */
  #suspects = new Map<string, number>();

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  async round(options: CallOptions = {}): Promise<CollectorResult> {
    const { kv, layout, cluster } = this.#options;
    const ids: KvEntry[] = [];
    for await (const { entries } of kv.pages(IDENTITY_IDS, options)) ids.push(...entries);
    // Uses are read after the numbers: what is used by then is never a suspect.
    const used = new Set<string>();
    for await (const { entries } of kv.pages(IDENTITY_VALUES, options)) {
      for (const { text } of entries) used.add(text);
    }
    const { min, max } = layout.allocationRange(cluster.id);
    const suspects = new Map<string, number>();
    const removed: NumericIdentity[] = [];
    for (const entry of ids) {
      const number = entry.key.slice(IDENTITY_IDS.length);
      const id = Number(number);
      if (used.has(number) || !(id >= min && id <= max)) continue;
      if (this.#suspects.get(entry.key) !== entry.modRevision) {
        suspects.set(entry.key, entry.modRevision);
      } else if (await this.#remove(entry, number, options)) {
        removed.push(NumericIdentity(id));
      }
    }
    this.#suspects = suspects;
    return { used: used.size, suspects: suspects.size, removed };
  }

  async #remove(entry: KvEntry, number: string, options: CallOptions): Promise<boolean> {
    const { kv } = this.#options;
    const claim = await kv.get(IDENTITY_CLAIMS + entry.text, options);
    const ours = claim !== undefined && claim.text === number ? [claim] : [];
    const { succeeded } = await kv.txn(
      {
        compare: [unchanged(entry), ...ours.map(unchanged)],
        success: [entry, ...ours].map(({ key }) => ({ type: 'delete', key })),
      },
      options,
    );
    return succeeded;
  }
}
