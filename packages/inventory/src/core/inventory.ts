import type { LabelSet } from '@causeway/identity';
import type { Address } from '@causeway/ip';
import { deepEqual } from '@causeway/tables';
import { InventoryError } from '../errors.ts';
import type { SourceItem, SourceReport } from '../source.ts';
import type { ExpiredItem } from './expired.ts';
import type { GuardSettings } from './guard.ts';
import { Holdings } from './holdings.ts';
import { checkItem, type Item } from './item.ts';
import type { Endpoint, Entry, Member } from './member.ts';
import { SourceEntries, type SourceSettings, type SourceView } from './source-entries.ts';

export interface InventoryOptions {
  readonly sources: readonly SourceSettings[];
  /** For what the store holds of sources that are configured no more. */
  readonly guard: GuardSettings;
  /** Why an address may not be an endpoint's here; undefined if it may. */
  readonly refuses: (address: Address) => string | undefined;
}

/** Items in one step: a few ms. */
const STEP = 500;
const NONE: readonly string[] = Object.freeze([]);

/**
 * What all sources say, and what follows from it: which endpoint each address is. Pure: time is handed in,
 * in ms, and only its differences count. Whoever writes takes the addresses that may have changed by
 * `takeChanged` and asks `endpoint` for each.
 */
export class Inventory {
  readonly #options: InventoryOptions;
  readonly #sources = new Map<string, SourceEntries>();
  readonly #holdings = new Holdings();
  readonly #labelTexts = new Map<string, string>();

  constructor(options: InventoryOptions) {
    this.#options = options;
    for (const settings of options.sources) this.#add(settings.name, settings.guard, settings);
  }

  get addresses(): number {
    return this.#holdings.claims.size;
  }

  get changed(): number {
    return this.#holdings.changed;
  }

  /** Every configured source has given a whole list. */
  get synced(): boolean {
    return [...this.#sources.values()].every(
      ({ settings, synced }) => settings === undefined || synced,
    );
  }

  /** What the store held before: it stays until its source says otherwise. Before anything else. */
  restore(endpoint: Endpoint): void {
    const source =
      this.#sources.get(endpoint.source) ?? this.#add(endpoint.source, this.#options.guard);
    const labels = this.#intern(endpoint.labels);
    this.#place(source, { ...endpoint, labels, item: undefined, warnings: NONE, ...LIVE });
  }

  /** After the last `restore`: what belongs to sources that are configured no more goes as the guard allows. */
  restored(now: number): void {
    // It is as the store has it.
    this.#holdings.settle();
    for (const source of this.#sources.values()) {
      if (source.settings !== undefined) continue;
      source.report = { state: 'failed', message: 'no longer configured: its endpoints go' };
      this.#sweep(source, new Set(), now);
    }
  }

  snapshot(name: string, items: readonly SourceItem[], now: number): void {
    for (const _ of this.snapshotInSteps(name, items, now));
  }

  /**
   * The same with pauses, for lists that take long: between the steps other work may go on, but nothing of this
   * source's. The source has spoken when the last step is done.
   */
  *snapshotInSteps(name: string, items: readonly SourceItem[], now: number): Generator<void> {
    const source = this.#source(name);
    source.snapshotBegins();
    const named = new Set<string>();
    // What is gone gives its addresses up before others claim them; what is doubted gives way to them.
    for (const { id } of items) named.add(id);
    for (const id of source.omitted(items)) named.delete(id);
    this.#sweep(source, named, now);
    let left = STEP;
    for (const item of items) {
      this.#see(source, item, now, false);
      if (--left > 0) continue;
      left = STEP;
      yield;
    }
    source.snapshotEnds();
  }

  put(name: string, item: SourceItem, now: number): void {
    this.#see(this.#source(name), item, now, true);
  }

  delete(name: string, id: string): void {
    const source = this.#source(name);
    source.unrefuse(id);
    this.#remove(source, id);
  }

  report(name: string, report: SourceReport): void {
    this.#source(name).report = report;
  }

  /** Lets through what the guard keeps back. @throws InventoryError `nothing-withheld`. */
  accept(name: string): number {
    const source = this.#source(name);
    if (!source.withheld.any) {
      throw new InventoryError('nothing-withheld', `nothing of source ${name} is withheld`, {
        field: 'source',
        value: name,
      });
    }
    return this.#letGo(source);
  }

  /** What time brings: expired endpoints, and removals that have waited long enough. */
  tick(now: number): readonly ExpiredItem[] {
    const expired: ExpiredItem[] = [];
    for (const source of this.#sources.values()) {
      if (source.withheld.due(now)) this.#letGo(source);
      if (source.settings === undefined && source.size === 0) this.#sources.delete(source.name);
      for (const entry of source.takeExpired(now)) {
        this.#holdings.release(entry);
        expired.push({ source: source.name, id: entry.id, version: entry.item?.version });
      }
    }
    return expired;
  }

  endpoint(address: Address): Endpoint | undefined {
    return this.#holdings.claims.holder(address);
  }

  takeChanged(most: number): Address[] {
    return this.#holdings.takeChanged(most);
  }

  /** Has `endpoint` asked for again: a write got lost. */
  touch(addresses: Iterable<Address>): void {
    this.#holdings.touch(addresses);
  }

  allAddresses(): IterableIterator<Address> {
    return this.#holdings.claims.addresses();
  }

  claimants(address: Address): {
    readonly holder: Member | undefined;
    readonly waiting: readonly Member[];
  } {
    return {
      holder: this.#holdings.claims.holder(address),
      waiting: this.#holdings.claims.waiting(address),
    };
  }

  conflicts(): Generator<{ address: Address; holder: Member; waiting: readonly Member[] }> {
    return this.#holdings.claims.contested();
  }

  get conflictCount(): number {
    return this.#holdings.claims.conflicts;
  }

  *members(name?: string): Generator<Member> {
    for (const source of this.#sources.values()) {
      if (name !== undefined && source.name !== name) continue;
      for (const entry of source.values()) if (!entry.leftOut && !entry.expired) yield entry;
    }
  }

  sources(now: number): SourceView[] {
    return Array.from(this.#sources.values(), (source) => source.view(now));
  }

  #source(name: string): SourceEntries {
    const source = this.#sources.get(name);
    if (source !== undefined) return source;
    throw new InventoryError('unknown-source', `there is no source ${name}`, {
      field: 'source',
      value: name,
      hint: `sources are ${[...this.#sources.keys()].join(', ')}`,
    });
  }

  #add(name: string, guard: GuardSettings, settings?: SourceSettings): SourceEntries {
    const source = new SourceEntries(name, guard, settings);
    this.#sources.set(name, source);
    return source;
  }

  /** One item as its source says it. `renewed`: it was written just now, whatever its version says. */
  #see(source: SourceEntries, given: SourceItem, now: number, renewed: boolean): void {
    let item: Item;
    try {
      item = checkItem(given);
      for (const [index, address] of item.addresses.entries()) {
        const why = this.#options.refuses(address);
        if (why === undefined) continue;
        const field = `addresses[${index}]`;
        throw new InventoryError('bad-item', `${field} ${why}`, { field, value: address });
      }
    } catch (error) {
      // What it said before stays: a mistyped field must not take a machine off the mesh.
      source.refuse(given, error);
      this.#keep(source, String(given?.id));
      return;
    }
    source.unrefuse(item.id);
    const before = source.get(item.id);
    // What the filters would take away all at once waits like what a list does not name.
    if (before?.withheld && source.settings?.mapping.leavesOut(item) !== undefined) return;
    this.#keep(source, item.id);
    if (before?.item !== undefined && deepEqual(before.item, item)) {
      const again = renewed || item.version === undefined;
      if (again && before.expires !== Number.POSITIVE_INFINITY) this.#renew(source, before, now);
      return;
    }
    this.#place(source, this.#entry(source, item, now));
  }

  #entry(source: SourceEntries, item: Item, now: number): Entry {
    const mapping = source.settings?.mapping;
    const leftOut = mapping?.leavesOut(item) !== undefined;
    const mapped = leftOut ? undefined : mapping?.labelsOf(item);
    const { ttlSeconds } = item;
    return {
      source: source.name,
      id: item.id,
      name: item.name,
      namespace: mapped?.namespace ?? item.namespace ?? '',
      serviceAccount: item.serviceAccount ?? '',
      labels: this.#intern(textOf(mapped?.labels)),
      nodeAddress: item.nodeAddress,
      addresses: item.addresses,
      item,
      warnings: mapped?.warnings ?? NONE,
      withheld: false,
      leftOut,
      expired: false,
      expires: ttlSeconds === undefined ? Number.POSITIVE_INFINITY : now + ttlSeconds * 1000,
    };
  }

  /** Puts an entry into the place of the one with its id, if there is one. */
  #place(source: SourceEntries, entry: Entry): void {
    this.#holdings.exchange(source.set(entry), entry);
  }

  #renew(source: SourceEntries, entry: Entry, now: number): void {
    source.renew(entry, now + (entry.item?.ttlSeconds ?? 0) * 1000);
    if (!entry.expired) return;
    entry.expired = false;
    this.#holdings.claim(entry);
  }

  /** Takes away what a whole list does not name, at once or, if that is too much, when the guard lets it. */
  #sweep(source: SourceEntries, named: ReadonlySet<string>, now: number): void {
    const missing = source.missingFrom(named);
    if (!source.withheld.keepsBack(missing, source.size, now)) {
      for (const id of missing) this.#remove(source, id);
      return;
    }
    for (const id of missing) {
      const entry = source.get(id);
      if (entry === undefined || entry.withheld) continue;
      entry.withheld = true;
      this.#holdings.weaken(entry);
    }
  }

  /** It is named again, whatever else is said of it, and has its addresses before those that are not. */
  #keep(source: SourceEntries, id: string): void {
    const entry = source.get(id);
    if (entry === undefined || !entry.withheld) return;
    entry.withheld = false;
    source.withheld.forget(id);
    if (!entry.leftOut && !entry.expired) this.#holdings.claim(entry);
  }

  #letGo(source: SourceEntries): number {
    const ids = source.withheld.takeAll();
    for (const id of ids) this.#remove(source, id);
    return ids.size;
  }

  #remove(source: SourceEntries, id: string): void {
    const entry = source.delete(id);
    if (entry !== undefined && !entry.leftOut && !entry.expired) this.#holdings.release(entry);
  }

  #intern(text: string): string {
    const known = this.#labelTexts.get(text);
    if (known !== undefined) return known;
    // Texts of sets that are gone are few beside those in use, but not for ever.
    if (this.#labelTexts.size > 4 * (this.#holdings.claims.size + 1024)) this.#labelTexts.clear();
    this.#labelTexts.set(text, text);
    return text;
  }
}

const LIVE = { withheld: false, leftOut: false, expired: false, expires: Number.POSITIVE_INFINITY };
const textOf = (labels: LabelSet | undefined): string => labels?.text ?? '';
