import { createHash } from 'node:crypto';
import { type Kv, KvError, type TxnOperation, type WatchEvent } from '@causeway/etcd';
import type { PeerStream } from '@causeway/mesh';
import { type CacheWriter, writeAll } from './writes.ts';

export interface MirrorOptions extends CacheWriter {
  readonly name: string;
  /** Where it stands at the peer, and here; both end with a slash. */
  readonly from: string;
  readonly to: string;
  /** The peer's marker for the prefix, and ours. */
  readonly canary: string;
  readonly marker: string;
  /** Keys that are copied at most. */
  readonly most: number;
  /** RFC 3339, for the marker. */
  readonly now: () => string;
}

/**
 * A peer's prefix in the own store, byte for byte and without judgment: whoever reads it judges. What stands there
 * already and is the same is not written again, so that neither a restart nor a return shows.
 */
export class Mirror {
  readonly #options: MirrorOptions;
  /** What stands here: a digest of each value, by what is behind the prefix. Undefined until it was looked at. */
  #standing: Map<string, string> | undefined;
  #beyond = 0;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#standing?.size ?? 0;
  }

  /** Keys of the peer that are not copied. */
  get beyond(): number {
    return this.#beyond;
  }

  stream(peer: Kv, pageSize: number): PeerStream {
    const { name, canary } = this.#options;
    return {
      name,
      canary,
      start: (ends) => {
        const stop = new AbortController();
        const running = this.#copy(peer, pageSize, stop.signal, ends).catch((error) => {
          if (!stop.signal.aborted) {
            ends.broken(
              error instanceof KvError ? error : new KvError('internal', name, String(error)),
            );
          }
        });
        return {
          async [Symbol.asyncDispose]() {
            stop.abort();
            await running;
          },
        };
      },
    };
  }

  async #copy(
    peer: Kv,
    pageSize: number,
    signal: AbortSignal,
    ends: Parameters<PeerStream['start']>[0],
  ): Promise<void> {
    const { from, marker, now } = this.#options;
    const standing = await this.#look(signal);
    let listed: Set<string> | undefined = new Set();
    await using watch = peer.watch(from, {
      signal,
      once: true,
      keepKeys: false,
      pageSize,
      maxPending: 4096,
    });
    for await (const batch of watch.batches()) {
      const { changes, synced, broken } = this.#changesOf(batch, standing, listed);
      await this.#apply(changes, standing, signal);
      if (synced && listed !== undefined) {
        const gone = [...standing.keys()].filter((rest) => !listed?.has(rest));
        listed = undefined;
        await this.#apply(new Map(gone.map((rest) => [rest, undefined])), standing, signal);
        await writeAll(this.#options, [{ type: 'put', key: marker, value: now() }], signal);
        ends.synced();
      }
      if (broken !== undefined) return ends.broken(broken);
    }
  }

  #changesOf(
    batch: readonly WatchEvent[],
    standing: ReadonlyMap<string, string>,
    listed: Set<string> | undefined,
  ) {
    const { from, most } = this.#options;
    const changes = new Map<string, Uint8Array | undefined>();
    let synced = false;
    let broken: KvError | undefined;
    for (const event of batch) {
      switch (event.type) {
        case 'snapshot-start':
          this.#beyond = 0;
          break;
        case 'put': {
          const rest = event.entry.key.slice(from.length);
          // A key that is a bare prefix makes readers stumble.
          if (rest === '') break;
          if (!standing.has(rest) && standing.size + changes.size >= most) {
            this.#beyond++;
            break;
          }
          listed?.add(rest);
          changes.set(rest, event.entry.value);
          break;
        }
        case 'delete':
          changes.set(event.key.slice(from.length), undefined);
          break;
        case 'synced':
          synced = true;
          break;
        case 'disconnected':
          broken = event.error;
          break;
        default:
          event satisfies never;
      }
    }
    return { changes, synced, broken };
  }

  /** Deletes what goes; returns whether there was any. */
  async withdraw(goes: (rest: string) => boolean, signal: AbortSignal): Promise<boolean> {
    const standing = await this.#look(signal);
    const gone = [...standing.keys()].filter(goes);
    await this.#apply(new Map(gone.map((rest) => [rest, undefined])), standing, signal);
    return gone.length > 0;
  }

  async #look(signal: AbortSignal): Promise<Map<string, string>> {
    if (this.#standing !== undefined) return this.#standing;
    const { kv, to } = this.#options;
    const standing = new Map<string, string>();
    for await (const { entries } of kv.pages(to, { signal })) {
      for (const { key, value } of entries) standing.set(key.slice(to.length), digest(value));
    }
    this.#standing = standing;
    return standing;
  }

  async #apply(
    changes: ReadonlyMap<string, Uint8Array | undefined>,
    standing: Map<string, string>,
    signal: AbortSignal,
  ): Promise<void> {
    const { to } = this.#options;
    const operations: TxnOperation[] = [];
    const after: (readonly [string, string | undefined])[] = [];
    for (const [rest, value] of changes) {
      const now = value === undefined ? undefined : digest(value);
      if (standing.get(rest) === now) continue;
      const key = to + rest;
      operations.push(value === undefined ? { type: 'delete', key } : { type: 'put', key, value });
      after.push([rest, now]);
    }
    try {
      await writeAll(this.#options, operations, signal);
    } catch (error) {
      // Some of it may have landed: the next reading looks at what stands here.
      this.#standing = undefined;
      throw error;
    }
    for (const [rest, now] of after) {
      if (now === undefined) standing.delete(rest);
      else standing.set(rest, now);
    }
  }
}

const digest = (value: Uint8Array): string =>
  createHash('sha1').update(value).digest('base64').slice(0, 16);
