import { type Clock, exponentialBackoff, Gate } from '@causeway/tables';
import { KvError } from './errors.ts';
import { KnownKeys } from './known-keys.ts';
import { pagesOf } from './pages.ts';
import {
  clusterIdOf,
  type Header,
  type Stream,
  type StreamEvent,
  type Transport,
} from './transport.ts';
import type {
  KvEntry,
  KvWatch,
  SnapshotReason,
  WatchEvent,
  WatchOptions,
  WatchStatus,
} from './types.ts';
import { WatchQueue } from './watch-queue.ts';

export interface WatchContext {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: () => number;
  /** Milliseconds for one page and for the creation of the stream, asked before each. */
  readonly deadline: () => number;
  readonly pageSize: number;
  readonly onHeader: (header: Header) => void;
  readonly onError: (error: KvError) => void;
  readonly onClosed: (watch: Watch) => void;
}

/**
 * One list-and-watch. Each round lists the prefix at one revision and streams from the next one; a
 * round ends with the stream, and the next one begins after a back-off. It always lists again rather
 * than resume: an etcd that was emptied and refilled can have the same cluster id and a revision
 * beyond ours, and nothing in a resumed stream would show it.
 */
export class Watch implements KvWatch {
  readonly prefix: string;
  readonly #context: WatchContext;
  readonly #queue = new WatchQueue();
  readonly #filled = new Gate();
  readonly #drained = new Gate();
  readonly #stop = new AbortController();
  readonly #maxPending: number;
  readonly #pageSize: number;
  readonly #running: Promise<void>;
  readonly #unlisten: () => void;
  /** Undefined: the caller knows them. */
  readonly #known: KnownKeys | undefined;
  readonly #grace: number;
  /** Until then nothing is swept: the store was replaced, and its writers have yet to come back. */
  #graceUntil = 0;
  readonly #once: boolean;
  readonly #ownWrites: boolean;
  /** Nothing more is coming; what waits is still told. */
  #over = false;
  #resumeFrom: number | undefined;
  #clusterId: string | undefined;
  #stream: Stream | undefined;
  #state: WatchStatus['state'] = 'connecting';
  #since: number;
  #synced = false;
  #revision = 0;
  #snapshots = 0;
  #lastError: WatchStatus['lastError'];

  constructor(prefix: string, options: WatchOptions, context: WatchContext) {
    this.prefix = prefix;
    this.#context = context;
    this.#maxPending = options.maxPending ?? 16_384;
    this.#pageSize = options.pageSize ?? context.pageSize;
    if (options.keepKeys ?? true) {
      this.#known = new KnownKeys(options.maxKeys ?? 1_000_000, options.known ?? []);
    }
    this.#grace = options.replacedGrace ?? 30_000;
    this.#once = options.once ?? false;
    this.#ownWrites = options.ownWrites ?? false;
    this.#resumeFrom = options.fromRevision;
    this.#since = context.clock.now();
    const { signal } = options;
    const stop = () => this.#close();
    signal?.addEventListener('abort', stop);
    this.#unlisten = () => signal?.removeEventListener('abort', stop);
    if (signal?.aborted) this.#close();
    this.#running = this.#run();
  }

  status(): WatchStatus {
    return {
      prefix: this.prefix,
      state: this.#state,
      since: this.#since,
      synced: this.#synced,
      revision: this.#revision,
      keys: this.#known?.size ?? 0,
      pending: this.#queue.pending,
      snapshots: this.#snapshots,
      refused: this.#known?.refused ?? 0,
      lastError: this.#lastError,
    };
  }

  #enter(state: WatchStatus['state']): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#since = this.#context.clock.now();
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#context;
    const { signal } = this.#stop;
    const backoff = exponentialBackoff(random, { min: 100, max: 5_000 });
    let failures = 0;
    let reason: SnapshotReason = 'first';
    while (!signal.aborted) {
      const snapshots = this.#snapshots;
      let error: KvError;
      try {
        const listed = await this.#begin(reason);
        error = await this.#follow(listed);
      } catch (caught) {
        error =
          caught instanceof KvError
            ? caught
            : new KvError('internal', this.prefix, String(caught), caught);
      }
      this.#stream?.close();
      this.#stream = undefined;
      if (signal.aborted) break;
      reason = this.#revision === 0 && this.#snapshots === 0 ? 'first' : reasonOf(error);
      failures = this.#snapshots > snapshots ? 1 : failures + 1;
      this.#lastError = { code: error.code, message: error.message, at: clock.now() };
      this.#context.onError(error);
      // A compaction or a changed store is no outage; and an outage is told once.
      const told = this.#state === 'disconnected' || (reason === 'compacted' && !this.#once);
      if (!told) this.#queue.mark({ type: 'disconnected', error });
      this.#over = this.#once;
      this.#enter('disconnected');
      if (!told || this.#over) this.#filled.open();
      if (this.#over) return;
      await clock.sleep(backoff(failures), signal);
    }
  }

  /** Lists, unless the caller gave a revision to start from. Returns the revision to follow. */
  async #begin(reason: SnapshotReason): Promise<number> {
    if (this.#resumeFrom === undefined) return this.#list(reason);
    const from = this.#resumeFrom;
    this.#resumeFrom = undefined;
    this.#revision = from;
    return from;
  }

  async #list(cause: SnapshotReason): Promise<number> {
    const { transport, deadline } = this.#context;
    const { signal } = this.#stop;
    this.#known?.begin();
    let revision = 0;
    const pages = pagesOf((request) => transport.range(request, { signal, deadline: deadline() }), {
      prefix: this.prefix,
      limit: this.#pageSize,
      keysOnly: false,
    });
    for await (const { header, entries, more } of pages) {
      signal.throwIfAborted();
      this.#context.onHeader(header);
      if (revision === 0) this.#start(header, cause);
      revision = header.revision;
      for (const entry of entries) this.#admit(entry, true);
      this.#filled.open();
      while (more && this.#queue.pending >= this.#maxPending && !signal.aborted) {
        await this.#drained.wait(signal);
      }
    }
    this.#sweep(revision);
    this.#revision = revision;
    this.#synced = true;
    this.#snapshots++;
    this.#queue.mark({ type: 'synced', revision });
    this.#filled.open();
    return revision;
  }

  #admit(entry: KvEntry, listed: boolean): void {
    // A key that may have been told before is, so that its deletion is told too.
    const admission = this.#known?.admit(entry.key, entry.modRevision) ?? 'known';
    if (admission === 'refused') {
      const message = `${this.prefix} holds more keys than may be followed; the rest is left out`;
      this.#lastError = { code: 'too-large', message, at: this.#context.clock.now() };
      return;
    }
    if (admission === 'older') this.#replaced();
    this.#queue.put(entry, this.#ownWrites || admission !== 'new', listed);
  }

  /** The store is another than it was: from now on the grace runs. */
  #replaced(): void {
    this.#graceUntil = this.#context.clock.now() + this.#grace;
  }

  /** Deletes what the last list did not show, once the grace for a replaced store is over. */
  #sweep(revision: number): void {
    if (this.#known === undefined) return;
    const wait = this.#graceUntil - this.#context.clock.now();
    if (wait > 0) {
      const { round } = this.#known;
      this.#context.clock.sleep(wait, this.#stop.signal).then(() => {
        // A later round has its own sweep, and may be in the middle of its list.
        if (round === this.#known?.round && !this.#stop.signal.aborted) this.#sweep(this.#revision);
      });
      return;
    }
    for (const key of this.#known.stale()) this.#queue.delete(key, revision, true);
    this.#filled.open();
  }

  #start(header: Header, cause: SnapshotReason): void {
    let reason = cause;
    if (cause !== 'first') {
      if (this.#clusterId !== undefined && header.clusterId !== this.#clusterId) {
        reason = 'cluster-changed';
      } else if (header.revision < this.#revision) reason = 'revision-went-back';
      if (reason === 'cluster-changed' || reason === 'revision-went-back') this.#replaced();
    }
    this.#clusterId = header.clusterId;
    this.#enter('listing');
    const { revision, clusterId } = header;
    this.#queue.start({ type: 'snapshot-start', reason, revision, clusterId });
  }

  /** Streams from behind a revision until the stream ends; resolves with why. */
  #follow(listed: number): Promise<KvError> {
    const { transport, clock } = this.#context;
    const deadline = this.#context.deadline();
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      const waiting = new AbortController();
      const end = (error: KvError) => {
        waiting.abort();
        signal.removeEventListener('abort', stopped);
        resolve(error);
      };
      const stopped = () => end(new KvError('closed', this.prefix, 'the watch was closed'));
      signal.addEventListener('abort', stopped);
      if (signal.aborted) return stopped();
      clock.sleep(deadline, waiting.signal).then(() => {
        if (waiting.signal.aborted) return;
        end(
          new KvError(
            'deadline',
            this.prefix,
            `no answer to the watch of ${this.prefix} in ${deadline} ms`,
          ),
        );
      });
      this.#stream = transport.watch(
        { prefix: this.prefix, startRevision: listed + 1 },
        {
          created: (header) => {
            waiting.abort();
            this.#context.onHeader(header);
            const clusterId = clusterIdOf(header, this.#clusterId);
            const moved = this.#clusterId !== undefined && clusterId !== this.#clusterId;
            if (moved || header.revision < listed) {
              return end(
                new KvError(
                  'unavailable',
                  this.prefix,
                  'the store behind the watch is not the one that was listed',
                ),
              );
            }
            this.#clusterId = clusterId;
            if (!this.#synced) {
              this.#synced = true;
              this.#queue.mark({ type: 'synced', revision: listed });
              this.#filled.open();
            }
            this.#enter('watching');
          },
          events: (header, events) => {
            this.#context.onHeader(header);
            this.#receive(events);
            const last = events.at(-1);
            // A progress report's header covers everything up to it; an event's only itself.
            const told = last === undefined ? header.revision : revisionOf(last);
            this.#revision = Math.max(this.#revision, told);
          },
          ended: end,
        },
      );
    });
  }

  #receive(events: readonly StreamEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'put':
          this.#admit(event.entry, false);
          break;
        case 'delete':
          this.#known?.forget(event.key);
          this.#queue.delete(event.key, event.revision, false);
          break;
        default:
          event satisfies never;
      }
    }
    if (events.length > 0) this.#filled.open();
    if (this.#queue.pending >= this.#maxPending) this.#stream?.pause();
  }

  async *batches(most = 1000): AsyncGenerator<readonly WatchEvent[], void, undefined> {
    try {
      while (!this.#stop.signal.aborted) {
        if (this.#queue.empty) {
          if (this.#over) return;
          await this.#filled.wait(this.#stop.signal);
          continue;
        }
        const events = this.#queue.take(most);
        if (this.#queue.pending <= this.#maxPending / 2) {
          this.#drained.open();
          this.#stream?.resume();
        }
        yield events;
      }
    } finally {
      this.#close();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, undefined> {
    for await (const events of this.batches()) yield* events;
  }

  #close(): void {
    if (this.#stop.signal.aborted) return;
    this.#enter('closed');
    this.#stop.abort(new KvError('closed', this.prefix, 'the watch was closed'));
    this.#unlisten?.();
    this.#context.onClosed(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    await this.#running;
  }
}

const revisionOf = (event: StreamEvent): number =>
  event.type === 'put' ? event.entry.modRevision : event.revision;

function reasonOf(error: KvError): SnapshotReason {
  return error.code === 'compacted' ? 'compacted' : 'reconnected';
}
