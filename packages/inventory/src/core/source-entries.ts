import type { InventoryError } from '../errors.ts';
import type { SourceItem, SourceReport } from '../source.ts';
import { type GuardSettings, Withheld } from './guard.ts';
import { checkItem } from './item.ts';
import type { Entry } from './member.ts';
import type { Mapping } from './rules.ts';

export interface SourceSettings {
  readonly name: string;
  readonly type: string;
  readonly mapping: Mapping;
  readonly guard: GuardSettings;
}

export interface Refusal {
  readonly id: string;
  readonly field: string | undefined;
  readonly value: unknown;
  readonly message: string;
}

export interface SourceView {
  readonly name: string;
  readonly type: string;
  /** It has given a whole list since the start. */
  readonly synced: boolean;
  readonly report: SourceReport;
  readonly items: number;
  readonly leftOut: number;
  readonly expired: number;
  readonly warnings: number;
  readonly refused: { readonly count: number; readonly newest: readonly Refusal[] };
  readonly withheld: ReturnType<Withheld['view']>;
  readonly snapshots: number;
}

const MAX_REFUSED = 100;

/** What one source has said: entries by their ids, what was refused of it, and what is kept back. */
export class SourceEntries {
  readonly name: string;
  /** Undefined for one that is configured no more. */
  readonly settings: SourceSettings | undefined;
  readonly withheld: Withheld;
  report: SourceReport = { state: 'connecting' };
  readonly #entries = new Map<string, Entry>();
  /** Those with a time to live. */
  readonly #mortal = new Set<Entry>();
  readonly #refused = new Map<string, Refusal>();
  #refusedUnshown = 0;
  #leftOut = 0;
  #snapshots = 0;

  constructor(name: string, guard: GuardSettings, settings?: SourceSettings) {
    this.name = name;
    this.settings = settings;
    this.withheld = new Withheld(guard);
  }

  get size(): number {
    return this.#entries.size;
  }

  get synced(): boolean {
    return this.#snapshots > 0;
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id);
  }

  values(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  /** Puts an entry into the place of the one with its id, which is returned. */
  set(entry: Entry): Entry | undefined {
    const before = this.#entries.get(entry.id);
    this.#entries.set(entry.id, entry);
    if (before !== undefined) this.#uncount(before);
    if (entry.leftOut) this.#leftOut++;
    else if (entry.expires !== Number.POSITIVE_INFINITY) this.#mortal.add(entry);
    return before;
  }

  delete(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    this.#entries.delete(id);
    this.#uncount(entry);
    this.withheld.forget(id);
    return entry;
  }

  renew(entry: Entry, expires: number): void {
    entry.expires = expires;
    this.#mortal.add(entry);
  }

  /** Those whose time is over by now, each once. */
  *takeExpired(now: number): Generator<Entry> {
    for (const entry of this.#mortal) {
      if (entry.expires > now) continue;
      this.#mortal.delete(entry);
      entry.expired = true;
      yield entry;
    }
  }

  missingFrom(named: ReadonlySet<string>): string[] {
    const missing: string[] = [];
    for (const id of this.#entries.keys()) if (!named.has(id)) missing.push(id);
    return missing;
  }

  /** Endpoints that are named, but no longer pass the filters: their facts or the filters have changed. */
  omitted(items: readonly SourceItem[]): string[] {
    const mapping = this.settings?.mapping;
    if (mapping === undefined || !mapping.filters) return [];
    return items.flatMap((given) => {
      const entry = this.#entries.get(given.id);
      if (entry === undefined || entry.leftOut) return [];
      try {
        return mapping.leavesOut(checkItem(given)) === undefined ? [] : [given.id];
      } catch {
        return [];
      }
    });
  }

  snapshotBegins(): void {
    this.#refused.clear();
    this.#refusedUnshown = 0;
  }

  snapshotEnds(): void {
    this.#snapshots++;
  }

  refuse(given: SourceItem, error: unknown): void {
    const { field, value, message } = error as Partial<InventoryError>;
    const id = String(given?.id).slice(0, 253);
    if (this.#refused.size >= MAX_REFUSED && !this.#refused.has(id)) {
      this.#refusedUnshown++;
      return;
    }
    this.#refused.set(id, { id, field, value, message: message ?? String(error) });
  }

  /** What it says of this id now is sound, or it says nothing. */
  unrefuse(id: string): void {
    this.#refused.delete(id);
  }

  view(now: number): SourceView {
    let warnings = 0;
    let expired = 0;
    for (const entry of this.#entries.values()) {
      if (entry.warnings.length > 0) warnings++;
      if (entry.expired) expired++;
    }
    return {
      name: this.name,
      type: this.settings?.type ?? 'gone',
      synced: this.synced,
      report: this.report,
      items: this.#entries.size - this.#leftOut - expired,
      leftOut: this.#leftOut,
      expired,
      warnings,
      refused: {
        count: this.#refused.size + this.#refusedUnshown,
        newest: [...this.#refused.values()],
      },
      withheld: this.withheld.view(now),
      snapshots: this.#snapshots,
    };
  }

  #uncount(entry: Entry): void {
    if (entry.leftOut) this.#leftOut--;
    this.#mortal.delete(entry);
  }
}
