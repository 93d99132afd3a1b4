import type { LabelSet } from '@causeway/identity';
import type { Address } from '@causeway/ip';
import { deepEqual } from '@causeway/tables';
import { InventoryError } from '../errors.ts';
import type { SourceItem, SourceReport } from '../source.ts';
import { Claims } from './claims.ts';
import type { ExpiredItem } from './expired.ts';
import { doubted, type GuardSettings } from './guard.ts';
import { checkItem, type Item } from './item.ts';
import type { Mapping } from './rules.ts';

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
  readonly withheld:
    | { readonly count: number; readonly of: number; readonly secondsLeft: number }
    | undefined;
  readonly snapshots: number;
}

export interface SourceSettings {
  readonly name: string;
  readonly type: string;
  readonly mapping: Mapping;
  readonly guard: GuardSettings;
}

export interface InventoryOptions {
  readonly sources: readonly SourceSettings[];
  /** For what the store holds of sources that are configured no more. */
  readonly guard: GuardSettings;
  /** Why an address may not be an endpoint's here; undefined if it may. */
  readonly refuses: (address: Address) => string | undefined;
}

interface Entry extends Member {
  withheld: boolean;
  /** ms; Infinity without a time to live. */
  expires: number;
  leftOut: boolean;
  expired: boolean;
}

interface State {
  readonly settings: SourceSettings | undefined;
  readonly name: string;
  readonly guard: GuardSettings;
  readonly entries: Map<string, Entry>;
  readonly refused: Map<string, Refusal>;
  readonly mortal: Set<Entry>;
  refusedUnshown: number;
  withheld: { readonly since: number; readonly of: number; readonly ids: Set<string> } | undefined;
  synced: boolean;
  report: SourceReport;
  leftOut: number;
  snapshots: number;
}

const MAX_REFUSED = 100;
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
  readonly #states = new Map<string, State>();
  readonly #claims = new Claims<Entry>();
  readonly #labelTexts = new Map<string, string>();
  #changed = new Set<Address>();

  constructor(options: InventoryOptions) {
    this.#options = options;
    for (const settings of options.sources) this.#addState(settings.name, settings.guard, settings);
  }

  get addresses(): number {
    return this.#claims.size;
  }

  get changed(): number {
    return this.#changed.size;
  }

  /** Every configured source has given a whole list. */
  get synced(): boolean {
    return [...this.#states.values()].every(
      ({ settings, synced }) => settings === undefined || synced,
    );
  }

  /** What the store held before: it stays until its source says otherwise. Before anything else. */
  restore(endpoint: Endpoint): void {
    const state =
      this.#states.get(endpoint.source) ?? this.#addState(endpoint.source, this.#options.guard);
    const labels = this.#intern(endpoint.labels);
    this.#place(state, { ...endpoint, labels, item: undefined, warnings: NONE, ...LIVE });
  }

  /** After the last `restore`: what belongs to sources that are configured no more goes as the guard allows. */
  restored(now: number): void {
    // It is as the store has it.
    this.#changed.clear();
    for (const state of this.#states.values()) {
      if (state.settings !== undefined) continue;
      state.report = { state: 'failed', message: 'no longer configured: its endpoints go' };
      this.#sweep(state, new Set(), now);
    }
  }

  snapshot(source: string, items: readonly SourceItem[], now: number): void {
    for (const _ of this.snapshotInSteps(source, items, now));
  }

  /**
   * The same with pauses, for lists that take long: between the steps other work may go on, but nothing of this
   * source's. The source has spoken when the last step is done.
   */
  *snapshotInSteps(source: string, items: readonly SourceItem[], now: number): Generator<void> {
    const state = this.#state(source);
    state.refused.clear();
    state.refusedUnshown = 0;
    const named = new Set<string>();
    // What is gone gives its addresses up before others claim them; what is doubted gives way to them.
    for (const { id } of items) named.add(id);
    for (const id of this.#omitted(state, items)) named.delete(id);
    this.#sweep(state, named, now);
    let left = STEP;
    for (const item of items) {
      this.#see(state, item, now, false);
      if (--left > 0) continue;
      left = STEP;
      yield;
    }
    state.snapshots++;
    state.synced = true;
  }

  put(source: string, item: SourceItem, now: number): void {
    this.#see(this.#state(source), item, now, true);
  }

  delete(source: string, id: string): void {
    const state = this.#state(source);
    state.refused.delete(id);
    this.#remove(state, id);
    this.#settleWithheld(state);
  }

  report(source: string, report: SourceReport): void {
    this.#state(source).report = report;
  }

  /** Lets through what the guard keeps back. @throws InventoryError `nothing-withheld`. */
  accept(source: string): number {
    const state = this.#state(source);
    if (state.withheld === undefined) {
      throw new InventoryError('nothing-withheld', `nothing of source ${source} is withheld`, {
        field: 'source',
        value: source,
      });
    }
    return this.#letGo(state);
  }

  /** What time brings: expired endpoints, and removals that have waited long enough. */
  tick(now: number): readonly ExpiredItem[] {
    const expired: ExpiredItem[] = [];
    for (const state of this.#states.values()) {
      const { withheld } = state;
      if (withheld !== undefined && now - withheld.since >= state.guard.seconds * 1000) {
        this.#letGo(state);
      }
      if (state.settings === undefined && state.entries.size === 0) this.#states.delete(state.name);
      for (const entry of state.mortal) {
        if (entry.expires > now) continue;
        state.mortal.delete(entry);
        this.#unclaim(entry);
        entry.expired = true;
        expired.push({ source: state.name, id: entry.id, version: entry.item?.version });
      }
    }
    return expired;
  }

  endpoint(address: Address): Endpoint | undefined {
    return this.#claims.holder(address);
  }

  takeChanged(most: number): Address[] {
    const taken: Address[] = [];
    for (const address of this.#changed) {
      if (taken.length === most) break;
      taken.push(address);
      this.#changed.delete(address);
    }
    return taken;
  }

  /** Has `endpoint` asked for again: a write got lost. */
  touch(addresses: Iterable<Address>): void {
    for (const address of addresses) this.#changed.add(address);
  }

  allAddresses(): IterableIterator<Address> {
    return this.#claims.addresses();
  }

  claimants(address: Address): {
    readonly holder: Member | undefined;
    readonly waiting: readonly Member[];
  } {
    return { holder: this.#claims.holder(address), waiting: this.#claims.waiting(address) };
  }

  conflicts(): Generator<{ address: Address; holder: Member; waiting: readonly Member[] }> {
    return this.#claims.contested();
  }

  get conflictCount(): number {
    return this.#claims.conflicts;
  }

  *members(source?: string): Generator<Member> {
    for (const state of this.#states.values()) {
      if (source !== undefined && state.name !== source) continue;
      for (const entry of state.entries.values()) if (!entry.leftOut && !entry.expired) yield entry;
    }
  }

  sources(now: number): SourceView[] {
    return [...this.#states.values()].map((state) => {
      const { withheld, guard, entries } = state;
      let warnings = 0;
      let expired = 0;
      for (const entry of entries.values()) {
        if (entry.warnings.length > 0) warnings++;
        if (entry.expired) expired++;
      }
      return {
        name: state.name,
        type: state.settings?.type ?? 'gone',
        synced: state.synced,
        report: state.report,
        items: entries.size - state.leftOut - expired,
        leftOut: state.leftOut,
        expired,
        warnings,
        refused: {
          count: state.refused.size + state.refusedUnshown,
          newest: [...state.refused.values()],
        },
        withheld: withheld && {
          count: withheld.ids.size,
          of: withheld.of,
          secondsLeft: Math.max(0, guard.seconds - (now - withheld.since) / 1000),
        },
        snapshots: state.snapshots,
      };
    });
  }

  #state(source: string): State {
    const state = this.#states.get(source);
    if (state !== undefined) return state;
    throw new InventoryError('unknown-source', `there is no source ${source}`, {
      field: 'source',
      value: source,
      hint: `sources are ${[...this.#states.keys()].join(', ')}`,
    });
  }

  #addState(name: string, guard: GuardSettings, settings?: SourceSettings): State {
    const state: State = {
      settings,
      name,
      guard,
      entries: new Map(),
      refused: new Map(),
      mortal: new Set(),
      refusedUnshown: 0,
      withheld: undefined,
      synced: false,
      report: { state: 'connecting' },
      leftOut: 0,
      snapshots: 0,
    };
    this.#states.set(name, state);
    return state;
  }

  /** One item as its source says it. `renewed`: it was written just now, whatever its version says. */
  #see(state: State, given: SourceItem, now: number, renewed: boolean): void {
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
      this.#refuse(state, given, error);
      this.#keep(state, String(given?.id));
      return;
    }
    state.refused.delete(item.id);
    const before = state.entries.get(item.id);
    // What the filters would take away all at once waits like what a list does not name.
    if (before?.withheld && state.settings?.mapping.leavesOut(item) !== undefined) return;
    this.#keep(state, item.id);
    if (before?.item !== undefined && deepEqual(before.item, item)) {
      const again = renewed || item.version === undefined;
      if (again && before.expires !== Number.POSITIVE_INFINITY) this.#renew(state, before, now);
      return;
    }
    this.#place(state, this.#entry(state, item, now));
  }

  #entry(state: State, item: Item, now: number): Entry {
    const mapping = state.settings?.mapping;
    const leftOut = mapping?.leavesOut(item) !== undefined;
    const mapped = leftOut ? undefined : mapping?.labelsOf(item);
    const { ttlSeconds } = item;
    return {
      source: state.name,
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
  #place(state: State, entry: Entry): void {
    const before = state.entries.get(entry.id);
    state.entries.set(entry.id, entry);
    if (before?.leftOut) state.leftOut--;
    if (before !== undefined) state.mortal.delete(before);
    if (entry.expires !== Number.POSITIVE_INFINITY && !entry.leftOut) state.mortal.add(entry);
    const wanted = entry.leftOut ? NO_ADDRESSES : entry.addresses;
    if (entry.leftOut) state.leftOut++;
    // The new one claims before the old one lets go, and takes its turn: nobody comes between.
    const old =
      before === undefined || before.leftOut || before.expired ? NO_ADDRESSES : before.addresses;
    for (const address of old) {
      if (wanted.includes(address)) this.#claims.replace(address, before as Entry, entry);
      else if (this.#claims.release(address, before as Entry)) this.#changed.add(address);
    }
    for (const address of wanted) {
      this.#claims.claim(address, entry);
      if (this.#claims.holder(address) === entry) this.#changed.add(address);
    }
  }

  #renew(state: State, entry: Entry, now: number): void {
    entry.expires = now + (entry.item?.ttlSeconds ?? 0) * 1000;
    state.mortal.add(entry);
    if (!entry.expired) return;
    entry.expired = false;
    this.#claim(entry);
  }

  /** Endpoints that are named, but no longer pass the filters: their facts or the filters have changed. */
  #omitted(state: State, items: readonly SourceItem[]): string[] {
    const mapping = state.settings?.mapping;
    if (mapping === undefined || !mapping.filters) return [];
    return items.flatMap((given) => {
      const entry = state.entries.get(given.id);
      if (entry === undefined || entry.leftOut) return [];
      try {
        return mapping.leavesOut(checkItem(given)) === undefined ? [] : [given.id];
      } catch {
        return [];
      }
    });
  }

  /** Takes away what a whole list does not name, at once or, if that is too much, when the guard lets it. */
  #sweep(state: State, named: ReadonlySet<string>, now: number): void {
    const missing: string[] = [];
    for (const id of state.entries.keys()) if (!named.has(id)) missing.push(id);
    if (!doubted(missing.length, state.entries.size, state.guard)) {
      for (const id of missing) this.#remove(state, id);
      state.withheld = undefined;
      return;
    }
    const since = state.withheld?.since ?? now;
    state.withheld = { since, of: state.entries.size, ids: new Set(missing) };
    for (const id of missing) {
      const entry = state.entries.get(id);
      if (entry === undefined || entry.withheld) continue;
      entry.withheld = true;
      for (const address of entry.addresses) {
        if (this.#claims.weaken(address, entry)) this.#changed.add(address);
      }
    }
  }

  /** It is named again, whatever else is said of it, and has its addresses before those that are not. */
  #keep(state: State, id: string): void {
    const entry = state.entries.get(id);
    if (entry === undefined || !entry.withheld) return;
    entry.withheld = false;
    state.withheld?.ids.delete(id);
    this.#settleWithheld(state);
    if (!entry.leftOut && !entry.expired) this.#claim(entry);
  }

  #settleWithheld(state: State): void {
    if (state.withheld?.ids.size === 0) state.withheld = undefined;
  }

  #letGo(state: State): number {
    const ids = state.withheld?.ids ?? new Set<string>();
    state.withheld = undefined;
    for (const id of ids) this.#remove(state, id);
    return ids.size;
  }

  #remove(state: State, id: string): void {
    const entry = state.entries.get(id);
    if (entry === undefined) return;
    state.entries.delete(id);
    state.mortal.delete(entry);
    state.withheld?.ids.delete(id);
    if (entry.leftOut) state.leftOut--;
    else if (!entry.expired) this.#unclaim(entry);
  }

  #claim(entry: Entry): void {
    for (const address of entry.addresses) {
      if (this.#claims.claim(address, entry)) this.#changed.add(address);
    }
  }

  #unclaim(entry: Entry): void {
    for (const address of entry.addresses) {
      if (this.#claims.release(address, entry)) this.#changed.add(address);
    }
  }

  #refuse(state: State, given: SourceItem, error: unknown): void {
    const { field, value, message } = error as Partial<InventoryError>;
    const id = String(given?.id).slice(0, 253);
    if (state.refused.size >= MAX_REFUSED && !state.refused.has(id)) {
      state.refusedUnshown++;
      return;
    }
    state.refused.set(id, { id, field, value, message: message ?? String(error) });
  }

  #intern(text: string): string {
    const known = this.#labelTexts.get(text);
    if (known !== undefined) return known;
    // Texts of sets that are gone are few beside those in use, but not for ever.
    if (this.#labelTexts.size > 4 * (this.#claims.size + 1024)) this.#labelTexts.clear();
    this.#labelTexts.set(text, text);
    return text;
  }
}

const NO_ADDRESSES: readonly Address[] = Object.freeze([]);
const LIVE = { withheld: false, leftOut: false, expired: false, expires: Number.POSITIVE_INFINITY };
const textOf = (labels: LabelSet | undefined): string => labels?.text ?? '';
