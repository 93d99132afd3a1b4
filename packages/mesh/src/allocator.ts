import { absent, type CallOptions, type Kv, type KvEntry, type TxnOperation } from '@causeway/etcd';
import { type IdentityLayout, type LabelSet, NumericIdentity } from '@causeway/identity';
import type { Clock, Table } from '@causeway/tables';
import { type Announcement, announceIdentityUse } from './announcements.ts';
import { MeshError } from './errors.ts';
import { IDENTITY_IDS, identityKey, identityValuePrefix } from './keys.ts';
import type { IdentityRow } from './rows.ts';
import type { ClusterRef } from './sources.ts';

/**
 * One record per label set of this cluster, beside Cilium's keys: creating it is what makes one
 * number win when many nodes ask at once.
 */
export const IDENTITY_CLAIMS = 'causeway/allocations/identities/';

/** Random numbers tried before the range is searched for a free one. */
const RANDOM_TRIES = 8;
const ATTEMPTS = 64;

export interface AllocatorOptions {
  readonly kv: Kv;
  readonly cluster: ClusterRef;
  readonly layout: IdentityLayout;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** What the readers know: a known label set needs no round trip. */
  readonly identities: Table<IdentityRow, number, 'labels'>;
  /** Where the use of an identity is announced. */
  readonly announcements: Table<Announcement, string>;
  /** This node's address: the end of its `value/` keys. */
  readonly suffix: string;
}

/** A held identity got another number, because its own was given away while the store was lost. */
export interface Renumbered {
  readonly labels: LabelSet;
  readonly before: NumericIdentity;
  readonly after: NumericIdentity;
}

interface Held {
  readonly labels: LabelSet;
  id: NumericIdentity;
  uses: number;
}

/**
 * Numbers for label sets, the same on every node of the cluster. The number's key has no lease: a
 * number outlives its users until `IdentityCollector` takes it. Each node announces its use on its
 * own lease.
 */
export class IdentityAllocator {
  readonly #options: AllocatorOptions;
  readonly #held = new Map<string, Held>();
  readonly #pending = new Map<string, Promise<NumericIdentity>>();

  constructor(options: AllocatorOptions) {
    this.#options = options;
  }

  /** The number of a label set and one more use of it; `release` once for each. */
  async acquire(labels: LabelSet, options: CallOptions = {}): Promise<NumericIdentity> {
    const { text } = labels;
    // Checked first: what cannot be announced must not be numbered.
    identityValuePrefix(text);
    const id = this.known(labels) ?? (await this.#once(text, options));
    const held = this.#held.get(text);
    if (held !== undefined) held.uses++;
    else this.#held.set(text, { labels, id, uses: 1 });
    this.#announce(text);
    return this.#held.get(text)!.id;
  }

  /** The number that is held or that the readers know, without asking the store. */
  known(labels: LabelSet): NumericIdentity | undefined {
    return this.#held.get(labels.text)?.id ?? this.#known(labels.text);
  }

  release(labels: LabelSet): void {
    const held = this.#held.get(labels.text);
    if (held === undefined || --held.uses > 0) return;
    this.#held.delete(labels.text);
    const { announcements, suffix } = this.#options;
    announcements.delete(announceIdentityUse(labels.text, held.id, suffix).key);
  }

  held(): readonly {
    readonly labels: LabelSet;
    readonly id: NumericIdentity;
    readonly uses: number;
  }[] {
    return [...this.#held.values()];
  }

  /** A number that was held before a restart: taken as it is, and checked by `follow`. */
  restore(labels: LabelSet, id: NumericIdentity): void {
    const held = this.#held.get(labels.text);
    if (held !== undefined) held.uses++;
    else this.#held.set(labels.text, { labels, id, uses: 1 });
    this.#announce(labels.text);
  }

  /**
   * Puts numbers back that the store lost while they are in use, as long as the signal lasts. Tells
   * of those that could not be had again.
   */
  async follow(signal: AbortSignal, renumbered: (change: Renumbered) => void): Promise<void> {
    const { identities, cluster } = this.#options;
    await identities.whenInitialized(signal).catch(() => {});
    if (signal.aborted) return;
    using tracker = identities.changes('identity-allocator', 'now');
    for (const held of [...this.#held.values()]) {
      if (identities.get(held.id)?.labels.text === held.labels.text) continue;
      await this.#putBack(held, signal, renumbered);
    }
    for await (const changes of tracker.batches({ signal })) {
      const byId = new Map(Array.from(this.#held.values(), (held) => [held.id, held] as const));
      for (const { type, row } of changes) {
        const held = row.cluster === cluster.name ? byId.get(row.id) : undefined;
        // A number that says other labels now was lost and given away between two of our looks.
        const lost = type === 'delete' || held?.labels.text !== row.labels.text;
        if (held !== undefined && lost) await this.#putBack(held, signal, renumbered);
      }
    }
  }

  async #putBack(
    held: Held,
    signal: AbortSignal,
    renumbered: (change: Renumbered) => void,
  ): Promise<void> {
    const { text } = held.labels;
    const before = held.id;
    while (!signal.aborted && this.#held.get(text) === held) {
      try {
        const after = await this.#allocate(text, { signal }, before);
        if (after === before) return;
        held.id = after;
        this.#announce(text);
        renumbered({ labels: held.labels, before, after });
        return;
      } catch {
        // Whatever it was, the number is in use and must come back.
        await this.#options.clock.sleep(1000, signal);
      }
    }
  }

  #announce(text: string): void {
    const held = this.#held.get(text);
    if (held === undefined) return;
    this.#options.announcements.put(announceIdentityUse(text, held.id, this.#options.suffix));
  }

  /** The lowest number that the readers know for the labels. */
  #known(text: string): NumericIdentity | undefined {
    const { identities, cluster } = this.#options;
    let best: NumericIdentity | undefined;
    for (const row of identities.by('labels', text)) {
      if (row.cluster === cluster.name && (best === undefined || row.id < best)) best = row.id;
    }
    return best;
  }

  /** Many pods of one workload start at once: one question is enough. */
  #once(text: string, options: CallOptions): Promise<NumericIdentity> {
    const pending = this.#pending.get(text);
    if (pending !== undefined) return pending;
    const made = this.#allocate(text, options).finally(() => this.#pending.delete(text));
    this.#pending.set(text, made);
    return made;
  }

  async #allocate(
    text: string,
    options: CallOptions,
    preferred?: NumericIdentity,
  ): Promise<NumericIdentity> {
    const tried = new Set<number>();
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const claim = await this.#readClaim(text, options);
      if (claim.entry !== undefined && claim.id !== undefined) {
        if (await this.#confirm(text, claim.entry, claim.id, options)) return claim.id;
        continue;
      }
      const wanted = [preferred, claim.id].find((id) => id !== undefined && !tried.has(id));
      const id = wanted ?? (await this.#candidate(attempt, options));
      tried.add(id);
      if (await this.#create(text, id, options)) return id;
    }
    throw new MeshError('contention', `no identity for ${text} after ${ATTEMPTS} attempts`, text);
  }

  /** The claim's number, or without a claim the one that other nodes, perhaps real Cilium, use. */
  async #readClaim(
    text: string,
    options: CallOptions,
  ): Promise<{ entry: KvEntry | undefined; id: NumericIdentity | undefined }> {
    const { kv } = this.#options;
    const { results } = await kv.txn(
      {
        compare: [],
        success: [
          { type: 'get', key: IDENTITY_CLAIMS + text },
          { type: 'list', prefix: identityValuePrefix(text) },
        ],
      },
      options,
    );
    const [claim, uses] = results;
    const entry = claim?.type === 'get' ? claim.entry : undefined;
    if (entry !== undefined) return { entry, id: this.#number(entry.text) ?? this.#invalid() };
    const used = uses?.type === 'list' ? uses.entries : [];
    const ids = used.flatMap((each) => this.#number(each.text) ?? []);
    return {
      entry: undefined,
      id: ids.length === 0 ? undefined : NumericIdentity(Math.min(...ids)),
    };
  }

  /** A claim that holds no number of ours is replaced: `confirm` finds nothing under 0. */
  #invalid(): NumericIdentity {
    return NumericIdentity(0);
  }

  #number(text: string): NumericIdentity | undefined {
    const { layout, cluster } = this.#options;
    if (!/^[1-9]\d{0,8}$/.test(text)) return undefined;
    const id = NumericIdentity(Number(text));
    const { min, max } = layout.allocationRange(cluster.id);
    return id >= min && id <= max ? id : undefined;
  }

  /** Makes sure that the claimed number still says these labels; a claim that cannot hold is removed. */
  async #confirm(
    text: string,
    claim: KvEntry,
    id: NumericIdentity,
    options: CallOptions,
  ): Promise<boolean> {
    const { kv } = this.#options;
    const key = identityKey(id);
    const unchanged = {
      type: 'mod',
      key: claim.key,
      operator: '=',
      revision: claim.modRevision,
    } as const;
    if (id !== 0) {
      const entry = await kv.get(key, options);
      if (entry?.text === text) return true;
      if (entry === undefined) {
        const { succeeded } = await kv.txn(
          { compare: [unchanged, absent(key)], success: [{ type: 'put', key, value: text }] },
          options,
        );
        return succeeded;
      }
    }
    const success: TxnOperation[] = [{ type: 'delete', key: claim.key }];
    await kv.txn({ compare: [unchanged], success }, options);
    return false;
  }

  /** Claims the labels and creates the number's key in one step, or takes over the key that says them. */
  async #create(text: string, id: NumericIdentity, options: CallOptions): Promise<boolean> {
    const { kv } = this.#options;
    const claim = IDENTITY_CLAIMS + text;
    const key = identityKey(id);
    const put = (at: string, value: string): TxnOperation => ({ type: 'put', key: at, value });
    const { succeeded, results } = await kv.txn(
      {
        compare: [absent(claim), absent(key)],
        success: [put(claim, String(id)), put(key, text)],
        failure: [{ type: 'get', key }],
      },
      options,
    );
    if (succeeded) return true;
    const [taken] = results;
    if (taken?.type !== 'get' || taken.entry?.text !== text) return false;
    const adopted = await kv.txn(
      {
        compare: [absent(claim), { type: 'value', key, operator: '=', value: text }],
        success: [put(claim, String(id))],
      },
      options,
    );
    return adopted.succeeded;
  }

  /** A number that nobody is known to use: random at first, then by searching the whole range. */
  async #candidate(attempt: number, options: CallOptions): Promise<NumericIdentity> {
    const { layout, cluster, random, identities, kv } = this.#options;
    const { min, max } = layout.allocationRange(cluster.id);
    const size = max - min + 1;
    const start = Math.min(size - 1, Math.floor(random() * size));
    let isUsed = (id: number): boolean => identities.has(id);
    if (attempt >= RANDOM_TRIES) {
      const used = new Set<number>();
      for await (const { entries } of kv.pages(IDENTITY_IDS, { ...options, keysOnly: true })) {
        for (const { key } of entries) used.add(Number(key.slice(IDENTITY_IDS.length)));
      }
      isUsed = (id) => used.has(id);
    }
    for (let step = 0; step < size; step++) {
      const id = min + ((start + step) % size);
      if (!isUsed(id)) return NumericIdentity(id);
    }
    throw new MeshError(
      'identities-exhausted',
      `all ${size} identities of cluster ${cluster.name} (${min} to ${max}) are in use`,
      size,
    );
  }
}
