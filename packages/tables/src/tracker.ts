import { TablesError } from './errors.ts';
import { Gate } from './gate.ts';
import { Entry, Link } from './list.ts';

/** The newest state of a row; changes in between are not told. `row` of a delete is the last one. */
export type Change<Row, K> =
  | { readonly type: 'put'; readonly key: K; readonly row: Row; readonly revision: number }
  | { readonly type: 'delete'; readonly key: K; readonly row: Row; readonly revision: number };

/** What a tracker needs of its table. */
export interface Feed {
  readonly table: string;
  readonly ring: Link;
  readonly revision: () => number;
  readonly assertReadable: () => void;
  readonly passed: () => void;
  readonly closed: (unlink: () => void) => void;
}

/** Reads a table's changes in order of revision, in batches, at its own pace. Made by `Table.changes`. */
export class Tracker<Row, K> implements Disposable {
  readonly name: string;
  readonly #feed: Feed;
  readonly #cursor = new Link();
  readonly #gate = new Gate();
  /** Deletions up to here are of rows that this tracker was never told. */
  readonly #born: number;
  #seen: number;
  #open = true;

  constructor(name: string, feed: Feed, from: 'start' | 'now') {
    this.name = name;
    this.#feed = feed;
    this.#born = feed.revision();
    this.#seen = from === 'now' ? this.#born : 0;
    this.#cursor.insertAfter(from === 'now' ? feed.ring.prev : feed.ring);
  }

  /** Everything up to this revision has been handed out. */
  get seen(): number {
    return this.#seen;
  }

  get pending(): boolean {
    return this.#open && this.#seen < this.#feed.revision();
  }

  /** The next changes, at most `most`; empty if there are none. Throws `closed` and `in-transaction`. */
  take(most = 1000): Change<Row, K>[] {
    if (!this.#open) {
      throw new TablesError(
        'closed',
        this.name,
        `tracker ${this.name} of ${this.#feed.table} is closed`,
      );
    }
    this.#feed.assertReadable();
    const changes: Change<Row, K>[] = [];
    let link = this.#cursor.next;
    while (link !== this.#feed.ring && changes.length < most) {
      if (link instanceof Entry) {
        const { key, row, revision, deleted } = link as Entry<Row, K>;
        this.#seen = revision;
        if (!deleted) changes.push({ type: 'put', key, row, revision });
        else if (revision > this.#born) changes.push({ type: 'delete', key, row, revision });
      }
      link = link.next;
    }
    this.#cursor.unlink();
    this.#cursor.insertAfter(link.prev);
    if (link === this.#feed.ring) this.#seen = this.#feed.revision();
    this.#feed.passed();
    return changes;
  }

  /** Resolves when something is pending, the tracker is closed or the signal aborts. */
  async wait(signal?: AbortSignal): Promise<void> {
    if (this.pending || !this.#open) return;
    await this.#gate.wait(signal);
  }

  /** Batches of changes until the signal aborts or the tracker is closed; never an empty one. */
  async *batches(options: { readonly most?: number; readonly signal?: AbortSignal } = {}) {
    while (this.#open && !options.signal?.aborted) {
      if (!this.pending) {
        await this.wait(options.signal);
        continue;
      }
      const changes = this.take(options.most);
      if (changes.length > 0) yield changes;
    }
  }

  /** For the table. */
  wake(): void {
    this.#gate.open();
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#feed.closed(() => this.#cursor.unlink());
    this.#gate.open();
  }
}
