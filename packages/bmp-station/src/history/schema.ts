import type { DatabaseSync } from 'node:sqlite';

/** "CWBM": what makes the file ours, whatever its name. */
export const APPLICATION_ID = 0x4357424d;

/**
 * What the history is, as steps: a file of version n has had the first n of them, and an older one gets the
 * rest. A step that has been released is never changed.
 *
 * Times are milliseconds since 1970. `data` is JSON. `prefixes` is a `PrefixLog`.
 */
const STEPS: readonly string[] = [
  `CREATE TABLE routers (
     id INTEGER PRIMARY KEY, address TEXT NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL,
     first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
     UNIQUE (address, name)) STRICT;
   CREATE TABLE peers (
     id INTEGER PRIMARY KEY, router INTEGER NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL,
     first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
     UNIQUE (router, key)) STRICT;
   CREATE TABLE events (
     id INTEGER PRIMARY KEY, at INTEGER NOT NULL, type TEXT NOT NULL,
     router INTEGER, peer INTEGER, data TEXT NOT NULL, prefixes BLOB) STRICT;
   CREATE INDEX events_of_peer ON events (peer, type, at);
   CREATE INDEX events_by_time ON events (at);`,
  `CREATE TABLE faults (
     id INTEGER PRIMARY KEY, opened INTEGER NOT NULL, state TEXT NOT NULL, data TEXT NOT NULL,
     prefixes BLOB) STRICT;
   CREATE INDEX faults_by_time ON faults (opened);`,
];

export const SCHEMA_VERSION = STEPS.length;

/** Brings a file to `to`. Atomic: a power cut leaves the old version. */
export function migrate(db: DatabaseSync, to: number = SCHEMA_VERSION): void {
  const from = versionOf(db);
  if (from >= to) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    for (const step of STEPS.slice(from, to)) db.exec(step);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${to}; COMMIT`);
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

export const versionOf = (db: DatabaseSync): number => pragma(db, 'user_version');

export function pragma(db: DatabaseSync, name: string): number {
  return Number(Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0] ?? 0);
}
