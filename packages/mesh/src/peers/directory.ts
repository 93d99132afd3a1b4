import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@causeway/tables';
import { parsePeerFile } from './config-file.ts';
import type { PeerList } from './peers.ts';
import type { BadPeer, PeerSpec } from './types.ts';

const MAX_FILES = 1024;
const MAX_BYTES = 65_536;

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
 * running: tools that write in place leave files short, and directories away, for a moment.
 */
export class PeerDirectory implements AsyncDisposable {
  readonly #options: PeerDirectoryOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #last: string | undefined;
  /** What the last look found, by name, and what it missed for the first time. */
  #found = new Map<string, Found>();
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
        this.#tell(await this.#read());
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

  async #read(): Promise<PeerList> {
    const { directory } = this.#options;
    const look = new Map<string, Found>();
    for (const name of await namesIn(directory)) {
      let found: Found | undefined;
      try {
        found = parsePeerFile(name, await textOf(join(directory, name)));
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
