import { type Log, messageWithCauses, type StateDirectory } from '@causeway/daemon';
import { absent, type Compare, type Kv, type KvEntry, type TxnOperation } from '@causeway/etcd';
import { Address, type Prefix } from '@causeway/ip';
import {
  CLAIMS,
  type Claim,
  type ClaimRefusal,
  type ClaimStep,
  claimKey,
  decodeClaim,
  encodeClaim,
} from '@causeway/ipam';
import { decodePodCidr, podCidrKey } from '@causeway/resources';
import { AgentError } from '../errors.ts';
import type { ClaimRow, ClaimTable } from './claim-rows.ts';

/** Others change the same records; whoever loses this often in a row has a reason to say so. */
const ATTEMPTS = 8;
/** Reasons for a list that mean another store than before behind the same name. */
const STRANGE: ReadonlySet<string> = new Set(['cluster-changed', 'revision-went-back']);

/** One change of one claim: the record as it is, in; what becomes of it, out. */
export interface ClaimChange {
  readonly address: Address;
  readonly step: (claim: Claim | undefined) => ClaimStep;
}

/** How a set of changes, which are made together or not at all, went. */
export type ClaimOutcome =
  | { readonly type: 'done'; readonly claims: readonly (Claim | undefined)[] }
  | ClaimRefusal;

export interface ClaimStoreOptions {
  readonly kv: Kv;
  readonly table: ClaimTable;
  readonly state: StateDirectory<ClaimRow>;
  readonly node: string;
  /** The CIDR of this node that holds the address; `recorded`: its record in the store says whose it is. */
  readonly covering: (
    address: Address,
  ) => { readonly cidr: Prefix; readonly recorded: boolean } | undefined;
  readonly log: Log;
}

/** All claims of the cluster in a table, and the way to change them: by compare-and-swap, the steps being pure. */
export class ClaimStore implements AsyncDisposable {
  readonly table: ClaimTable;
  readonly #options: ClaimStoreOptions;
  readonly #watch;
  readonly #running: Promise<void>;
  readonly #stop = new AbortController();
  readonly #kept = new Set<string>();
  /** What is being written to the run directory; each rejects where that fails. */
  readonly #writing = new Map<Address, Promise<void>>();
  /** Addresses of records that nobody can read: kept out of use. */
  readonly #unreadable = new Set<Address>();
  #synced = false;

  constructor(options: ClaimStoreOptions) {
    this.#options = options;
    const { kv, table, state, log } = options;
    this.table = table;
    const { records, refused } = state.load();
    for (const { error } of refused)
      log.warn({ error: error.message }, 'a remembered claim cannot be used');
    for (const [name, row] of records) {
      this.#kept.add(name);
      table.put(row);
    }
    this.#watch = kv.watch(CLAIMS, { known: [...table.keys()].map((key) => CLAIMS + key) });
    this.#running = this.#run();
  }

  /** All claims have been read in this run. */
  get synced(): boolean {
    return this.#synced;
  }

  get unreadable(): ReadonlySet<Address> {
    return this.#unreadable;
  }

  /** Reads all of them again, and not what a watch may be late with; done once what concerns this node is remembered. */
  async read(signal: AbortSignal): Promise<void> {
    for await (const { entries } of this.#options.kv.pages(CLAIMS, { signal })) {
      this.table.database.write(() => {
        for (const entry of entries) this.#see(entry);
      });
    }
    await Promise.all(this.#writing.values());
  }

  /**
   * A claim that is made anew in a CIDR that the operator gave stands or falls with the CIDR's record: a node that has
   * not heard yet that its CIDR was taken from it makes none behind the back of the one that has it now.
   *
   * @throws KvError when the store does not answer, AgentError `busy` if others are always faster.
   */
  async change(changes: readonly ClaimChange[], signal?: AbortSignal): Promise<ClaimOutcome> {
    const { kv } = this.#options;
    const call = signal === undefined ? {} : { signal };
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const entries = await Promise.all(
        changes.map(({ address }) => kv.get(claimKey(address), call)),
      );
      const compare: Compare[] = [];
      const success: TxnOperation[] = [];
      const claims: (Claim | undefined)[] = [];
      for (const [index, { address, step }] of changes.entries()) {
        const entry = entries[index];
        const key = claimKey(address);
        const result = step(entry === undefined ? undefined : readClaim(entry));
        if (result.type === 'refused') {
          if (entry !== undefined) this.#see(entry, 'settled');
          return result;
        }
        compare.push(
          entry === undefined
            ? absent(key)
            : { type: 'mod', key, operator: '=', revision: entry.modRevision },
        );
        if (entry === undefined && result.type === 'write') {
          const held = await this.#holdsBlock(address, call);
          if (held?.type === 'refused') return held;
          if (held !== undefined) compare.push(held);
        }
        claims.push(result.type === 'delete' ? undefined : result.claim);
        if (result.type === 'write')
          success.push({ type: 'put', key, value: encodeClaim(result.claim) });
        else if (result.type === 'delete') success.push({ type: 'delete', key });
      }
      if (success.length === 0) {
        for (const entry of entries) if (entry !== undefined) this.#see(entry, 'settled');
        return { type: 'done', claims };
      }
      const { succeeded, revision } = await kv.txn({ compare, success }, call);
      if (!succeeded) continue;
      this.table.database.write(() => {
        for (const [index, claim] of claims.entries()) {
          if (claim === undefined) this.#forget(changes[index]!.address);
          else this.keep({ claim, revision });
        }
      });
      return { type: 'done', claims };
    }
    const { address } = changes[0]!;
    throw new AgentError('busy', `the claim of ${address} changes all the time`, {
      field: 'address',
      value: address,
      hint: 'try again',
    });
  }

  /** What must still be so when a claim of the address is made; undefined: it lies in no CIDR that has a record. */
  async #holdsBlock(
    address: Address,
    call: { signal?: AbortSignal },
  ): Promise<Compare | ClaimRefusal | undefined> {
    const { covering, kv, node } = this.#options;
    const block = covering(address);
    if (block === undefined || !block.recorded) return undefined;
    const key = podCidrKey(block.cidr);
    const entry = await kv.get(key, call);
    const holder = entry && decodePodCidr(entry)?.node;
    if (entry !== undefined && holder === node) {
      return { type: 'mod', key, operator: '=', revision: entry.modRevision };
    }
    return {
      type: 'refused',
      code: 'block-taken',
      message: `${address} is of ${block.cidr}, which the store says is of ${holder ?? 'no node'}`,
      by: holder,
      hint: `it goes on once the operator has given ${block.cidr} to ${node} again, or the pod has another address`,
    };
  }

  /** A row from wherever it was heard of; an older one than is known changes nothing. */
  keep(row: ClaimRow): void {
    const { address } = row.claim;
    const before = this.table.get(address);
    if (before !== undefined && before.revision > row.revision) return;
    // Read again and again, as for each CIDR that comes.
    if (before?.revision === row.revision && this.#kept.has(address)) return;
    this.#hold(row);
  }

  /** A claim as it is here while the store is away: what the store has instead does not count until both were compared. */
  pend(claim: Claim): void {
    this.#hold({ claim, revision: 0 });
  }

  #hold(row: ClaimRow): void {
    const { node, covering, state, log } = this.#options;
    const { address, at, home, from, standby } = row.claim;
    this.table.put(row);
    const named = [at, home, from, standby?.node].includes(node);
    const concerns = named || covering(address) !== undefined;
    if (!concerns && !this.#kept.has(address)) return;
    const done = concerns ? state.write(address, row) : state.remove(address);
    if (concerns) this.#kept.add(address);
    else this.#kept.delete(address);
    this.#writing.set(address, done);
    done
      .catch((error) =>
        log.error({ address, error: messageWithCauses(error) }, 'a claim cannot be remembered'),
      )
      .finally(() => {
        if (this.#writing.get(address) === done) this.#writing.delete(address);
      });
  }

  #forget(address: Address): void {
    this.table.delete(address);
    this.#unreadable.delete(address);
    if (!this.#kept.delete(address)) return;
    this.#options.state.remove(address).catch(() => {
      // It is told of again at the next start, and deleted then.
    });
  }

  async #run(): Promise<void> {
    for await (const events of this.#watch.batches()) {
      if (this.#stop.signal.aborted) return;
      this.table.database.write(() => {
        for (const event of events) {
          if (event.type === 'put') this.#see(event.entry);
          else if (event.type === 'delete') {
            const address = Address.tryParse(event.key.slice(CLAIMS.length));
            // One that waits for the store is not gone because the store lacks it.
            if (address !== undefined && this.table.get(address)?.revision !== 0)
              this.#forget(address);
          } else if (event.type === 'snapshot-start' && STRANGE.has(event.reason)) this.#anew();
          else if (event.type === 'synced') this.#synced = true;
        }
      });
    }
  }

  /**
   * Another store stands behind the name, or an older state of it: its revisions say nothing about what is known. What
   * endpoints here have is said again; of everything else it is right, whatever it says.
   */
  #anew(): void {
    for (const row of [...this.table.rows()]) {
      const { claim, revision } = row;
      if (claim.at === this.#options.node && claim.holder !== null) this.pend(claim);
      else if (revision > 0) this.#hold({ claim, revision: 1 });
    }
  }

  /** @param how `settled`: what was changed here while the store was away has been held against it. */
  #see(entry: KvEntry, how: 'heard' | 'settled' = 'heard'): void {
    const address = Address.tryParse(entry.key.slice(CLAIMS.length));
    if (address === undefined || claimKey(address) !== entry.key) return;
    try {
      const claim = readClaim(entry);
      if (claim.address !== address) throw new Error(`it speaks of ${claim.address}`);
      this.#unreadable.delete(address);
      if (how === 'heard' && this.table.get(address)?.revision === 0) return;
      this.keep({ claim, revision: entry.modRevision });
    } catch (error) {
      this.#unreadable.add(address);
      const { log } = this.#options;
      log.warn({ address, error: messageWithCauses(error) }, 'a claim cannot be read');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watch[Symbol.asyncDispose]();
    await this.#running;
  }
}

const readClaim = (entry: KvEntry): Claim => decodeClaim(entry.text);
