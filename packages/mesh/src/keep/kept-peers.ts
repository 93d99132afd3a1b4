import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@causeway/tables';
import { isClusterName } from '../keys.ts';
import type { MeshTables } from '../rows.ts';
import { KeptPeer } from './kept-peer.ts';

/** Milliseconds between writings: changes of so long are one write. */
const STEP_MS = 1000;

export interface KeptPeersOptions {
  /** Made when there is something to keep. */
  readonly directory: string;
  readonly own: string;
  readonly tables: MeshTables;
  readonly clock: Clock;
}

/** The last state of each peer on the own disk, so that a start does not need the peers. One file is written at a time. */
export class KeptPeers implements AsyncDisposable {
  readonly #options: KeptPeersOptions;
  readonly #peers = new Map<string, KeptPeer>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: KeptPeersOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  of(peer: string): KeptPeer {
    let kept = this.#peers.get(peer);
    if (kept === undefined) {
      const { directory, own, tables, clock } = this.#options;
      const { signal } = this.#stop;
      kept = new KeptPeer({ path: join(directory, peer), own, peer, tables, clock, signal });
      this.#peers.set(peer, kept);
    }
    return kept;
  }

  get directory(): string {
    return this.#options.directory;
  }

  /** Bytes on the disk. */
  get bytes(): number {
    let bytes = 0;
    for (const kept of this.#peers.values()) bytes += kept.bytes;
    return bytes;
  }

  problems(): string[] {
    return [...this.#peers.values()].flatMap(({ problem }) => problem ?? []);
  }

  /** Takes away what an earlier run kept of peers that are none any more. */
  async retain(peers: readonly string[]): Promise<void> {
    const { directory } = this.#options;
    const names = await readdir(directory).catch(() => []);
    for (const name of names) {
      const peer = name.replace(/\.(new|refused)$/, '');
      if (!isClusterName(peer) || peers.includes(peer) || this.#peers.has(peer)) continue;
      await rm(join(directory, name), { force: true }).catch(() => {});
    }
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(STEP_MS, signal);
      const now = clock.now();
      for (const kept of this.#peers.values()) {
        if (signal.aborted) return;
        if (kept.waits(now)) await kept.step(clock.now());
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    for (const kept of this.#peers.values()) await kept.close();
  }
}
