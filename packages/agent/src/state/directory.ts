import * as fs from 'node:fs';
import * as fsp from 'node:fs/promises';
import path from 'node:path';
import { AgentError } from '../errors.ts';
import { decodeRecord, encodeRecord, type RecordKind } from './record.ts';

const TMPFS_MAGIC = 0x01021994;
/** Refused files are kept for a person to look at, but not without end. */
const KEEP_REFUSED = 32;

export interface RefusedFile {
  readonly name: string;
  readonly error: AgentError;
}

/** Records by name that outlive the process. */
export interface RecordStore<T> {
  /** Durable when it resolves. Writes of one name keep their order. */
  write(name: string, value: T): Promise<void>;
  remove(name: string): Promise<void>;
  /** Everything that can be believed, and what could not be. */
  load(): { records: Map<string, T>; refused: RefusedFile[] };
}

/**
 * A directory of records, one file each. A write is durable when its promise resolves: temporary
 * file, fsync, rename, fsync of the directory. On tmpfs (the usual `/run`) fsync is free, and the
 * synchronous calls cost a tenth of a trip through the thread pool, so they are used there; on a
 * disk the event loop must not wait for the platter.
 */
export class StateDirectory<T> implements RecordStore<T> {
  readonly #directory: string;
  readonly #kind: RecordKind<T>;
  readonly #synchronous: boolean;
  readonly #tails = new Map<string, Promise<void>>();
  #temporaries = 0;

  constructor(directory: string, kind: RecordKind<T>) {
    this.#directory = directory;
    this.#kind = kind;
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#synchronous = fs.statfsSync(directory).type === TMPFS_MAGIC;
  }

  /** Writes of one name keep their order; the last one wins. */
  async write(name: string, value: T): Promise<void> {
    const text = encodeRecord(this.#kind, value);
    const target = path.join(this.#directory, `${name}.json`);
    if (this.#synchronous) return this.#guard(target, () => this.#writeNow(target, text));
    return this.#inOrder(name, () => this.#guard(target, () => this.#writeSlowly(target, text)));
  }

  async remove(name: string): Promise<void> {
    const target = path.join(this.#directory, `${name}.json`);
    if (this.#synchronous) return this.#guard(target, () => fs.rmSync(target, { force: true }));
    return this.#inOrder(name, () =>
      this.#guard(target, async () => {
        await fsp.rm(target, { force: true });
        await this.#syncDirectory();
      }),
    );
  }

  /**
   * Every readable record by name. What cannot be believed is moved to `refused/` and reported, so
   * that one bad file never keeps the agent from starting; temporaries of a crash are removed.
   */
  load(): { records: Map<string, T>; refused: RefusedFile[] } {
    const records = new Map<string, T>();
    const refused: RefusedFile[] = [];
    for (const entry of fs.readdirSync(this.#directory, { withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(this.#directory, entry.name);
      if (!entry.name.endsWith('.json')) {
        fs.rmSync(file, { force: true });
        continue;
      }
      const name = entry.name.slice(0, -'.json'.length);
      try {
        records.set(name, decodeRecord(this.#kind, fs.readFileSync(file, 'utf8'), file));
      } catch (cause) {
        const error =
          cause instanceof AgentError
            ? cause
            : new AgentError('state-corrupt', `state file ${file} cannot be read`, { cause });
        refused.push({ name, error });
        this.#setAside(file, entry.name);
      }
    }
    return { records, refused };
  }

  #writeNow(target: string, text: string): void {
    const temporary = `${target}.${this.#temporaries++}.tmp`;
    const fd = fs.openSync(temporary, 'w', 0o600);
    try {
      fs.writeSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, target);
  }

  async #writeSlowly(target: string, text: string): Promise<void> {
    const temporary = `${target}.${this.#temporaries++}.tmp`;
    const handle = await fsp.open(temporary, 'w', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fsp.rename(temporary, target);
    await this.#syncDirectory();
  }

  async #syncDirectory(): Promise<void> {
    const handle = await fsp.open(this.#directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  #inOrder(name: string, step: () => Promise<void>): Promise<void> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    const mine = before.catch(() => {}).then(step);
    this.#tails.set(name, mine);
    const forget = () => {
      if (this.#tails.get(name) === mine) this.#tails.delete(name);
    };
    mine.then(forget, forget);
    return mine;
  }

  async #guard(target: string, step: () => void | Promise<void>): Promise<void> {
    try {
      await step();
    } catch (cause) {
      throw new AgentError('state-write-failed', `cannot write state file ${target}`, {
        field: target,
        hint: 'check that the run directory is writable and not full',
        cause,
      });
    }
  }

  #setAside(file: string, name: string): void {
    const aside = path.join(this.#directory, 'refused');
    fs.mkdirSync(aside, { recursive: true, mode: 0o700 });
    fs.renameSync(file, path.join(aside, name));
    const kept = fs.readdirSync(aside).map((entry) => {
      const at = path.join(aside, entry);
      return { at, time: fs.statSync(at).mtimeMs };
    });
    kept.sort((a, b) => b.time - a.time);
    for (const { at } of kept.slice(KEEP_REFUSED)) fs.rmSync(at, { force: true });
  }
}
