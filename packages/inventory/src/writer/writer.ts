import type { Log } from '@causeway/daemon';
import type { Fence, Kv } from '@causeway/etcd';
import {
  announceClusterConfig,
  announceHeartbeat,
  announceSynced,
  HEARTBEAT_INTERVAL,
  STATE_KINDS,
  statePrefix,
  syncedKey,
} from '@causeway/mesh';
import { type Clock, Gate } from '@causeway/tables';
import type { ExpiredItem } from '../core/expired.ts';
import type { Inventory } from '../core/inventory.ts';
import type { Batch, ClusterSettings, Publication, Write } from '../core/publication.ts';
import { retrying } from '../retry.ts';
import { FencedWriter, FenceLost } from './fenced.ts';

export interface WriterOptions {
  readonly kv: Kv;
  readonly fence: Fence;
  readonly cluster: ClusterSettings;
  readonly inventory: Inventory;
  readonly publication: Publication;
  readonly clock: Clock;
  /** ms of a clock that nobody sets. */
  readonly monotonic: () => number;
  readonly random: () => number;
  readonly log: Log;
  /** After so long the store is declared complete even if a source has not spoken yet. */
  readonly firstSyncSeconds: number;
  readonly auditSeconds: number;
  readonly onFenceLost: () => void;
  /** Endpoints whose time to live is over. */
  readonly onExpired: (expired: readonly ExpiredItem[]) => void;
}

export interface WriterStatus {
  /** Addresses that may differ from what the store says. */
  readonly pending: number;
  readonly writes: number;
  /** Readers have been told that the first list is complete. */
  readonly declared: boolean;
  /** Keys that the store had lost or that others had changed, and that were put right. */
  readonly repaired: number;
  readonly lastError: string | undefined;
}

/** Services are nobody's here: whoever wants some writes them himself. */
const AUDITED = Object.freeze(['identities', 'nodes', 'ip'] as const);
const BATCH = 1000;
const TICK_MS = 1000;

/** The leader's hand: keeps the store equal to what the inventory wants, in the order that readers need. */
export class Writer {
  readonly #options: WriterOptions;
  readonly #writer: FencedWriter;
  readonly #signal: AbortSignal;
  readonly #gate = new Gate();
  readonly #began: number;
  #declared = false;
  #repaired = 0;
  #lastError: string | undefined;
  /** Keys that a look at the store found to be otherwise. */
  #doubtful: string[] = [];

  constructor(options: WriterOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#writer = new FencedWriter(options.kv, options.fence, signal);
    this.#began = options.monotonic();
  }

  status(): WriterStatus {
    return {
      pending: this.#options.inventory.changed,
      writes: this.#writer.writes,
      declared: this.#declared,
      repaired: this.#repaired,
      lastError: this.#lastError,
    };
  }

  /** There may be something to write. */
  wake(): void {
    this.#gate.open();
  }

  /** Until the signal aborts or the lead is lost. */
  async run(): Promise<void> {
    try {
      await Promise.all([this.#keepAlive(), this.#publish(), this.#audit()]);
    } catch (error) {
      if (!(error instanceof FenceLost)) throw error;
      this.#options.onFenceLost();
    }
  }

  /** The heartbeat, without which readers leave within two minutes, and the config, without which none begins. */
  async #keepAlive(): Promise<void> {
    const { clock, cluster } = this.#options;
    const config = announceClusterConfig(cluster.name, cluster.config);
    while (!this.#signal.aborted) {
      await this.#insist('heartbeat', [
        { type: 'put', ...announceHeartbeat(clock.now()) },
        { type: 'put', ...config },
      ]);
      await clock.sleep(HEARTBEAT_INTERVAL, this.#signal);
    }
  }

  async #publish(): Promise<void> {
    const { inventory, publication, monotonic, clock } = this.#options;
    const signal = this.#signal;
    this.#declared = await this.#isDeclared();
    let ticked = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      if (monotonic() - ticked >= TICK_MS) {
        ticked = monotonic();
        const expired = inventory.tick(ticked);
        if (expired.length > 0) this.#options.onExpired(expired);
        const { retry, writes } = publication.due(ticked);
        await this.#insist('identities', writes);
        inventory.touch(retry);
        await this.#repair();
      }
      const changed = inventory.takeChanged(BATCH);
      if (changed.length > 0) {
        const wanted = changed.map((address) => ({
          address,
          endpoint: inventory.endpoint(address),
        }));
        await this.#send(publication.batch(wanted, monotonic()));
        continue;
      }
      if (!this.#declared) await this.#declare();
      if (inventory.changed > 0) continue;
      const asleep = new AbortController();
      const either = AbortSignal.any([signal, asleep.signal]);
      await Promise.race([this.#gate.wait(either), clock.sleep(TICK_MS, either)]);
      asleep.abort();
    }
  }

  async #send({ before, entries, after }: Batch): Promise<void> {
    for (const part of [before, entries, after]) await this.#insist('entries', part);
  }

  /** Until it is done: a batch is never half there for longer than the store is away. */
  async #insist(name: string, writes: readonly Write[]): Promise<void> {
    if (writes.length === 0) return;
    const { clock, random, log } = this.#options;
    const onError = (message: string | undefined) => {
      this.#lastError = message;
    };
    const final = (error: unknown) => error instanceof FenceLost;
    await retrying({ name, clock, random, log, onError, final }, this.#signal, () =>
      this.#writer.write(writes),
    );
  }

  async #isDeclared(): Promise<boolean> {
    const { kv, cluster, clock, random, log } = this.#options;
    const found = await retrying({ name: 'markers', clock, random, log }, this.#signal, () =>
      Promise.all(
        STATE_KINDS.map((kind) => kv.get(syncedKey(cluster.name, kind), { signal: this.#signal })),
      ),
    );
    return found?.every((entry) => entry !== undefined) ?? false;
  }

  /** Once all that is to stand at first does: only then do readers begin to read. */
  async #declare(): Promise<void> {
    const { clock, cluster, inventory, log, monotonic, firstSyncSeconds } = this.#options;
    const late = monotonic() - this.#began >= firstSyncSeconds * 1000;
    if (inventory.changed > 0 || !(inventory.synced || late)) return;
    await this.#insist(
      'markers',
      STATE_KINDS.map((kind) => ({
        type: 'put',
        ...announceSynced(cluster.name, kind, clock.now()),
      })),
    );
    if (this.#signal.aborted) return;
    this.#declared = true;
    const { entries, nodes, numbers } = this.#options.publication;
    const fields = { entries, nodes, identities: numbers.used };
    if (inventory.synced) log.info(fields, 'the first list stands in the store');
    else log.warn(fields, 'the first list is declared without sources that have not spoken yet');
  }

  /** Looks now and then whether the store still says what was written. What differs is looked at again in `#repair`. */
  async #audit(): Promise<void> {
    const { kv, cluster, publication, clock, random, log, auditSeconds } = this.#options;
    const signal = this.#signal;
    for (;;) {
      await clock.sleep(auditSeconds * 1000, signal);
      if (signal.aborted) return;
      const found = await retrying({ name: 'audit', clock, random, log }, signal, async () => {
        const standing = new Map(publication.standing());
        const doubtful: string[] = [];
        for (const kind of AUDITED) {
          for await (const page of kv.pages(statePrefix(kind, cluster.name), { signal })) {
            for (const { key, text } of page.entries) {
              if (standing.get(key) !== text) doubtful.push(key);
              standing.delete(key);
            }
          }
        }
        return [...doubtful, ...standing.keys()];
      });
      this.#doubtful = found ?? [];
      if (this.#doubtful.length > 0) this.wake();
    }
  }

  /** In the writer's own turn, so that nothing of ours is under way. */
  async #repair(): Promise<void> {
    const doubtful = this.#doubtful;
    if (doubtful.length === 0) return;
    this.#doubtful = [];
    const { kv, inventory, publication, clock, random, log } = this.#options;
    const standing = new Map(publication.standing());
    const writes: Write[] = [];
    for (const key of doubtful) {
      const entry = await retrying({ name: 'repair', clock, random, log }, this.#signal, () =>
        kv.get(key, { signal: this.#signal }),
      );
      if (this.#signal.aborted) return;
      const value = standing.get(key);
      // What a source that has yet to speak may still name is nobody's to delete.
      if (entry?.text === value || (value === undefined && !inventory.synced)) continue;
      writes.push(value === undefined ? { type: 'delete', key } : { type: 'put', key, value });
    }
    if (writes.length === 0) return;
    this.#repaired += writes.length;
    log.warn(
      { keys: writes.length, first: writes[0]?.key },
      'keys in the store were not as written; they are put right',
    );
    await this.#insist('repair', writes);
  }
}
