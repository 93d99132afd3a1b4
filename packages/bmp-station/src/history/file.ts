import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { HistoryError } from '../errors.ts';
import { APPLICATION_ID, migrate, pragma, SCHEMA_VERSION, versionOf } from './schema.ts';

export interface Aside {
  readonly file: string;
  readonly error: HistoryError;
}

/**
 * Opens or makes the file. An older one is brought up to date; one that is newer, somebody else's or broken is moved
 * aside, and a new one begun: `aside` says where it went and why. Throws HistoryError `history-failed` if no file can be
 * made at all, or if this one is well and only cannot be had now: locked, or on a disk that is full or fails.
 */
export function openHistoryFile(
  file: string,
  now: number,
): { readonly db: DatabaseSync; readonly aside?: Aside } {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    return { db: open(file) };
  } catch (cause) {
    if (!existsSync(file))
      throw new HistoryError('history-failed', file, `cannot make ${file}`, cause);
    const code = sqliteCode(cause);
    if (code !== undefined && passing.has(code)) {
      const why = code === BUSY ? 'another program has it locked' : (cause as Error).message;
      throw new HistoryError('history-failed', file, `cannot open ${file}: ${why}`, cause);
    }
    const error =
      cause instanceof HistoryError
        ? cause
        : new HistoryError('history-corrupt', file, `${file} is no readable history`, cause);
    const aside = `${file}.${error.code}.${now}`;
    try {
      for (const suffix of ['', '-wal', '-shm']) {
        if (existsSync(file + suffix)) renameSync(file + suffix, aside + suffix);
      }
      return { db: open(file), aside: { file: aside, error } };
    } catch (failure) {
      throw new HistoryError('history-failed', file, `cannot begin anew in ${file}`, failure);
    }
  }
}

/** SQLITE_BUSY: somebody else has the lock. */
const BUSY = 5;
/** That, and what says nothing of the file: PERM, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN. */
const passing: ReadonlySet<number> = new Set([BUSY, 3, 6, 7, 8, 10, 13, 14]);

export const isBusy = (error: unknown): boolean => sqliteCode(error) === BUSY;

/** The primary result code of SQLite's errors. */
function sqliteCode(error: unknown): number | undefined {
  const code = (error as { readonly errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

function open(file: string): DatabaseSync {
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
