import { statSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@causeway/tables';
import { parsePeerFile } from './config-file.ts';
import type { PeerList } from './peers.ts';
import type { BadPeer, PeerSpec } from './types.ts';

const MAX_FILES = 1024;
const MAX_BYTES = 65_536;
/** A file that was written so shortly before a look, milliseconds, may be written again without a later time. */
const FRESH_MS = 3000;

export interface PeerDirectoryOptions {
  readonly directory: string;
  readonly clock: Clock;
  /** Milliseconds between looks. */
  readonly interval?: number;
  readonly onList: (list: PeerList) => void;
}

/**
 * A directory of peers in Cilium's form. It is looked at again and again rather than watched: mounted Secrets
 * change by links behind which no event comes. A directory that cannot be read, but for one that is not there,
 * changes nothing. To give up a peer takes everything of it away at once, so it needs a file that is gone in two looks
 * running: tools that write in place leave files short, and directories away, for a moment. What a file says is read
 * again when the file has another place, length or time, or has just been written.
 */
export class PeerDirectory implements AsyncDisposable {
  readonly #options: PeerDirectoryOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #last: string | undefined;
  /** What the last look found, by name, and what it missed for the first time. */
  #found = new Map<string, Found>();
  /** What files said that have stood for a while, by name. */
  #read = new Map<string, ReadFile>();
  #missed = new Set<string>();
  #lastError: string | undefined;

  constructor(options: PeerDirectoryOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  async #run(): Promise<void> {
    const { clock, interval = 2000 } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#tell(await this.#look());
        this.#lastError = undefined;
      } catch (error) {
        this.#lastError = error instanceof Error ? error.message : String(error);
      }
      await clock.sleep(interval, signal);
    }
  }

  #tell(list: PeerList): void {
    const text = JSON.stringify(list);
    if (text === this.#last || this.#stop.signal.aborted) return;
    this.#last = text;
    this.#options.onList(list);
  }

  async #look(): Promise<PeerList> {
    const { directory, clock } = this.#options;
    const read = new Map<string, ReadFile>();
    const known = this.#read;
    const look = new Map<string, Found>();
    for (const name of await namesIn(directory)) {
      let found: Found | undefined;
      try {
        const path = join(directory, name);
        const stamp = stampOf(path, clock.now());
        const before = stamp === undefined ? undefined : known.get(name);
        found =
          before !== undefined && before.stamp === stamp
            ? before.found
            : parsePeerFile(name, await textOf(path));
        if (stamp !== undefined) read.set(name, { stamp, found });
      } catch (error) {
        const reason = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
        found = { name, source: 'file', reason };
      }
      if (found === undefined && this.#found.has(name)) {
        const reason =
          'the file names no endpoints any more; if it is not just being written, remove it to give the peer up';
        found = { name, source: 'file', reason };
      }
      if (found !== undefined) look.set(name, found);
    }
    this.#read = read;
    this.#keepMissed(look);
    const all = [...look.values()];
    return {
      peers: all.filter((each): each is PeerSpec => !('reason' in each)),
      bad: all.filter((each): each is BadPeer => 'reason' in each),
    };
  }

  /** Adds what the last look found and this one misses, unless that one missed it already. */
  #keepMissed(look: Map<string, Found>): void {
    const missed = new Set<string>();
    for (const [name, found] of this.#found) {
      if (look.has(name) || this.#missed.has(name)) continue;
      look.set(name, found);
      missed.add(name);
    }
    this.#found = look;
    this.#missed = missed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

type Found = PeerSpec | BadPeer;

/** A file as it was read; `found` is undefined for one that is of nobody. */
interface ReadFile {
  readonly stamp: string;
  readonly found: Found | undefined;
}

/**
 * What changes with the file behind a name, or undefined while it is too new to tell by that. Asked without waiting: the
 * directory has just been read, and of hundreds of files each wait would cost more than the answer.
 */
function stampOf(path: string, now: number): string | undefined {
  const { dev, ino, size, mtimeMs, ctimeMs } = statSync(path);
  if (Math.abs(now - ctimeMs) < FRESH_MS) return undefined;
  return `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`;
}

/** Files, and links to them; what begins with a dot is a mount's own business. */
async function namesIn(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .sort()
      .slice(0, MAX_FILES);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function textOf(path: string): Promise<string> {
  await using file = await open(path);
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  if (bytesRead > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
  return buffer.toString('utf8', 0, bytesRead);
}
