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
  /** What is copied at most: keys, bytes of one value, bytes of all keys and values. */
  readonly most: { readonly keys: number; readonly value: number; readonly bytes: number };
  /** RFC 3339, for the marker. */
  readonly now: () => string;
}

/**
 * A peer's prefix in the own store, byte for byte and without judgment: whoever reads it judges. What stands there
 * already and is the same is not written again, so that neither a restart nor a return shows.
 */
export class Mirror {
  readonly #options: MirrorOptions;
  /** By what is behind the prefix. Undefined until it was looked at. */
  #standing: Standing | undefined;
  #beyond = 0;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#standing?.stamps.size ?? 0;
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
    let listed: Listed | undefined = { keys: new Set(), bytes: 0 };
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
        const gone = [...standing.stamps.keys()].filter((rest) => !listed?.keys.has(rest));
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
    { stamps, bytes }: Readonly<Standing>,
    listed: Listed | undefined,
  ) {
    const { from, most } = this.#options;
    const changes = new Map<string, Uint8Array | undefined>();
    // What a list does not hold goes at its end, and so does not count against what it holds.
    let total = listed?.bytes ?? bytes;
    const sizeNow = (rest: string): number => {
      if (listed?.keys.has(rest) === false) return 0;
      return changes.has(rest)
        ? sizeOf(rest, changes.get(rest))
        : sizeOfStamp(rest, stamps.get(rest));
    };
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
          const { value } = event.entry;
          const grown = total + sizeOf(rest, value) - sizeNow(rest);
          const isBeyond =
            value.length > most.value ||
            (grown > most.bytes && grown > total) ||
            (listed === undefined
              ? !stamps.has(rest) && stamps.size + changes.size >= most.keys
              : !listed.keys.has(rest) && listed.keys.size >= most.keys);
          // As readers keep what they knew until the next list: what stands here of it stays.
          if (isBeyond) {
            this.#beyond++;
            break;
          }
          listed?.keys.add(rest);
          total = grown;
          changes.set(rest, value);
          break;
        }
        case 'delete': {
          const rest = event.key.slice(from.length);
          total -= sizeNow(rest);
          listed?.keys.delete(rest);
          changes.set(rest, undefined);
          break;
        }
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
    if (listed !== undefined) listed.bytes = total;
    return { changes, synced, broken };
  }

  /** Deletes what goes; returns whether there was any. */
  async withdraw(goes: (rest: string) => boolean, signal: AbortSignal): Promise<boolean> {
    const standing = await this.#look(signal);
    const gone = [...standing.stamps.keys()].filter(goes);
    await this.#apply(new Map(gone.map((rest) => [rest, undefined])), standing, signal);
    return gone.length > 0;
  }

  async #look(signal: AbortSignal): Promise<Standing> {
    if (this.#standing !== undefined) return this.#standing;
    const { kv, to } = this.#options;
    const standing: Standing = { stamps: new Map(), bytes: 0 };
    for await (const { entries } of kv.pages(to, { signal })) {
      for (const { key, value } of entries) set(standing, key.slice(to.length), stampOf(value));
    }
    this.#standing = standing;
    return standing;
  }

  async #apply(
    changes: ReadonlyMap<string, Uint8Array | undefined>,
    standing: Standing,
    signal: AbortSignal,
  ): Promise<void> {
    const { to } = this.#options;
    const operations: TxnOperation[] = [];
    const after: (readonly [string, string | undefined])[] = [];
    for (const [rest, value] of changes) {
      const now = value === undefined ? undefined : stampOf(value);
      if (standing.stamps.get(rest) === now) continue;
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
    for (const [rest, now] of after) set(standing, rest, now);
  }
}

/** What stands under a prefix of the own store. */
interface Standing {
  /** By the end of the key: the beginning of the value's digest, and its length. */
  readonly stamps: Map<string, string>;
  /** Of all keys' ends and values. */
  bytes: number;
}

/** What a list has held so far of what is copied. */
interface Listed {
  readonly keys: Set<string>;
  bytes: number;
}

const DIGEST = 16;

const stampOf = (value: Uint8Array): string =>
  createHash('sha1').update(value).digest('base64').slice(0, DIGEST) + value.length;

const sizeOf = (rest: string, value: Uint8Array | undefined): number =>
  value === undefined ? 0 : rest.length + value.length;

const sizeOfStamp = (rest: string, stamp: string | undefined): number =>
  stamp === undefined ? 0 : rest.length + Number(stamp.slice(DIGEST));

function set(standing: Standing, rest: string, stamp: string | undefined): void {
  standing.bytes += sizeOfStamp(rest, stamp) - sizeOfStamp(rest, standing.stamps.get(rest));
  if (stamp === undefined) standing.stamps.delete(rest);
  else standing.stamps.set(rest, stamp);
}
