import { type Log, messageWithCauses } from '@causeway/daemon';
import {
  absent,
  type Compare,
  type Fence,
  type Kv,
  type KvEntry,
  type TxnOperation,
  unchanged,
} from '@causeway/etcd';
import { type Address, Prefix } from '@causeway/ip';
import {
  CLAIMS,
  type Claim,
  ClaimExpiry,
  type ClaimStep,
  claimKey,
  decodeClaim,
  encodeClaim,
  expireClaim,
  forgetNode,
  reserveClaim,
  unreserveClaim,
} from '@causeway/ipam';
import {
  DEFAULT_TTL_SECONDS,
  poolUseKey,
  type ReservedAddress,
  type ResourceStore,
  registryKey,
  reservedAddresses,
} from '@causeway/resources';
import { type Clock, Gate } from '@causeway/tables';
import { fencedTxn } from '../fenced.ts';
import type { PodCidrAllocator } from '../pod-cidrs/allocator.ts';
import type { OperatorTables } from '../sources.ts';
import { showReservation } from './show.ts';

/** After so many looks that failed the last one counts no more. */
const LOOKS_MISSED = 3;

export interface ClaimKeeperOptions {
  readonly kv: Kv;
  readonly store: ResourceStore;
  readonly fence: Fence;
  readonly tables: OperatorTables;
  /** Who knows which addresses are in a node's CIDR; undefined while it is not known. */
  readonly allocator: () => PodCidrAllocator | undefined;
  readonly checkMs: number;
  readonly clock: Clock;
  readonly wall: () => number;
  readonly log: Log;
}

interface Guard {
  readonly compare: Compare[];
  readonly operations: TxnOperation[];
}

interface Read {
  readonly entry: KvEntry;
  readonly claim: Claim;
}

/**
 * The leader's part in addresses that stay: it claims what reservations name and no node's CIDR holds, lets go of
 * what has lain unused for its time, speaks for nodes that are gone for good, and tells reservations what became of
 * them. Everything else is the nodes' own.
 */
export class ClaimKeeper implements Disposable {
  readonly #options: ClaimKeeperOptions;
  readonly #expiry = new ClaimExpiry();
  readonly #wake = new Gate();
  readonly #undo: () => void;
  #claims = new Map<Address, Read>();
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ClaimKeeperOptions) {
    this.#options = options;
    this.#undo = options.tables.reservations.onCommit(() => this.#wake.open());
  }

  /** As they were at the last look. */
  claims(): Claim[] {
    return Array.from(this.#claims.values(), ({ claim }) => claim);
  }

  /** Whether the address is kept for somebody; undefined before the first look and when the last one is too old. */
  keeps(address: string): boolean | undefined {
    const { clock, checkMs } = this.#options;
    const known = clock.now() - this.#lookedAt <= checkMs * LOOKS_MISSED;
    return known ? this.#claims.has(address as Address) : undefined;
  }

  async run(signal: AbortSignal, good: () => void): Promise<void> {
    const { clock, checkMs } = this.#options;
    while (!signal.aborted) {
      const revision = this.#options.tables.reservations.revision;
      await this.round(signal);
      good();
      if (revision !== this.#options.tables.reservations.revision) continue;
      const over = new AbortController();
      const either = AbortSignal.any([signal, over.signal]);
      await Promise.race([this.#wake.wait(either), clock.sleep(checkMs, either)]);
      over.abort();
    }
  }

  /** One look at all claims and reservations. Throws FenceLost, KvError. */
  async round(signal: AbortSignal): Promise<void> {
    const { tables, clock, log } = this.#options;
    this.#claims = await this.#read(signal);
    this.#lookedAt = clock.now();
    for (const { address, epoch, releasedAt } of this.#expiry.observe(this.claims(), clock.now())) {
      const done = await this.#step(
        address,
        (claim) => claim && expireClaim(claim, epoch, releasedAt),
        signal,
      );
      if (done?.type === 'delete')
        log.info({ address }, 'a kept address has lain unused for its time and is free');
    }
    await this.#speakForGone(signal);
    const wanted = new Map<Address, ReservedAddress>();
    const errors = new Map<string, string[]>();
    for (const reservation of tables.reservations) {
      for (const each of reservedAddresses(reservation)) {
        const other = wanted.get(each.address);
        // Who has it keeps it: two that name one address come so from the same moment, or past the check at apply.
        const has = this.#claims.get(each.address)?.claim.reservation === each.reservation;
        if (other === undefined || has) wanted.set(each.address, each);
        if (other === undefined) continue;
        const [kept, late] = has ? [each, other] : [other, each];
        tell(errors, late.reservation, `${each.address} is kept by ${kept.reservation} too`);
      }
    }
    for (const each of wanted.values()) {
      const problem = await this.#reserve(each, signal);
      if (problem !== undefined) tell(errors, each.reservation, problem);
    }
    for (const { claim } of this.#claims.values()) {
      if (claim.reservation === null || this.#stillMeant(claim, wanted)) continue;
      const ttl = claim.ttlSeconds ?? DEFAULT_TTL_SECONDS;
      await this.#step(
        claim.address,
        (now) => now && unreserveClaim(now, ttl, this.#options.wall()),
        signal,
      );
    }
    for (const reservation of tables.reservations) {
      await showReservation(this.#options.store, reservation, this.claims(), errors, signal);
    }
  }

  async #read(signal: AbortSignal): Promise<Map<Address, Read>> {
    const { kv, log } = this.#options;
    const found = new Map<Address, Read>();
    for await (const { entries } of kv.pages(CLAIMS, { signal })) {
      for (const entry of entries) {
        try {
          const claim = decodeClaim(entry.text);
          if (claimKey(claim.address) === entry.key) found.set(claim.address, { entry, claim });
        } catch (error) {
          log.error({ key: entry.key, error: messageWithCauses(error) }, 'a claim cannot be read');
        }
      }
    }
    return found;
  }

  /** A reservation stands, and where it names addresses this one is among them. */
  #stillMeant(claim: Claim, wanted: ReadonlyMap<Address, ReservedAddress>): boolean {
    const { reservation } = claim;
    if (reservation === null) return false;
    const object = this.#options.tables.reservations.get(reservation);
    if (object === undefined) return false;
    if ((object.spec.addresses?.length ?? 0) === 0) return true;
    return wanted.get(claim.address)?.reservation === reservation;
  }

  /** Claims what no node's CIDR holds. Returns why not, for people. */
  async #reserve(wish: ReservedAddress, signal: AbortSignal): Promise<string | undefined> {
    const { address, owner, partner, reservation } = wish;
    const guard: Guard = { compare: [], operations: [] };
    if (!this.#claims.has(address)) {
      const pool = this.#options.allocator()?.drain(Prefix.host(address)).pool;
      if (pool !== undefined) {
        // Read before the question who holds the address: a CIDR that is given after it fails the compare, and who
        // takes ranges away from the pool sees that something of them has been kept.
        const key = poolUseKey(pool);
        const use = await this.#options.kv.get(key, { signal });
        guard.compare.push({ type: 'mod', key, operator: '=', revision: use?.modRevision ?? 0 });
        guard.operations.push({ type: 'put', key, value: '' });
      }
      const refusal = this.#whyNotOurs(address);
      if (refusal !== undefined) return refusal;
    }
    const full = { address, owner, partner, home: null, ttlSeconds: null, reservation };
    const step = await this.#step(address, (claim) => reserveClaim(claim, full), signal, guard);
    return step?.type === 'refused' ? `${step.message}` : undefined;
  }

  /** An address within a node's CIDR is that node's to claim: it alone knows whether a pod has it. */
  #whyNotOurs(address: Address): string | undefined {
    const allocator = this.#options.allocator();
    if (allocator === undefined) return 'the pod CIDRs are being read';
    const [holder] = allocator.drain(Prefix.host(address)).holders;
    if (holder !== undefined) {
      return `${address} is in ${holder.cidr} of node ${holder.node}, which claims it when its pod comes`;
    }
    return undefined;
  }

  /** What a node that is gone for good will never say: its pods are gone too. */
  async #speakForGone(signal: AbortSignal): Promise<void> {
    const { kv, tables, wall } = this.#options;
    for (const { claim } of [...this.#claims.values()]) {
      const { at, holder, owner, address, standby, behind } = claim;
      const named = new Set(
        [...behind, at, standby?.node].filter((name) => typeof name === 'string'),
      );
      for (const name of named) {
        if (tables.nodes.has(name)) continue;
        const node = await kv.get(registryKey('CiliumNode', { name }), { signal });
        const pod = owner.type === 'pod' ? owner.pod : `${owner.name}-${owner.ordinal}`;
        const key = registryKey('Pod', { namespace: owner.namespace, name: pod });
        const runs =
          name === at && holder !== null && (await kv.get(key, { signal })) !== undefined;
        if (node !== undefined || runs) continue;
        await this.#step(address, (now) => now && forgetNode(now, name, wall()), signal);
      }
    }
  }

  /** Writes a step by compare-and-swap. Undefined when the record changed meanwhile: the next look decides anew. */
  async #step(
    address: Address,
    decide: (claim: Claim | undefined) => ClaimStep | undefined,
    signal: AbortSignal,
    guard: Guard = { compare: [], operations: [] },
  ): Promise<ClaimStep | undefined> {
    const { kv, fence } = this.#options;
    const known = this.#claims.get(address);
    const step = decide(known?.claim);
    if (step === undefined || step.type === 'same' || step.type === 'refused') return step;
    const key = claimKey(address);
    const operations: TxnOperation[] =
      step.type === 'delete'
        ? [{ type: 'delete', key }]
        : [{ type: 'put', key, value: encodeClaim(step.claim) }];
    const compare: Compare[] = [known === undefined ? absent(key) : unchanged(known.entry)];
    compare.push(...guard.compare);
    operations.push(...guard.operations);
    if (!(await fencedTxn(kv, fence, compare, operations, signal))) return undefined;
    if (step.type === 'delete') this.#claims.delete(address);
    else {
      const entry = await kv.get(key, { signal });
      if (entry !== undefined) this.#claims.set(address, { entry, claim: decodeClaim(entry.text) });
    }
    return step;
  }

  [Symbol.dispose](): void {
    this.#undo();
  }
}

function tell(errors: Map<string, string[]>, key: string, text: string): void {
  const list = errors.get(key);
  if (list === undefined) errors.set(key, [text]);
  else list.push(text);
}
