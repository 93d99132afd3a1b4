import { type Kv, KvError, type WatchEvent } from '@causeway/etcd';
import { type Clock, Gate } from '@causeway/tables';
import { type ClusterConfig, decodeClusterConfig } from '../codec/cluster-config.ts';
import { MeshError } from '../errors.ts';
import { clusterConfigKey, HEARTBEAT_KEY, type StateTree, stateKindsOf } from '../keys.ts';

/** Section 1.2: no heartbeat for so long means that nobody keeps the store. */
export const HEARTBEAT_TIMEOUT = 120_000;
/** Section 1.3: for so long a config is waited for before the connection is made anew. */
export const CONFIG_TIMEOUT = 180_000;
/** A running watch is not judged again when its user is shut out: a question shows it. */
const CHECK_INTERVAL = 15_000;
/** A store behind a proxy that hangs is shown by questions alone: the proxy answers for it. */
const CHECK_DEADLINES = [5000, 10_000] as const;
/**
 * A store that was replaced lacks for a while what its writers are about to write again. Who promises markers says by
 * them when that is over; of the others this is believed, milliseconds.
 */
export const REPLACED_GRACE = 15_000;
/** We may ask no more, or nobody answers. */
const FATAL: ReadonlySet<KvError['code']> = new Set<KvError['code']>([
  'permission-denied',
  'unauthenticated',
  'deadline',
]);
const CONFIG_RETRY = { first: 1000, most: 30_000 };

/** What is read of a peer, by whoever uses it: a key of `cilium/synced/<c>/`, and how to follow its prefix. */
export interface PeerStream {
  readonly name: string;
  /** The marker that must stand before it starts, where the peer promises markers; none: it starts at once. */
  readonly canary: string | undefined;
  /** Reads until the signal aborts. `synced`: a whole list is in. `broken`: contact is lost. */
  readonly start: (ends: {
    readonly synced: () => void;
    readonly broken: (error: KvError) => void;
  }) => AsyncDisposable;
}

/** A peer's store as one session sees it. */
export interface PeerStore {
  readonly kv: Kv;
  readonly config: ClusterConfig;
  /** The config as it stands in the store. */
  readonly configText: string;
  readonly tree: StateTree;
}

export interface SessionOptions {
  readonly name: string;
  readonly kv: Kv;
  readonly clock: Clock;
  /** Milliseconds between questions that show whether we may still ask; default 15 s. */
  readonly checkInterval?: number;
  /** What to read of a store with such a config. Throws MeshError if it may not be read. */
  readonly open: (store: PeerStore) => readonly PeerStream[];
  readonly onStep: (step: SessionStep) => void;
  readonly upstream?: Upstream;
  /** The store as the last session left it. */
  readonly before?: StoreMark | undefined;
}

/** By what a store is known again. */
export interface StoreMark {
  readonly clusterId: string;
  readonly revision: number;
}

/** Who copies the peer into the store that is read, and may have lost it while the store itself is well. */
export interface Upstream {
  /** Why what the store holds is not current; undefined while it is. */
  problem(): string | undefined;
  /** Called after each change of it. Returns its undoing. */
  onChange(listener: () => void): () => void;
}

export type SessionStep =
  | { readonly type: 'handshake'; readonly reason: string }
  /** Streams that have yet to be read, and what each waits for. */
  | { readonly type: 'syncing'; readonly config: ClusterConfig; readonly reason: string }
  | { readonly type: 'ready'; readonly config: ClusterConfig };

/** Why a session ended. */
export type SessionEnd =
  | { readonly type: 'lost'; readonly reason: string; readonly error: KvError | undefined }
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'closed' };

/**
 * One connection to a peer's store, from greeting to loss (section 4.4): heartbeat, cluster-config, then each
 * prefix once its marker stands. It never lists a second time: after any break, a silent heartbeat or another
 * etcd behind the same name it ends, and the next session greets anew. So nothing is taken for gone because an
 * etcd came back empty: its markers have yet to come.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #stop = new AbortController();
  readonly #streams: AsyncDisposable[] = [];
  #end: SessionEnd | undefined;
  #beat: number;
  #clusterId: string | undefined;
  /** Something is being read that was not read whole yet. */
  #listing = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#beat = options.clock.now();
  }

  /** Resolves with why it ended; the kv is the caller's to close. */
  async run(signal: AbortSignal): Promise<SessionEnd> {
    const closed = () => this.#finish({ type: 'closed' });
    signal.addEventListener('abort', closed);
    if (signal.aborted) closed();
    const undo = this.#pinCluster();
    const working: Promise<unknown>[] = [];
    try {
      working.push(this.#watchHeartbeat(() => working.push(this.#greet())));
      working.push(this.#listenForSilence());
      await new Promise<void>((resolve) => {
        if (this.#stop.signal.aborted) resolve();
        else this.#stop.signal.addEventListener('abort', () => resolve(), { once: true });
      });
    } finally {
      signal.removeEventListener('abort', closed);
      undo();
      for (let i = 0; i < working.length; i++) await working[i];
      await Promise.all(this.#streams.map((each) => each[Symbol.asyncDispose]()));
    }
    return this.#end ?? { type: 'closed' };
  }

  /** What the store last said of itself. */
  health(): ReturnType<Kv['health']> {
    return this.#options.kv.health();
  }

  /** Ends it, to be begun anew. */
  finish(reason: string): void {
    this.#finish({ type: 'lost', reason, error: undefined });
  }

  #finish(end: SessionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#stop.abort();
  }

  #lose(error: unknown): void {
    const kvError = error instanceof KvError ? error : undefined;
    const reason = error instanceof Error ? error.message : String(error);
    this.#finish({ type: 'lost', reason, error: kvError });
  }

  /** Section 4.5: the id of the etcd cluster is the same in every answer of one session. */
  #pinCluster(): () => void {
    return this.#options.kv.onHealth(({ clusterId }) => {
      if (clusterId === undefined) return;
      const pinned = this.#clusterId;
      this.#clusterId ??= clusterId;
      if (pinned === undefined || pinned === clusterId) return;
      this.finish(`another etcd answers: its cluster id is ${clusterId} and was ${pinned}`);
    });
  }

  async #watchHeartbeat(connected: () => void): Promise<void> {
    const { kv, clock } = this.#options;
    let greeted = false;
    await this.#follow(HEARTBEAT_KEY, (event) => {
      if (event.type !== 'put' && event.type !== 'synced') return;
      // What stands there from before says nothing of now; but who has just connected gives it the whole time.
      this.#beat = clock.now();
      this.#clusterId ??= kv.health().clusterId;
      if (event.type !== 'synced' || greeted) return;
      greeted = true;
      connected();
    });
  }

  async #listenForSilence(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const left = this.#beat + HEARTBEAT_TIMEOUT - clock.now();
      if (left <= 0) {
        return this.finish(
          `${HEARTBEAT_KEY} was not written for ${HEARTBEAT_TIMEOUT / 1000} s: nobody keeps the store`,
        );
      }
      await clock.sleep(left, signal);
    }
  }

  async #greet(): Promise<void> {
    try {
      await this.#upstream();
      const found = await this.#config();
      if (found === undefined) return;
      const { config, text: configText } = found;
      if (!config.syncedCanaries && this.#replaced()) await this.#waitForWriters();
      const tree: StateTree = config.cached ? 'cache' : 'state';
      const streams = this.#options.open({ kv: this.#options.kv, config, configText, tree });
      await Promise.all([this.#read(config, streams), this.#check(config)]);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (error instanceof MeshError) this.#finish({ type: 'refused', reason: error.message });
      else this.#lose(error);
    }
  }

  /** Another store, or one that has lost what it had. */
  #replaced(): boolean {
    const { kv, before } = this.#options;
    const { clusterId, revision } = kv.health();
    return before !== undefined && (clusterId !== before.clusterId || revision < before.revision);
  }

  async #waitForWriters(): Promise<void> {
    const { clock, onStep } = this.#options;
    const reason = `the store was replaced; its writers are given ${REPLACED_GRACE / 1000} s`;
    onStep({ type: 'handshake', reason });
    await clock.sleep(REPLACED_GRACE, this.#stop.signal);
    this.#stop.signal.throwIfAborted();
  }

  /** Waits for whoever copies the peer; from then on what he loses is lost here. */
  async #upstream(): Promise<void> {
    const { upstream, onStep } = this.#options;
    if (upstream === undefined) return;
    const { signal } = this.#stop;
    const changed = new Gate();
    let begun = false;
    const undo = upstream.onChange(() => {
      const problem = upstream.problem();
      if (begun && problem !== undefined) this.finish(problem);
      changed.open();
    });
    signal.addEventListener('abort', undo);
    for (let problem = upstream.problem(); problem !== undefined; problem = upstream.problem()) {
      onStep({ type: 'handshake', reason: problem });
      await changed.wait(signal);
      if (signal.aborted) return;
    }
    begun = true;
  }

  /** Undefined when the session has ended over it. */
  async #config(): Promise<{ config: ClusterConfig; text: string } | undefined> {
    const { kv, clock, name, onStep } = this.#options;
    const { signal } = this.#stop;
    const key = clusterConfigKey(name);
    const due = clock.now() + CONFIG_TIMEOUT;
    let reason = '';
    for (let wait = CONFIG_RETRY.first; ; wait = Math.min(wait * 2, CONFIG_RETRY.most)) {
      const entry = await kv.get(key, { signal });
      if (entry === undefined) reason = `${key} does not stand in its store`;
      else {
        try {
          return { config: decodeClusterConfig(entry.text), text: entry.text };
        } catch (error) {
          if (!(error instanceof MeshError)) throw error;
          reason = `${key}: ${error.message}`;
        }
      }
      onStep({ type: 'handshake', reason });
      if (clock.now() + wait > due) break;
      await clock.sleep(wait, signal);
      if (signal.aborted) return undefined;
    }
    this.#finish({ type: 'refused', reason });
    return undefined;
  }

  /** Ends the session of a user who was shut out, and of a cluster that is another one now. */
  async #check(config: ClusterConfig): Promise<void> {
    const { clock, name, checkInterval = CHECK_INTERVAL } = this.#options;
    const { signal } = this.#stop;
    for (;;) {
      await clock.sleep(checkInterval, signal);
      if (signal.aborted) return;
      try {
        const text = await this.#ask();
        // Section 1.3: a config that is missing for a while means nothing.
        const now = text === undefined ? config : decodeClusterConfig(text);
        if (readAlike(now, config)) continue;
        return this.finish(`${clusterConfigKey(name)} has changed`);
      } catch (error) {
        if (signal.aborted) return;
        const code = error instanceof KvError ? error.code : undefined;
        // A list keeps store and reader busy, and has its own deadline.
        if (code === 'deadline' && this.#listing) continue;
        if (code !== undefined && FATAL.has(code)) return this.#lose(error);
      }
    }
  }

  /** The config as it stands now, asked with patience. */
  async #ask(): Promise<string | undefined> {
    const { kv, name } = this.#options;
    const { signal } = this.#stop;
    const [short, long] = CHECK_DEADLINES;
    const key = clusterConfigKey(name);
    try {
      return (await kv.get(key, { signal, deadline: short }))?.text;
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'deadline') throw error;
      return (await kv.get(key, { signal, deadline: long }))?.text;
    }
  }

  async #read(config: ClusterConfig, streams: readonly PeerStream[]): Promise<void> {
    const { name, onStep } = this.#options;
    const unread = new Set(streams);
    const waiting = new Set(config.syncedCanaries ? streams.filter(({ canary }) => canary) : []);
    const tell = () => {
      this.#listing = unread.size > waiting.size;
      if (this.#stop.signal.aborted) return;
      if (unread.size === 0) return onStep({ type: 'ready', config });
      const waits = [...unread].map((each) =>
        waiting.has(each) ? `${each.name} (no marker ${each.canary})` : each.name,
      );
      onStep({ type: 'syncing', config, reason: `still to be read: ${waits.join(', ')}` });
    };
    const start = (stream: PeerStream) => {
      if (this.#stop.signal.aborted) return;
      waiting.delete(stream);
      const synced = () => {
        unread.delete(stream);
        tell();
      };
      this.#streams.push(stream.start({ synced, broken: (error) => this.#lose(error) }));
    };
    for (const stream of streams) if (!waiting.has(stream)) start(stream);
    tell();
    if (waiting.size === 0) return;
    await this.#follow(`cilium/synced/${name}/`, (event) => {
      if (event.type !== 'put') return;
      const { key } = event.entry;
      for (const stream of [...waiting]) if (stream.canary === key) start(stream);
      tell();
    });
  }

  /** Follows a prefix until the session ends; a break ends the session. */
  async #follow(prefix: string, see: (event: WatchEvent) => void): Promise<void> {
    try {
      const { signal } = this.#stop;
      await using watch = this.#options.kv.watch(prefix, { signal, once: true, maxKeys: 1000 });
      for await (const event of watch) {
        if (event.type === 'disconnected') return this.#lose(event.error);
        see(event);
      }
    } catch (error) {
      this.#lose(error);
    }
  }
}

/** Whether what is being read under one config is what the other asks for. */
const readAlike = (a: ClusterConfig, b: ClusterConfig): boolean =>
  a.id === b.id && a.cached === b.cached && stateKindsOf(a).join() === stateKindsOf(b).join();
