import { type Log, messageWithCauses } from '@causeway/daemon';
import { SCOPE } from '@causeway/identity';
import type { Prefix } from '@causeway/ip';
import { nodeIdentityLabels, type PolicyEngine, StableIds } from '@causeway/policy';
import { type Clock, exponentialBackoff, Gate } from '@causeway/tables';
import type { NodeRow } from '../cluster/tables.ts';

/** A node's address, with the identity that it has without the labels of the Node. */
export interface OtherNode {
  readonly node: NodeRow;
  readonly base: number;
}

export interface NodeIdentitiesOptions {
  readonly engine: Pick<PolicyEngine, 'identities' | 'nodeKeys' | 'setIdentity' | 'deleteIdentity'>;
  /** What an earlier run has left in the kernel: it holds until policies are known. */
  readonly found: ReadonlyMap<string, number>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** What can be reached only once everything is made. */
export interface NodeIdentitiesLinks {
  /** All addresses of all other nodes. */
  readonly others: () => Iterable<OtherNode>;
  /** Writes the kernel's rows of these nodes again. Throws what the kernel refuses. */
  readonly rewrite: (nodes: readonly NodeRow[]) => Promise<void>;
  /** Brings the kernel's policies up to the engine, now. */
  readonly flush: () => void;
}

const SCOPE_SIZE = 0x0100_0000;
/** Nodes written in one turn of the event loop. */
const TURN = 512;
/** How long nobody must have had an identity before its policy entries go: the kernel may lag the tables. */
const UNUSED_MS = 5_000;
/** Least time between two rounds over all nodes: labels may change as often as a peer likes. */
const PACE_MS = 500;

/**
 * Identities of nodes that policies tell apart by the labels of their Node (`fromNodes`, `toNodes`). They belong to
 * this agent, as those of prefixes do, and never leave it. What they may be hangs on the policies in force; while
 * none asks for labels, every node has the identity it has without them.
 *
 * An identity's policy entries are in the kernel before an address gets it, and go long after the last one lost it,
 * so no packet meets a policy that does not know its sender. Numbers come from the hash of the labels: a restart gives
 * the same, but where two hashes meet, for then the one that comes second takes the next number.
 */
export class NodeIdentities implements Disposable {
  readonly #options: NodeIdentitiesOptions;
  readonly #ids = new StableIds(SCOPE.remoteNode + 1, SCOPE.remoteNode + SCOPE_SIZE - 1);
  readonly #backoff;
  readonly #stop = new AbortController();
  /** Identities of endpoints that nodes have, and nobody has told the labels of. */
  #unknown = new Set<number>();
  #links: NodeIdentitiesLinks | undefined;
  #keys: ReadonlySet<string> | undefined;
  #known = false;
  /** Why the policies in force do not have their nodes yet. */
  #failure: { readonly error: unknown } | undefined;
  readonly #wake = new Gate();
  /** Since when nobody has had them. */
  readonly #unusedSince = new Map<number, number>();
  #lastRound = Number.NEGATIVE_INFINITY;
  #again = false;
  #running = false;

  constructor(options: NodeIdentitiesOptions) {
    this.#options = options;
    this.#backoff = exponentialBackoff(options.random);
  }

  link(links: NodeIdentitiesLinks): void {
    this.#links = links;
  }

  /** The identity of a node's address; `base` if no policy looks at the Node's labels. */
  of(prefix: Prefix, node: NodeRow, base: number): number {
    if (!this.#known) return this.#options.found.get(prefix) ?? base;
    const { identity, isNew } = this.#identify(node, base, this.#keys, this.#unknown);
    if (isNew) {
      this.#links?.flush();
      this.#renew();
    }
    return identity;
  }

  /**
   * Before policies go to the kernel: gives the engine the nodes that these policies tell apart. The first call says
   * that policies are known. If that fails, nodes stay what they were, and it is tried again.
   */
  prepare(): void {
    try {
      this.#prepare();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = { error };
      this.#renew();
    }
  }

  #prepare(): void {
    const { engine, found } = this.#options;
    const keys = engine.nodeKeys;
    const learned = [...this.#unknown].some((base) => engine.identities.has(base));
    if (this.#known && !learned && keys === this.#keys) return;
    const nothing = !this.#known && keys === undefined && found.size === 0;
    const unknown = new Set<number>();
    if (!nothing) {
      for (const { node, base } of this.#links?.others() ?? [])
        this.#identify(node, base, keys, unknown);
    }
    this.#known = true;
    this.#keys = keys;
    this.#unknown = unknown;
    if (!nothing) this.#renew();
  }

  /** @param unknown gets the base, if nobody has told its labels. */
  #identify(
    node: NodeRow,
    base: number,
    keys: ReadonlySet<string> | undefined,
    unknown: Set<number>,
  ): { readonly identity: number; readonly isNew: boolean } {
    if (keys === undefined) return { identity: base, isNew: false };
    const { engine } = this.#options;
    const without = engine.identities.get(base);
    if (without === undefined) {
      unknown.add(base);
      return { identity: base, isNew: false };
    }
    const labels = nodeIdentityLabels(node, without.labels, keys);
    const known = this.#ids.get(labels.text);
    if (known !== undefined) {
      this.#unusedSince.delete(known);
      return { identity: known, isNew: false };
    }
    const identity = this.#ids.take(labels.text);
    try {
      engine.setIdentity(identity, labels);
    } catch (error) {
      // Else it would count as known to the engine.
      this.#ids.release(labels.text);
      throw error;
    }
    return { identity, isNew: true };
  }

  #inUse(): Set<number> {
    const used = new Set<number>();
    for (const { node, base } of this.#links?.others() ?? [])
      used.add(this.of('' as Prefix, node, base));
    return used;
  }

  #renew(): void {
    this.#again = true;
    this.#wake.open();
    if (this.#running) return;
    this.#running = true;
    void this.#run().finally(() => {
      this.#running = false;
      if (this.#again && !this.#stop.signal.aborted) this.#renew();
    });
  }

  /** Brings the kernel's rows of all nodes to the identities they have now, and drops those that nobody has any more. */
  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let attempts = 0;
    while (!signal.aborted) {
      try {
        if (this.#again) await this.#round();
        if (signal.aborted) return;
        const rest = this.#forget();
        attempts = 0;
        if (this.#again) continue;
        if (rest === undefined) return;
        await this.#pause(rest);
      } catch (error) {
        if (signal.aborted) return;
        const { log } = this.#options;
        log.warn({ error: messageWithCauses(error) }, "nodes' identities are not in the kernel");
        await this.#pause(this.#backoff(++attempts));
        this.#again = true;
      }
    }
  }

  async #round(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    // What prompted it goes to the kernel first.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const early = this.#lastRound + PACE_MS - clock.now();
    if (early > 0) await clock.sleep(early, signal);
    if (signal.aborted) return;
    this.#lastRound = clock.now();
    if (this.#failure !== undefined) this.#links?.flush();
    this.#again = false;
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#rewrite();
  }

  /** Ends early when there is something to do. */
  async #pause(ms: number): Promise<void> {
    if (this.#again) return;
    const over = new AbortController();
    const either = AbortSignal.any([this.#stop.signal, over.signal]);
    await Promise.race([this.#wake.wait(either), this.#options.clock.sleep(ms, either)]);
    over.abort();
  }

  async #rewrite(): Promise<void> {
    const nodes = new Set(Array.from(this.#links?.others() ?? [], ({ node }) => node));
    const all = [...nodes];
    for (let at = 0; at < all.length && !this.#stop.signal.aborted; at += TURN) {
      await this.#links?.rewrite(all.slice(at, at + TURN));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /**
   * Drops identities that nobody has had for long enough. Only after a round that went well: before it, the kernel's
   * rows may still have them.
   * @returns Milliseconds until the next is due; undefined if all are in use.
   */
  #forget(): number | undefined {
    const now = this.#options.clock.now();
    const used = this.#inUse();
    let rest: number | undefined;
    let gone = false;
    for (const [text, identity] of [...this.#ids]) {
      if (used.has(identity)) continue;
      const since = this.#unusedSince.get(identity) ?? now;
      const left = since + UNUSED_MS - now;
      if (left > 0) {
        this.#unusedSince.set(identity, since);
        rest = Math.min(rest ?? left, left);
        continue;
      }
      this.#unusedSince.delete(identity);
      this.#ids.release(text);
      this.#options.engine.deleteIdentity(identity);
      gone = true;
    }
    if (gone) this.#links?.flush();
    return rest;
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}
