import type { Exporter } from './export.ts';
import type { Journal, JournalReader } from './journal.ts';
import type { OutTable } from './out-table.ts';
import type { Rib } from './rib.ts';

export interface EvaluationParts {
  readonly rib: Rib;
  readonly out: OutTable;
  /** What becomes another item in `out` is written here. */
  readonly journal: Journal;
  readonly exporter: Exporter;
  /** Paths per prefix; 0: without ADD-PATH. */
  readonly addPath: number;
  /** Is a path meant for these neighbours at all? */
  readonly isVisible: (path: number) => boolean;
  readonly tagOf: (path: number) => string | undefined;
  /** An ADD-PATH item was withdrawn. */
  readonly onDead: (item: number) => void;
}

/** Brings what a group of neighbours is to have up to date with the RIB, prefix by prefix, as far as a budget goes. */
export class Evaluation {
  readonly rib: Rib;
  readonly out: OutTable;
  readonly journal: Journal;
  exporter: Exporter;
  /** Of the RIB's journal. */
  readonly reader: JournalReader;
  /** Next prefix of a walk over the whole RIB (policy changed, group is new); 0: none. */
  evaluating = 1;
  readonly #addPath: number;
  readonly #isVisible: (path: number) => boolean;
  readonly #tagOf: (path: number) => string | undefined;
  readonly #onDead: (item: number) => void;
  readonly #ranked: number[] = [];

  constructor(parts: EvaluationParts) {
    this.rib = parts.rib;
    this.out = parts.out;
    this.journal = parts.journal;
    this.exporter = parts.exporter;
    this.#addPath = parts.addPath;
    this.#isVisible = parts.isVisible;
    this.#tagOf = parts.tagOf;
    this.#onDead = parts.onDead;
    this.reader = parts.rib.journal.open();
  }

  close(): void {
    const { rib, out } = this;
    rib.journal.close(this.reader);
    const end = out.end(rib.prefixes.end);
    for (let item = 1; item < end; item++)
      if (out.set[item] !== 0) rib.sets.release(out.set[item]!);
    this.exporter.close();
  }

  /** Another policy, or other rules: everything is looked at again, and only what differs is told. */
  setExporter(exporter: Exporter): void {
    const old = this.exporter;
    this.exporter = exporter;
    this.evaluating = 1;
    old.close();
  }

  /** Does the RIB have something that the group has not looked at? */
  get isBehind(): boolean {
    return this.evaluating !== 0 || this.reader.position < this.rib.journal.end;
  }

  /** Takes over what changed, at most about `budget` prefixes. Gives what is left of the budget. */
  settle(budget: number): number {
    const { rib, reader } = this;
    if (rib.held) return budget;
    let left = budget;
    if (this.evaluating !== 0) {
      const end = rib.prefixes.end;
      let prefix = this.evaluating;
      for (; prefix < end && left > 0; prefix++, left--) this.#evaluate(prefix);
      this.evaluating = prefix < end ? prefix : 0;
      if (this.evaluating !== 0) return 0;
    }
    const { journal } = rib;
    let at = reader.position;
    const end = journal.end;
    for (; at < end && left > 0; at++) {
      const prefix = journal.at(at);
      if (prefix === 0) continue;
      left--;
      this.#evaluate(prefix);
    }
    journal.advance(reader, at);
    return left;
  }

  #evaluate(prefix: number): void {
    if (this.#addPath > 0) {
      this.#evaluateAll(prefix);
      return;
    }
    const { rib } = this;
    let path = rib.best[prefix]!;
    if (path !== 0 && rib.isScoped(prefix)) path = this.bestVisible(prefix);
    if (path === 0) {
      if (this.out.set[prefix] !== 0) this.#put(prefix, 0, 0);
      return;
    }
    const result = this.exporter.run(path, this.#tag(path));
    this.#put(prefix, Math.max(result, 0), rib.paths.peer[path]!);
  }

  #tag(path: number): string | undefined {
    return this.rib.paths.peer[path] === 0 ? this.#tagOf(path) : undefined;
  }

  /** The best path that is meant for this group's neighbours. */
  bestVisible(prefix: number): number {
    this.rib.choice.ranked(prefix, Number.POSITIVE_INFINITY, this.#ranked);
    for (const path of this.#ranked) if (this.#isVisible(path)) return path;
    return 0;
  }

  #evaluateAll(prefix: number): void {
    const { rib, out } = this;
    rib.choice.ranked(prefix, Number.POSITIVE_INFINITY, this.#ranked);
    const wanted: number[] = [];
    for (const path of this.#ranked) {
      if (wanted.length === this.#addPath) break;
      if (this.#isVisible(path)) wanted.push(path);
    }
    for (let item = out.first(prefix); item !== 0; item = out.next(item)) {
      if (out.set[item] !== 0 && !wanted.includes(out.pathIdOf(item))) this.#put(item, 0, 0);
    }
    for (const path of wanted) {
      const result = this.exporter.run(path, this.#tag(path));
      let item = out.find(prefix, path);
      if (result <= 0) {
        if (item !== 0 && out.set[item] !== 0) this.#put(item, 0, 0);
        continue;
      }
      if (item === 0) {
        item = out.add(prefix, path);
        this.journal.resize(out.capacity);
      }
      this.#put(item, result, rib.paths.peer[path]!);
    }
  }

  #put(item: number, set: number, source: number): void {
    const { out } = this;
    const old = out.set[item]!;
    if (!out.put(item, set, source)) return;
    const { sets } = this.rib;
    if (set !== 0) sets.refs[set]!++;
    if (old !== 0) sets.release(old);
    this.journal.append(item);
    if (set === 0 && out.isAddPath) this.#onDead(item);
  }
}
