import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { HistoryError } from '../errors.ts';
import { APPLICATION_ID, migrate, pragma, SCHEMA_VERSION, versionOf } from './schema.ts';

export interface HistoryLimits {
  /** Events kept at most. */
  readonly rows: number;
  /** Bytes of the database that may be in use. */
  readonly bytes: number;
  /** Days. */
  readonly days: number;
}

/** An event to be kept. */
export interface NewEvent {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly router?: number;
  readonly peer?: number;
  readonly data: object;
  readonly prefixes?: Uint8Array;
}

export interface StoredEvent {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly router: number | undefined;
  readonly peer: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
  readonly prefixes: Uint8Array | undefined;
}

export interface StoredFault {
  readonly id: number;
  readonly opened: number;
  readonly state: string;
  readonly data: object;
  readonly prefixes?: Uint8Array | undefined;
}

export interface EventQuery {
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly routers?: readonly number[] | undefined;
  readonly peers?: readonly number[] | undefined;
  readonly types?: readonly string[] | undefined;
  /** Only events with a smaller id: the next page. */
  readonly before?: number | undefined;
  readonly limit: number;
}

type Row = Readonly<Record<string, string | number | bigint | Uint8Array | null>>;
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
 * what happened until a write succeeds again.
 */
export class History implements Disposable {
  readonly #db: DatabaseSync;
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
    this.#db = db;
    this.#limits = limits;
    const most = (table: string): number => this.#number(`SELECT max(id) FROM ${table}`);
    this.#lastEvent = most('events');
    this.#lastFault = most('faults');
    this.#lastRouter = most('routers');
    this.#lastPeer = most('peers');
    this.#rows = this.#number('SELECT count(*) FROM events');
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

  /**
   * Opens or makes the file. An older one is brought up to date; one that is newer, somebody else's or broken
   * is moved aside, and a new one begun: `aside` says where it went and why. Throws HistoryError
   * `history-failed` if no file can be made at all.
   */
  static open(
    file: string,
    limits: HistoryLimits,
    now: number,
  ): { history: History; aside?: { readonly file: string; readonly error: HistoryError } } {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    try {
      return { history: new History(openFile(file), limits) };
    } catch (cause) {
      const error =
        cause instanceof HistoryError
          ? cause
          : new HistoryError('history-corrupt', file, `${file} is no readable history`, cause);
      if (!existsSync(file)) {
        throw new HistoryError('history-failed', file, `cannot make ${file}`, cause);
      }
      const aside = `${file}.${error.code}.${now}`;
      try {
        for (const suffix of ['', '-wal', '-shm']) {
          if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
        }
        return { history: new History(openFile(file), limits), aside: { file: aside, error } };
      } catch (failure) {
        throw new HistoryError('history-failed', file, `cannot begin anew in ${file}`, failure);
      }
    }
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
      (pragma(this.#db, 'page_count') - pragma(this.#db, 'freelist_count')) *
      pragma(this.#db, 'page_size')
    );
  }

  /** All that waits, in one transaction; then makes room. */
  flush(now: number): void {
    const writes = this.#writes;
    if (writes.length > 0) {
      this.#writes = [];
      this.#waitingBytes = 0;
      this.#fresh.clear();
      const before = this.#rows;
      if (
        !this.#transaction(() => {
          for (const write of writes) write();
        })
      ) {
        this.dropped += writes.length;
        this.#rows = before;
      }
    }
    this.#shrink(now);
  }

  events(query: EventQuery): StoredEvent[] {
    const where: string[] = [];
    const values: (string | number)[] = [];
    const and = (clause: string, ...more: (string | number)[]): void => {
      where.push(clause);
      values.push(...more);
    };
    if (query.since !== undefined) and('at >= ?', query.since);
    if (query.until !== undefined) and('at <= ?', query.until);
    if (query.routers !== undefined) {
      and(`router IN (${query.routers.map(() => '?').join()})`, ...query.routers);
    }
    if (query.peers !== undefined) {
      and(`peer IN (${query.peers.map(() => '?').join()})`, ...query.peers);
    }
    if (query.before !== undefined) and('id < ?', query.before);
    if (query.types !== undefined) {
      and(`type IN (${query.types.map(() => '?').join()})`, ...query.types);
    }
    const rows = this.#db
      .prepare(
        `SELECT id, at, type, router, peer, data FROM events ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
         ORDER BY id DESC LIMIT ?`,
      )
      .all(...values, query.limit) as Row[];
    return rows.map(eventOf);
  }

  event(id: number): StoredEvent | undefined {
    const row = this.#db.prepare('SELECT * FROM events WHERE id = ?').get(id) as Row | undefined;
    return row === undefined ? undefined : eventOf(row);
  }

  /** Prefix logs of events, newest first, one at a time: there may be hundreds of megabytes. */
  *logs(since: number): Generator<StoredEvent> {
    const rows = this.#db
      .prepare(
        `SELECT id, at, type, router, peer, data, prefixes FROM events
         WHERE at >= ? AND prefixes IS NOT NULL ORDER BY at DESC`,
      )
      .iterate(since);
    for (const row of rows) yield eventOf(row as Row);
  }

  /** How often a peer went down since then. */
  downs(peer: number, since: number): number {
    return this.#number(
      `SELECT count(*) FROM events WHERE peer = ? AND type = 'peer-down' AND at >= ?`,
      peer,
      since,
    );
  }

  /** How often each peer went down since then; those that did not are left out. */
  downsOfAll(since: number): Map<number, number> {
    const rows = this.#db
      .prepare(
        `SELECT peer, count(*) AS downs FROM events WHERE at >= ? AND type = 'peer-down' GROUP BY peer`,
      )
      .all(since) as Row[];
    return new Map(rows.map(({ peer, downs }) => [Number(peer), Number(downs)]));
  }

  /** Peers of any router that have this name. */
  peersNamed(name: string): number[] {
    const rows = this.#db
      .prepare(`SELECT id FROM peers WHERE data ->> 'name' = ? LIMIT 1000`)
      .all(name) as Row[];
    return rows.map(({ id }) => Number(id));
  }

  faults(query: {
    readonly since?: number;
    readonly state?: string;
    readonly limit: number;
  }): StoredFault[] {
    const rows = this.#db
      .prepare(
        `SELECT id, opened, state, data FROM faults WHERE opened >= ? AND (? IS NULL OR state = ?)
         ORDER BY id DESC LIMIT ?`,
      )
      .all(query.since ?? 0, query.state ?? null, query.state ?? null, query.limit) as Row[];
    return rows.map(faultOf);
  }

  fault(id: number): StoredFault | undefined {
    const row = this.#db.prepare('SELECT * FROM faults WHERE id = ?').get(id) as Row | undefined;
    return row === undefined ? undefined : faultOf(row);
  }

  /** Routers and peers seen since then, with what was last known of them. */
  routers(
    since: number,
  ): { id: number; address: string; name: string; data: object; lastSeen: number }[] {
    const rows = this.#db
      .prepare('SELECT * FROM routers WHERE last_seen >= ? LIMIT 10000')
      .all(since);
    return (rows as Row[]).map((row) => ({
      id: Number(row.id),
      address: String(row.address),
      name: String(row.name),
      data: JSON.parse(String(row.data)) as object,
      lastSeen: Number(row.last_seen),
    }));
  }

  peers(router: number): { id: number; key: string; data: object; lastSeen: number }[] {
    const rows = this.#db.prepare('SELECT * FROM peers WHERE router = ? LIMIT 100000').all(router);
    return (rows as Row[]).map((row) => ({
      id: Number(row.id),
      key: String(row.key),
      data: JSON.parse(String(row.data)) as object,
      lastSeen: Number(row.last_seen),
    }));
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  #idOf(key: string, sql: string, values: (string | number)[], next: () => number): number {
    const known = this.#fresh.get(key) ?? this.#number(sql, ...values);
    if (known > 0) return known;
    const id = next();
    this.#fresh.set(key, id);
    return id;
  }

  #later(bytes: number, write: Write): void {
    this.#writes.push(write);
    this.#waitingBytes += bytes;
    if (this.#writes.length >= MOST_WAITING || this.#waitingBytes >= MOST_WAITING_BYTES) {
      this.flush(0);
    }
  }

  #transaction(body: () => void): boolean {
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      try {
        body();
        this.#db.exec('COMMIT');
      } catch (error) {
        this.#db.exec('ROLLBACK');
        throw error;
      }
      this.problem = undefined;
      return true;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      return false;
    }
  }

  /** Deletes the oldest until all three bounds hold. `now` 0: without looking at ages. */
  #shrink(now: number): void {
    const { rows, bytes, days } = this.#limits;
    const oldest = now - days * 86_400_000;
    if (now > 0 && this.#number('SELECT min(at) FROM events') < oldest) {
      this.#delete('at < ?', oldest);
      this.#transaction(() => {
        this.#db.prepare('DELETE FROM faults WHERE opened < ?').run(oldest);
        this.#db.prepare('DELETE FROM peers WHERE last_seen < ?').run(oldest);
        this.#db.prepare('DELETE FROM routers WHERE last_seen < ?').run(oldest);
      });
    }
    if (this.#lastRouter + this.#lastPeer - this.#counted >= RECOUNT) {
      this.#counted = this.#lastRouter + this.#lastPeer;
      this.#keepLatest('routers', MOST_ROUTERS);
      this.#keepLatest('peers', MOST_PEERS);
    }
    if (this.#rows > rows) this.#deleteOldest(this.#rows - rows + Math.floor(rows * SHRINK));
    while (this.bytes > bytes && this.problem === undefined) {
      const faults = this.#number('SELECT count(*) FROM faults');
      if (this.#rows === 0 && faults === 0) break;
      this.#deleteOldest(Math.ceil(this.#rows * SHRINK));
      // Their logs of prefixes are as large as those of the events.
      this.#keepLatest('faults', Math.floor(faults * (1 - SHRINK)));
    }
  }

  #keepLatest(table: 'routers' | 'peers' | 'faults', most: number): void {
    const age = table === 'faults' ? 'opened' : 'last_seen';
    if (this.#number(`SELECT count(*) FROM ${table}`) <= most) return;
    this.#transaction(() => {
      this.#db
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
      const { changes } = this.#db.prepare(`DELETE FROM events WHERE ${where}`).run(value);
      this.#rows -= Number(changes);
    });
  }

  #number(sql: string, ...values: (string | number)[]): number {
    const row = this.#db.prepare(sql).get(...values) ?? {};
    return Number(Object.values(row)[0] ?? 0);
  }
}

function openFile(file: string): DatabaseSync {
  const db = new DatabaseSync(file);
  try {
    const [id, version] = [pragma(db, 'application_id'), versionOf(db)];
    const tables = Object.values(db.prepare('SELECT count(*) FROM sqlite_schema').get() ?? {})[0];
    if (id !== APPLICATION_ID && (id !== 0 || version !== 0 || tables !== 0)) {
      throw new HistoryError('history-foreign', id, `${file} is another program's database`);
    }
    if (version > SCHEMA_VERSION) {
      throw new HistoryError(
        'history-newer',
        version,
        `${file} has version ${version}; this program reads up to ${SCHEMA_VERSION}`,
      );
    }
    // A crash of this program loses nothing; a power cut may lose the last batches, never the file.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 200');
    migrate(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function eventOf(row: Row): StoredEvent {
  return {
    id: Number(row.id),
    at: Number(row.at),
    type: String(row.type),
    router: row.router === null ? undefined : Number(row.router),
    peer: row.peer === null ? undefined : Number(row.peer),
    data: JSON.parse(String(row.data)) as Record<string, unknown>,
    prefixes: row.prefixes instanceof Uint8Array ? row.prefixes : undefined,
  };
}

function faultOf(row: Row): StoredFault {
  return {
    id: Number(row.id),
    opened: Number(row.opened),
    state: String(row.state),
    data: JSON.parse(String(row.data)) as object,
    prefixes: row.prefixes instanceof Uint8Array ? row.prefixes : undefined,
  };
}
