import { type FSWatcher, watch } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageWithCauses } from '@causeway/daemon';
import { Gate } from '@causeway/tables';
import { InventoryError } from '../../errors.ts';
import type { Source, SourceContext, SourceItem, SourceSink } from '../../source.ts';
import type { FileSourceConfig } from './config.ts';
import { type FileFormat, MAX_FILE_BYTES, parseFile } from './parse.ts';
import { parseAside } from './parse-aside.ts';

const FORMATS: Readonly<Record<string, FileFormat>> = {
  '.yaml': 'yaml',
  '.yml': 'yaml',
  '.json': 'yaml',
  '.csv': 'csv',
};
const MAX_FILES = 10_000;
/** From here on reading a file would hold up everything else. */
const ASIDE_BYTES = 256 << 10;
/** Writers write in steps; what follows within so long is one change. */
const SETTLE_MS = 50;

interface Known {
  /** Size, times and inode: whether it must be read again. */
  readonly mark: string;
  readonly items: readonly SourceItem[];
  readonly problem: string | undefined;
}

/**
 * Reads again what has changed. A file with a mistake goes on saying what it said before; a directory or file
 * that cannot be read at all changes nothing; a file that is gone from a directory says nothing any more.
 */
export class FileSource implements Source {
  readonly type = 'file';
  readonly name: string;
  readonly #config: FileSourceConfig;
  readonly #context: SourceContext;
  #known = new Map<string, Known>();

  constructor(config: FileSourceConfig, context: SourceContext) {
    this.name = config.name;
    this.#config = config;
    this.#context = context;
  }

  async run(sink: SourceSink, signal: AbortSignal): Promise<void> {
    const { clock } = this.#context;
    const changed = new Gate();
    this.#known = new Map();
    let told: string | undefined;
    sink.report({ state: 'listing' });
    while (!signal.aborted) {
      // Set before reading: a change in between wakes the loop.
      const asleep = new AbortController();
      const either = AbortSignal.any([signal, asleep.signal]);
      const woken = changed.wait(either);
      const watcher = watchPath(this.#config.path, () => changed.open());
      try {
        told = await this.#look(sink, told, signal);
        await Promise.race([woken, clock.sleep(this.#config.rescanSeconds * 1000, either)]);
        await clock.sleep(SETTLE_MS, signal);
      } finally {
        asleep.abort();
        watcher?.close();
      }
    }
  }

  /** @returns what was told last, so that a look that found nothing new is silent. */
  async #look(
    sink: SourceSink,
    told: string | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    let files: string[];
    try {
      files = await this.#files();
    } catch (error) {
      sink.report({
        state: 'failed',
        message: `${messageWithCauses(error)}; what was known stays`,
      });
      return told;
    }
    const next = new Map<string, Known>();
    for (const file of files) next.set(file, await this.#read(file, this.#known.get(file), signal));
    if (signal.aborted) return told;
    const problems = [...next.values()].flatMap(({ problem }) => problem ?? []);
    this.#known = next;
    // A first look that cannot read a file does not know what that file named before.
    if (told === undefined && problems.length > 0) {
      sink.report({ state: 'failed', message: problems.join('; ') });
      return told;
    }
    const mark = [...next].map(([file, known]) => `${file} ${known.mark}`).join('\n');
    if (mark !== told) sink.snapshot([...next.values()].flatMap(({ items }) => items));
    sink.report(
      problems.length === 0
        ? { state: 'following' }
        : { state: 'failed', message: problems.slice(0, 5).join('; ') },
    );
    return mark;
  }

  async #files(): Promise<string[]> {
    const { path: given, format } = this.#config;
    const found = await stat(given);
    if (!found.isDirectory()) return [given];
    const names = (await readdir(given)).filter(
      (name) =>
        !name.startsWith('.') &&
        (format === undefined || FORMATS[path.extname(name)] === format) &&
        path.extname(name) in FORMATS,
    );
    if (names.length > MAX_FILES) {
      throw new InventoryError('bad-file', `${given} holds more than ${MAX_FILES} files`, {
        field: 'path',
        value: given,
      });
    }
    return names.sort().map((name) => path.join(given, name));
  }

  async #read(file: string, known: Known | undefined, signal: AbortSignal): Promise<Known> {
    let mark = known?.mark ?? '';
    try {
      await using handle = await open(file, 'r');
      const { size, mtimeMs, ino, ctimeMs } = await handle.stat();
      const now = `${size} ${mtimeMs} ${ctimeMs} ${ino}`;
      if (known !== undefined && known.mark === now) return known;
      if (size > MAX_FILE_BYTES) {
        throw new InventoryError('bad-file', `${file} has more than ${MAX_FILE_BYTES} bytes`, {
          field: 'path',
          value: file,
        });
      }
      const format = this.#config.format ?? FORMATS[path.extname(file)] ?? 'yaml';
      const items =
        size >= ASIDE_BYTES
          ? await parseAside(file, format, signal)
          : parseFile(await handle.readFile('utf8'), format, file);
      // A time to live begins when the file was written, not when it was looked at.
      mark = now;
      return { mark, items: items.map((item) => ({ ...item, version: mark })), problem: undefined };
    } catch (error) {
      const problem = messageWithCauses(error);
      if (known?.problem !== problem) {
        this.#context.log.warn({ source: this.name, file, error: problem }, 'a file is not taken');
      }
      return { mark: known?.mark ?? '', items: known?.items ?? [], problem };
    }
  }
}

/** Undefined where the system gives no watches any more, or there is nothing: the rescan does it then. */
function watchPath(target: string, onChange: () => void): FSWatcher | undefined {
  try {
    // Editors put a new file into the old one's place, so the directory tells more than the file.
    const watcher = watch(target, { persistent: false }, onChange);
    watcher.on('error', () => {});
    return watcher;
  } catch {
    return undefined;
  }
}
