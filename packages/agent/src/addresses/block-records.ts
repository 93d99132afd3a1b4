import { type Log, messageWithCauses } from '@causeway/daemon';
import type { Kv } from '@causeway/etcd';
import { Prefix } from '@causeway/ip';
import { decodePodCidr, POD_CIDRS, podCidrKey } from '@causeway/resources';
import { type Clock, Gate } from '@causeway/tables';
import type { NodeTable } from '../cluster/tables.ts';

/** How often the records of blocks are read on which a step waits, of those at rest, and all records of a loss. */
const SOON_MS = 250;
const REST_MS = 30_000;
const SCAN_MS = 5_000;

export interface BlockRecordsOptions {
  readonly kv: Kv;
  readonly cluster: string;
  readonly node: string;
  readonly nodes: NodeTable;
  readonly clock: Clock;
  readonly onChange: () => void;
  readonly log: Log;
}

interface Known {
  readonly recorded: boolean;
  readonly takenBy: string | undefined;
}

/**
 * The operator's records of this node's pod CIDRs: each is read by its key, soon while somebody waits for it and now
 * and then otherwise. Records of others that overlap are looked for only when an own one is missing.
 */
export class BlockRecords implements AsyncDisposable {
  readonly #options: BlockRecordsOptions;
  readonly #stop = new AbortController();
  readonly #wake = new Gate();
  readonly #known = new Map<Prefix, Known>();
  readonly #running: Promise<void>;
  #wanted = new Map<Prefix, boolean>();
  #asked = new Map<Prefix, number>();
  #scanned = Number.NEGATIVE_INFINITY;
  /** How often something was called for: what is being read then may be too old. */
  #calls = 0;

  constructor(options: BlockRecordsOptions) {
    this.#options = options;
    this.#running = this.#run(this.#stop.signal);
  }

  /** What is known of a block's record; undefined: nothing yet. */
  of(cidr: Prefix): Known | undefined {
    return this.#known.get(cidr);
  }

  /** The node's blocks, and whether a step waits for each. */
  follow(blocks: ReadonlyMap<Prefix, boolean>): void {
    let urgent = false;
    for (const [cidr, waits] of blocks) {
      if (!this.#wanted.has(cidr) || (waits && !this.#wanted.get(cidr))) {
        this.#asked.delete(cidr);
        urgent = true;
      }
    }
    for (const cidr of this.#known.keys()) if (!blocks.has(cidr)) this.#known.delete(cidr);
    for (const cidr of this.#asked.keys()) if (!blocks.has(cidr)) this.#asked.delete(cidr);
    this.#wanted = new Map(blocks);
    if (urgent) this.#call();
  }

  /** What the store says of the node has changed: all of it is read again. */
  again(): void {
    this.#asked.clear();
    this.#call();
  }

  #call(): void {
    this.#calls++;
    this.#wake.open();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, onChange, log } = this.#options;
    while (!signal.aborted) {
      const calls = this.#calls;
      try {
        if (await this.#round(signal)) onChange();
      } catch (error) {
        if (signal.aborted) return;
        log.debug({ error: messageWithCauses(error) }, 'the records of pod CIDRs cannot be read');
      }
      if (calls !== this.#calls) continue;
      const waits = [...this.#wanted.values()].some((each) => each);
      const done = new AbortController();
      const either = AbortSignal.any([signal, done.signal]);
      await Promise.race([
        this.#wake.wait(either),
        clock.sleep(waits ? SOON_MS : REST_MS / 10, either),
      ]);
      done.abort();
    }
  }

  /** Whether anything is another than before. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { kv, node, clock } = this.#options;
    const calls = this.#calls;
    const due = [...this.#wanted].filter(
      ([cidr, waits]) =>
        clock.now() - (this.#asked.get(cidr) ?? Number.NEGATIVE_INFINITY) >=
        (waits ? SOON_MS : REST_MS),
    );
    let changed = false;
    const missing: Prefix[] = [];
    await Promise.all(
      due.map(async ([cidr]) => {
        const entry = await kv.get(podCidrKey(cidr), { signal });
        if (calls === this.#calls) this.#asked.set(cidr, clock.now());
        const record = entry && decodePodCidr(entry);
        if (record === undefined) missing.push(cidr);
        else {
          const mine = record.node === node;
          changed = this.#see(cidr, mine, mine ? undefined : record.node) || changed;
        }
      }),
    );
    if (missing.length === 0) return changed;
    const overlapping = await this.#overlapping(missing, signal);
    for (const cidr of missing) changed = this.#see(cidr, false, overlapping.get(cidr)) || changed;
    return changed;
  }

  #see(cidr: Prefix, recorded: boolean, takenBy: string | undefined): boolean {
    const before = this.#known.get(cidr);
    if (before?.recorded === recorded && before.takenBy === takenBy) return false;
    this.#known.set(cidr, { recorded, takenBy });
    return true;
  }

  /** Who has parts of these: by what other nodes say of themselves, and by records, of which there may be many. */
  async #overlapping(
    cidrs: readonly Prefix[],
    signal: AbortSignal,
  ): Promise<Map<Prefix, string | undefined>> {
    const { kv, node, nodes, cluster, clock } = this.#options;
    const found = new Map<Prefix, string | undefined>();
    for (const row of nodes.rows()) {
      if (row.cluster === cluster && row.name === node) continue;
      for (const cidr of cidrs)
        if (row.podCIDRs.some((other) => Prefix.overlaps(other, cidr))) found.set(cidr, row.name);
    }
    if (clock.now() - this.#scanned < SCAN_MS) {
      for (const cidr of cidrs)
        if (!found.has(cidr)) found.set(cidr, this.#known.get(cidr)?.takenBy);
      return found;
    }
    for await (const page of kv.pages(POD_CIDRS, { signal })) {
      for (const entry of page.entries) {
        const record = decodePodCidr(entry);
        if (record === undefined || record.node === node) continue;
        for (const cidr of cidrs)
          if (Prefix.overlaps(record.cidr, cidr)) found.set(cidr, record.node);
      }
    }
    this.#scanned = clock.now();
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake.open();
    await this.#running;
  }
}
