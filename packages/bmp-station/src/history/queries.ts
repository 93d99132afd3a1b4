import type { DatabaseSync } from 'node:sqlite';
import type { EventQuery, StoredEvent, StoredFault } from './types.ts';

type Row = Readonly<Record<string, string | number | bigint | Uint8Array | null>>;

/** What can be asked of the past. What waits to be written is not in it yet. */
export class HistoryQueries {
  protected readonly db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.db = db;
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
    const rows = this.db
      .prepare(
        `SELECT id, at, type, router, peer, data FROM events ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
         ORDER BY id DESC LIMIT ?`,
      )
      .all(...values, query.limit) as Row[];
    return rows.map(eventOf);
  }

  event(id: number): StoredEvent | undefined {
    const row = this.db.prepare('SELECT * FROM events WHERE id = ?').get(id) as Row | undefined;
    return row === undefined ? undefined : eventOf(row);
  }

  /** Prefix logs of events, newest first, one at a time: there may be hundreds of megabytes. */
  *logs(since: number): Generator<StoredEvent> {
    const rows = this.db
      .prepare(
        `SELECT id, at, type, router, peer, data, prefixes FROM events
         WHERE at >= ? AND prefixes IS NOT NULL ORDER BY at DESC`,
      )
      .iterate(since);
    for (const row of rows) yield eventOf(row as Row);
  }

  /** How often a peer went down since then. */
  downs(peer: number, since: number): number {
    return this.number(
      `SELECT count(*) FROM events WHERE peer = ? AND type = 'peer-down' AND at >= ?`,
      peer,
      since,
    );
  }

  /** How often each peer went down since then; those that did not are left out. */
  downsOfAll(since: number): Map<number, number> {
    const rows = this.db
      .prepare(
        `SELECT peer, count(*) AS downs FROM events WHERE at >= ? AND type = 'peer-down' GROUP BY peer`,
      )
      .all(since) as Row[];
    return new Map(rows.map(({ peer, downs }) => [Number(peer), Number(downs)]));
  }

  /** Peers of any router that have this name. */
  peersNamed(name: string): number[] {
    const rows = this.db
      .prepare(`SELECT id FROM peers WHERE data ->> 'name' = ? LIMIT 1000`)
      .all(name) as Row[];
    return rows.map(({ id }) => Number(id));
  }

  faults(query: {
    readonly since?: number;
    readonly state?: string;
    readonly limit: number;
  }): StoredFault[] {
    const rows = this.db
      .prepare(
        `SELECT id, opened, state, data FROM faults WHERE opened >= ? AND (? IS NULL OR state = ?)
         ORDER BY id DESC LIMIT ?`,
      )
      .all(query.since ?? 0, query.state ?? null, query.state ?? null, query.limit) as Row[];
    return rows.map(faultOf);
  }

  fault(id: number): StoredFault | undefined {
    const row = this.db.prepare('SELECT * FROM faults WHERE id = ?').get(id) as Row | undefined;
    return row === undefined ? undefined : faultOf(row);
  }

  /** Routers and peers seen since then, with what was last known of them. */
  routers(
    since: number,
  ): { id: number; address: string; name: string; data: object; lastSeen: number }[] {
    const rows = this.db
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
    const rows = this.db.prepare('SELECT * FROM peers WHERE router = ? LIMIT 100000').all(router);
    return (rows as Row[]).map((row) => ({
      id: Number(row.id),
      key: String(row.key),
      data: JSON.parse(String(row.data)) as object,
      lastSeen: Number(row.last_seen),
    }));
  }

  /** The one number of the first row; 0 if there is none. */
  protected number(sql: string, ...values: (string | number)[]): number {
    const row = this.db.prepare(sql).get(...values) ?? {};
    return Number(Object.values(row)[0] ?? 0);
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
