import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { type Aside, isBusy, openHistoryFile } from './file.ts';
import { HistoryQueries } from './queries.ts';
import { pragma } from './schema.ts';
import type { HistoryLimits, NewEvent, StoredFault } from './types.ts';

type Write = () => void;

/** Writes that may wait for the next transaction. */
const MOST_WAITING = 20_000;
const MOST_WAITING_BYTES = 32 * 1024 * 1024;
/**
 * Routers and peers ever seen: names come from whoever connects, so that the bounds of the events would not hold for
 * them. Those not seen for longest go.
 */
const MOST_ROUTERS = 10_000;
const MOST_PEERS = 100_000;
/** New ones after which they are counted again. */
const RECOUNT = 1000;
/** Rows deleted at a time: enough room is made in one go for a while. */
const SHRINK = 0.1;

/**
 * The past, in SQLite: routers and peers ever seen, events, faults. Writes wait in memory and go in batches,
 * one transaction each; `flush` is the caller's to time, but what waits is bounded. Bounded by rows, bytes and
 * age: the oldest events go first.
 *
 * A disk that fails costs the history, never the station: the batch is dropped and counted, and `problem` says
 * what happened until a write succeeds again. A lock that somebody else has costs nothing but the wait, for as long as
 * there is room for what waits.
 */
export class History extends HistoryQueries implements Disposable {
  readonly #limits: HistoryLimits;
  #writes: Write[] = [];
  #waitingBytes = 0;
  #rows: number;
  #lastEvent: number;
  #lastFault: number;
  #lastRouter: number;
  #lastPeer: number;
  /** The numbers given when routers and peers were last counted. */
  #counted = Number.NEGATIVE_INFINITY;
  /** Numbers given to routers and peers whose rows are not written yet. */
  readonly #fresh = new Map<string, number>();
  dropped = 0;
  problem: string | undefined;
  readonly #insert: StatementSync;
  readonly #putFault: StatementSync;
  readonly #putRouter: StatementSync;
  readonly #putPeer: StatementSync;

  private constructor(db: DatabaseSync, limits: HistoryLimits) {
    super(db);
    this.#limits = limits;
    const most = (table: string): number => this.number(`SELECT max(id) FROM ${table}`);
    this.#lastEvent = most('events');
    this.#lastFault = most('faults');
    this.#lastRouter = most('routers');
    this.#lastPeer = most('peers');
    this.#rows = this.number('SELECT count(*) FROM events');
    this.#insert = db.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)');
    this.#putFault = db.prepare(
      `INSERT INTO faults VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO
       UPDATE SET state = ?3, data = ?4, prefixes = coalesce(?5, prefixes)`,
    );
    this.#putRouter = db.prepare(
      `INSERT INTO routers VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO
       UPDATE SET data = ?4, last_seen = ?5`,
    );
    this.#putPeer = db.prepare(
      `INSERT INTO peers VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO
       UPDATE SET data = ?4, last_seen = ?5`,
    );
  }

  /** As `openHistoryFile`, and throws as it does. */
  static open(
    file: string,
    limits: HistoryLimits,
    now: number,
  ): { history: History; aside?: Aside } {
    const { db, aside } = openHistoryFile(file, now);
    return { history: new History(db, limits), ...(aside === undefined ? {} : { aside }) };
  }

  nextEvent(): number {
    this.#lastEvent += 1;
    return this.#lastEvent;
  }

  nextFault(): number {
    this.#lastFault += 1;
    return this.#lastFault;
  }

  /** The router's number, from now on if it is new. */
  router(address: string, name: string): number {
    const sql = 'SELECT id FROM routers WHERE address = ? AND name = ?';
    return this.#idOf(`${address} ${name}`, sql, [address, name], () => {
      this.#lastRouter += 1;
      return this.#lastRouter;
    });
  }

  peer(router: number, key: string): number {
    const sql = 'SELECT id FROM peers WHERE router = ? AND key = ?';
    return this.#idOf(`${router}/${key}`, sql, [router, key], () => {
      this.#lastPeer += 1;
      return this.#lastPeer;
    });
  }

  putRouter(id: number, address: string, name: string, data: object, now: number): void {
    const text = JSON.stringify(data);
    this.#later(text.length, () => this.#putRouter.run(id, address, name, text, now));
  }

  putPeer(id: number, router: number, key: string, data: object, now: number): void {
    const text = JSON.stringify(data);
    this.#later(text.length, () => this.#putPeer.run(id, router, key, text, now));
  }

  add({ id, at, type, router, peer, data, prefixes }: NewEvent): void {
    const text = JSON.stringify(data);
    this.#later(text.length + (prefixes?.length ?? 0), () => {
      this.#insert.run(id, at, type, router ?? null, peer ?? null, text, prefixes ?? null);
      this.#rows += 1;
    });
  }

  putFault({ id, opened, state, data, prefixes }: StoredFault): void {
    const text = JSON.stringify(data);
    this.#later(text.length + (prefixes?.length ?? 0), () =>
      this.#putFault.run(id, opened, state, text, prefixes ?? null),
    );
  }

  get waiting(): number {
    return this.#writes.length;
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return (
      (pragma(this.db, 'page_count') - pragma(this.db, 'freelist_count')) *
      pragma(this.db, 'page_size')
    );
  }

  /** All that waits, in one transaction; then makes room. */
  flush(now: number): void {
    const writes = this.#writes;
    if (writes.length > 0) {
      const before = this.#rows;
      const outcome = this.#transaction(() => {
        for (const write of writes) write();
      });
      if (outcome !== 'done') this.#rows = before;
      // Somebody else's lock passes; what waits is bounded meanwhile.
      if (outcome === 'busy' && !this.#isFull) return;
      if (outcome !== 'done') this.dropped += writes.length;
      this.#writes = [];
      this.#waitingBytes = 0;
      this.#fresh.clear();
    }
    this.#shrink(now);
  }

  [Symbol.dispose](): void {
    this.db.close();
  }

  #idOf(key: string, sql: string, values: (string | number)[], next: () => number): number {
    const known = this.#fresh.get(key) ?? this.number(sql, ...values);
    if (known > 0) return known;
    const id = next();
    this.#fresh.set(key, id);
    return id;
  }

  #later(bytes: number, write: Write): void {
    this.#writes.push(write);
    this.#waitingBytes += bytes;
    if (this.#isFull) this.flush(0);
  }

  get #isFull(): boolean {
    return this.#writes.length >= MOST_WAITING || this.#waitingBytes >= MOST_WAITING_BYTES;
  }

  #transaction(body: () => void): 'done' | 'busy' | 'failed' {
    try {
      this.db.exec('BEGIN IMMEDIATE');
      try {
        body();
        this.db.exec('COMMIT');
      } catch (error) {
        // What failed may have rolled back by itself.
        if (this.db.isTransaction) this.db.exec('ROLLBACK');
        throw error;
      }
      this.problem = undefined;
      return 'done';
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      return isBusy(error) ? 'busy' : 'failed';
    }
  }

  /** Deletes the oldest until all three bounds hold. `now` 0: without looking at ages. */
  #shrink(now: number): void {
    const { rows, bytes, days } = this.#limits;
    const oldest = now - days * 86_400_000;
    if (now > 0 && this.number('SELECT min(at) FROM events') < oldest) {
      this.#delete('at < ?', oldest);
      this.#transaction(() => {
        this.db.prepare('DELETE FROM faults WHERE opened < ?').run(oldest);
        this.db.prepare('DELETE FROM peers WHERE last_seen < ?').run(oldest);
        this.db.prepare('DELETE FROM routers WHERE last_seen < ?').run(oldest);
      });
    }
    if (this.#lastRouter + this.#lastPeer - this.#counted >= RECOUNT) {
      this.#counted = this.#lastRouter + this.#lastPeer;
      this.#keepLatest('routers', MOST_ROUTERS);
      this.#keepLatest('peers', MOST_PEERS);
    }
    if (this.#rows > rows) this.#deleteOldest(this.#rows - rows + Math.floor(rows * SHRINK));
    while (this.bytes > bytes && this.problem === undefined) {
      const faults = this.number('SELECT count(*) FROM faults');
      if (this.#rows === 0 && faults === 0) break;
      this.#deleteOldest(Math.ceil(this.#rows * SHRINK));
      // Their logs of prefixes are as large as those of the events.
      this.#keepLatest('faults', Math.floor(faults * (1 - SHRINK)));
    }
  }

  #keepLatest(table: 'routers' | 'peers' | 'faults', most: number): void {
    const age = table === 'faults' ? 'opened' : 'last_seen';
    if (this.number(`SELECT count(*) FROM ${table}`) <= most) return;
    this.#transaction(() => {
      this.db
        .prepare(
          `DELETE FROM ${table} WHERE id IN
           (SELECT id FROM ${table} ORDER BY ${age} DESC, id DESC LIMIT -1 OFFSET ?)`,
        )
        .run(most);
    });
  }

  #deleteOldest(count: number): void {
    this.#delete('id IN (SELECT id FROM events ORDER BY id LIMIT ?)', count);
  }

  #delete(where: string, value: number): void {
    this.#transaction(() => {
      const { changes } = this.db.prepare(`DELETE FROM events WHERE ${where}`).run(value);
      this.#rows -= Number(changes);
    });
  }
}
