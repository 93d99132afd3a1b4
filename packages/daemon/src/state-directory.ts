import * as fs from 'node:fs';
import path from 'node:path';
import { DaemonError } from './errors.ts';
import { decodeRecord, encodeRecord, type RecordKind } from './record.ts';

/** Refused files are kept for a person to look at, but not without end. */
const KEEP_REFUSED = 32;
const REFUSED = 'refused';

export interface RefusedFile {
  readonly name: string;
  readonly error: DaemonError;
}

/** Records by name that outlive the process. */
export interface RecordStore<T> {
  /** Outlives the process when it resolves. Writes of one name keep their order. */
  write(name: string, value: T): Promise<void>;
  remove(name: string): Promise<void>;
  /** Everything that can be believed, and what could not be. */
  load(): { records: Map<string, T>; refused: RefusedFile[] };
}

/**
 * A directory of records, one file each, replaced by rename so that a reader sees a whole one. What is
 * written outlives the process at once, in the kernel's memory; nothing waits for a disk, since what
 * the records speak of (interfaces, pins, maps) does not outlive the machine's power either, and a
 * file that a power cut left half is known by its checksum.
 */
export class StateDirectory<T> implements RecordStore<T> {
  readonly #directory: string;
  readonly #kind: RecordKind<T>;
  #temporaries = 0;
  #obstacle: RefusedFile | undefined;

  constructor(directory: string, kind: RecordKind<T>) {
    this.#directory = directory;
    this.#kind = kind;
    this.#setAsideObstacle();
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** A file where the directory, or one above it, should be must not keep a program from starting. */
  #setAsideObstacle(): void {
    let file = this.#directory;
    // Nothing is below a file: what is above it is found first.
    while (!fs.existsSync(file)) {
      const above = path.dirname(file);
      if (above === file) return;
      file = above;
    }
    if (fs.statSync(file).isDirectory()) return;
    const aside = `${file}.refused`;
    fs.rmSync(aside, { recursive: true, force: true });
    fs.renameSync(file, aside);
    this.#obstacle = {
      name: path.basename(file),
      error: new DaemonError(
        'state-corrupt',
        `${file} is no directory, where state is kept: it is ${aside} now`,
        { field: file, hint: `look at ${aside}, and remove it` },
      ),
    };
  }

  async write(name: string, value: T): Promise<void> {
    using staged = this.stage(name, value);
    staged.commit();
  }

  /**
   * A record that lies beside the one it is to replace, so that a full disk is known of before anything is done.
   * `commit` puts it in place; without it, it is thrown away when disposed.
   */
  stage(name: string, value: T): Disposable & { commit(): void } {
    const target = path.join(this.#directory, `${name}.json`);
    const temporary = `${target}.${this.#temporaries++}.tmp`;
    const discard = () => {
      try {
        fs.rmSync(temporary, { force: true });
      } catch {
        // The next start takes it away.
      }
    };
    try {
      this.#guard(target, () =>
        fs.writeFileSync(temporary, encodeRecord(this.#kind, value), { mode: 0o600 }),
      );
    } catch (error) {
      discard();
      throw error;
    }
    return {
      commit: () => this.#guard(target, () => fs.renameSync(temporary, target)),
      [Symbol.dispose]: discard,
    };
  }

  async remove(name: string): Promise<void> {
    const target = path.join(this.#directory, `${name}.json`);
    this.#guard(target, () => fs.rmSync(target, { force: true }));
  }

  /**
   * Every readable record by name. What cannot be believed is moved to `refused/` and reported, so
   * that one bad file never keeps a program from starting; temporaries of a crash are removed.
   */
  load(): { records: Map<string, T>; refused: RefusedFile[] } {
    const records = new Map<string, T>();
    const refused: RefusedFile[] = this.#obstacle === undefined ? [] : [this.#obstacle];
    this.#obstacle = undefined;
    for (const entry of fs.readdirSync(this.#directory, { withFileTypes: true })) {
      const isRecord = entry.name.endsWith('.json');
      // A directory in a record's place would refuse every write to come.
      if (entry.name === REFUSED || !(entry.isFile() || (entry.isDirectory() && isRecord)))
        continue;
      const file = path.join(this.#directory, entry.name);
      if (!isRecord) {
        fs.rmSync(file, { force: true });
        continue;
      }
      const name = entry.name.slice(0, -'.json'.length);
      try {
        records.set(name, decodeRecord(this.#kind, fs.readFileSync(file, 'utf8'), file));
      } catch (cause) {
        const error =
          cause instanceof DaemonError
            ? cause
            : new DaemonError('state-corrupt', `state file ${file} cannot be read`, { cause });
        refused.push({ name, error });
        try {
          this.#setAside(file, entry.name);
        } catch {
          // A full or odd directory must not keep a program from starting; the next write replaces the file.
        }
      }
    }
    return { records, refused };
  }

  #guard(target: string, step: () => void): void {
    try {
      step();
    } catch (cause) {
      throw new DaemonError('state-write-failed', `cannot write state file ${target}`, {
        field: target,
        hint: 'check that the run directory is writable and not full',
        cause,
      });
    }
  }

  #setAside(file: string, name: string): void {
    const aside = path.join(this.#directory, REFUSED);
    if (fs.statSync(aside, { throwIfNoEntry: false })?.isDirectory() === false) fs.rmSync(aside);
    fs.mkdirSync(aside, { recursive: true, mode: 0o700 });
    const target = path.join(aside, name);
    fs.rmSync(target, { recursive: true, force: true });
    fs.renameSync(file, target);
    const kept = fs.readdirSync(aside).map((entry) => {
      const at = path.join(aside, entry);
      return { at, time: fs.statSync(at).mtimeMs };
    });
    kept.sort((a, b) => b.time - a.time);
    for (const { at } of kept.slice(KEEP_REFUSED)) fs.rmSync(at, { recursive: true, force: true });
  }
}
