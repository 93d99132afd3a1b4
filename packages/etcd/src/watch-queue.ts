import type { KvEntry, SnapshotReason, WatchEvent } from './types.ts';

/**
 * What waits for a watch's consumer: at most one event per key, the newest. A changed key keeps its
 * place, so that it never slips behind a `synced` that promised it; a listed key takes a new one, so
 * that it stands between its list's marks.
 */
export class WatchQueue {
  readonly #items = new Map<string | symbol, WatchEvent>();
  /** Keys of which the consumer has never been told: a deletion takes the pending put away with it. */
  readonly #fresh = new Set<string>();
  #marks = 0;

  /** Keys that wait. */
  get pending(): number {
    return this.#items.size - this.#marks;
  }

  get empty(): boolean {
    return this.#items.size === 0;
  }

  put(entry: KvEntry, known: boolean, listed: boolean): void {
    const { key } = entry;
    const waits = this.#items.has(key);
    if (!waits && !known) this.#fresh.add(key);
    if (waits && listed) this.#items.delete(key);
    this.#items.set(key, { type: 'put', entry });
  }

  delete(key: string, revision: number, synthetic: boolean): void {
    if (this.#fresh.delete(key)) this.#items.delete(key);
    else this.#items.set(key, { type: 'delete', key, revision, synthetic });
  }

  /** A new list makes the marks of older, untold ones pointless; only the first one's reason stays. */
  start(event: Extract<WatchEvent, { type: 'snapshot-start' }>): void {
    let reason: SnapshotReason = event.reason;
    for (const [key, old] of this.#items) {
      if (typeof key !== 'symbol') continue;
      if (old.type === 'snapshot-start' && old.reason === 'first') reason = 'first';
      this.#items.delete(key);
      this.#marks--;
    }
    this.#mark({ ...event, reason });
  }

  mark(event: Extract<WatchEvent, { type: 'synced' | 'disconnected' }>): void {
    this.#mark(event);
  }

  #mark(event: WatchEvent): void {
    this.#items.set(Symbol(event.type), event);
    this.#marks++;
  }

  take(most: number): WatchEvent[] {
    const events: WatchEvent[] = [];
    for (const [key, event] of this.#items) {
      if (events.length >= most) break;
      this.#items.delete(key);
      if (typeof key === 'symbol') this.#marks--;
      else this.#fresh.delete(key);
      events.push(event);
    }
    return events;
  }
}
