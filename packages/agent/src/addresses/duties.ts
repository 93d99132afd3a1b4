import { type Log, messageWithCauses } from '@causeway/daemon';
import { type Address, Prefix } from '@causeway/ip';
import {
  announceClaim,
  type Claim,
  type ClaimDuty,
  type ClaimStep,
  dutyOf,
  isBehind,
  ownerText,
  releaseClaim,
  takeClaim,
  withdrawnClaim,
} from '@causeway/ipam';
import type { PodRange } from '../bgp/inputs.ts';
import type { NodeAddressPool } from '../endpoints/pool.ts';
import type { EndpointTable } from '../endpoints/table.ts';
import type { MovedAddress } from '../host/routes.ts';
import type { ClaimChange, ClaimStore } from './claims.ts';
import { type FixedAddresses, holderOf } from './fixed.ts';
import type { Covering } from './keeper.ts';

/** How soon what waits for the speaker, the store or a pod's interface is looked at again. */
const STEP_MS = 200;
const RETRY_MS = 1_000;

export interface DutyPorts {
  /** The manager's: nothing passes; it passes again; this one or the other is the address. */
  stop(id: number, reason: string): Promise<unknown>;
  resume(id: number): Promise<unknown>;
  handOver(id: number, standby: boolean): Promise<unknown>;
  /** The cluster knows the address to be here. */
  said(address: Address): boolean;
  announced(prefix: Prefix): boolean;
  withdrawn(prefix: Prefix): boolean;
  /** Addresses that have come or gone want routes and announcements. */
  onRoutes(): void;
}

export interface DutiesOptions {
  readonly node: string;
  readonly claims: ClaimStore;
  readonly fixed: FixedAddresses;
  readonly pool: NodeAddressPool;
  readonly endpoints: EndpointTable;
  /** The address lies in a pod CIDR of this node, and whether the others are told of that one. */
  readonly covering: (address: Address) => Covering | undefined;
  /** Claims of explicit addresses in this node's CIDRs that nobody has made yet. */
  readonly reservable: () => Iterable<ClaimChange>;
  readonly connected: () => boolean;
  readonly log: Log;
}

/**
 * What follows from claims for this node: addresses that are kept, endpoints that speak, fall silent or stop, routes and
 * announcements of addresses that have moved, and the words by which the nodes of a move know of each other.
 */
export class ClaimDuties implements AsyncDisposable {
  readonly #options: DutiesOptions;
  readonly #stop = new AbortController();
  readonly #failing = new Map<Address, string>();
  #ports: DutyPorts | undefined;
  #undo: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #soon = false;
  #working: Promise<void> = Promise.resolve();
  #next: { readonly work: (() => Promise<unknown>)[]; readonly changes: ClaimChange[] } | undefined;
  #moved: readonly MovedAddress[] = [];
  #announced: readonly PodRange[] = [];

  constructor(options: DutiesOptions) {
    this.#options = options;
  }

  /** Addresses that are elsewhere than their CIDR, as the node's routes look at them. */
  get moved(): readonly MovedAddress[] {
    return this.#moved;
  }

  /** Addresses that are announced from here on their own. */
  get announced(): readonly PodRange[] {
    return this.#announced;
  }

  /** Claims that cannot be brought to what they should be, with the reason. */
  get problems(): ReadonlyMap<Address, string> {
    return this.#failing;
  }

  start(ports: DutyPorts): void {
    this.#ports = ports;
    const { claims, endpoints } = this.#options;
    this.#undo = [claims.table, endpoints].map((table) => table.onCommit(() => this.look()));
    this.look();
  }

  /** Keeps from the pool what is kept for others; before endpoints are restored, too. */
  keep(): void {
    const { claims, pool, node, covering } = this.#options;
    const kept = new Set<Address>();
    for (const { claim } of claims.table.rows()) {
      const here = claim.at === node || claim.standby?.node === node;
      if (here || covering(claim.address) !== undefined) kept.add(claim.address);
    }
    for (const address of claims.unreadable) kept.add(address);
    pool.keep(kept);
  }

  look(): void {
    if (this.#soon || this.#stop.signal.aborted) return;
    this.#soon = true;
    setImmediate(() => {
      this.#soon = false;
      this.#turn();
    });
  }

  #turn(): void {
    const ports = this.#ports;
    if (ports === undefined || this.#stop.signal.aborted) return;
    this.keep();
    const { claims, node, covering } = this.#options;
    const moved: MovedAddress[] = [];
    const announced: PodRange[] = [];
    const changes: ClaimChange[] = [];
    const work: (() => Promise<unknown>)[] = [];
    let waits = false;
    for (const { claim, revision } of claims.table.rows()) {
      const { address } = claim;
      const cover = covering(address);
      const duty = dutyOf(claim, node, cover !== undefined);
      const route = routeOf(claim, duty, node, cover !== undefined);
      if (route !== undefined) moved.push(route);
      if (duty.announce) announced.push({ prefix: Prefix.host(address) });
      work.push(...this.#endpointWork(ports, claim, duty));
      if (revision === 0) {
        changes.push({ address, step: (stored) => catchUp(stored, claim) });
        continue;
      }
      const step = this.#step(ports, claim, duty, cover);
      if (step === 'waits') waits = true;
      else if (step !== undefined) changes.push({ address, step });
    }
    changes.push(...this.#options.reservable());
    this.#tell(ports, moved, announced);
    const wanted = new Set(changes.map(({ address }) => address));
    for (const address of this.#failing.keys()) {
      if (!wanted.has(address)) this.#failing.delete(address);
    }
    if (work.length + changes.length > 0) {
      // The newest turn says all that is left to do: of those that wait no other is needed.
      const queued = this.#next !== undefined;
      this.#next = { work, changes };
      if (!queued) this.#working = this.#working.then(() => this.#doNext());
    }
    clearTimeout(this.#timer);
    if (waits || changes.length > 0) {
      this.#timer = setTimeout(() => this.#turn(), waits ? STEP_MS : RETRY_MS);
      this.#timer.unref();
    }
  }

  /** What the claim's record has yet to say; undefined: nothing. */
  #step(
    ports: DutyPorts,
    claim: Claim,
    duty: ClaimDuty,
    cover: Covering | undefined,
  ): 'waits' | undefined | ((stored: Claim | undefined) => ClaimStep) {
    const { node, endpoints, fixed } = this.#options;
    const { address, at, epoch, holder, standby } = claim;
    const prefix = Prefix.host(address);
    for (const place of [
      at === node ? holder : null,
      standby?.node === node ? standby.holder : null,
    ]) {
      if (place === null || fixed.isTaking(place)) continue;
      if (endpoints.first('attachment', place) !== undefined) continue;
      // Its pod has gone, perhaps while no agent ran.
      const gone = { node, holder: place };
      return (stored) =>
        stored === undefined ? { type: 'delete' } : releaseClaim(stored, gone, Date.now());
    }
    if (duty.endpoint === 'active' && !claim.announced && holder !== null) {
      const row = endpoints.first('attachment', holder);
      const speaks = row?.state === 'ready' && !row.record.standby && ports.said(address);
      const known = cover === undefined ? ports.announced(prefix) : cover.announced;
      if (!speaks || !known) return 'waits';
      return (stored) =>
        stored === undefined ? { type: 'delete' } : announceClaim(stored, node, epoch);
    }
    if (isBehind(claim, node)) {
      if (duty.announce || !ports.withdrawn(prefix)) return 'waits';
      return (stored) => (stored === undefined ? { type: 'delete' } : withdrawnClaim(stored, node));
    }
    const home = cover !== undefined ? node : claim.home === node ? null : claim.home;
    if (home === claim.home) return undefined;
    return (stored) => {
      if (stored === undefined) return { type: 'delete' };
      if (stored.home === home) return { type: 'same', claim: stored };
      return { type: 'write', claim: { ...stored, home } };
    };
  }

  /** Endpoints of this node that have the address: the holder speaks, a second one is silent, any other stops. */
  *#endpointWork(
    ports: DutyPorts,
    claim: Claim,
    duty: ClaimDuty,
  ): Generator<() => Promise<unknown>> {
    if (claim.holder === null) return;
    for (const { record, state } of this.#options.endpoints.by('address', claim.address)) {
      const { id, standby = false, stopped } = record;
      if (state !== 'ready' && state !== 'error') continue;
      if (holderOf(record) !== duty.holder) {
        const reason = `${claim.address} has gone to ${claim.at} with ${ownerText(claim.owner)}`;
        if (stopped !== reason) yield () => ports.stop(id, reason);
      } else if (stopped !== undefined) yield () => ports.resume(id);
      else if (standby !== (duty.endpoint === 'standby'))
        yield () => ports.handOver(id, duty.endpoint === 'standby');
    }
  }

  async #doNext(): Promise<void> {
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) await this.#do(next.work, next.changes);
  }

  async #do(
    work: readonly (() => Promise<unknown>)[],
    changes: readonly ClaimChange[],
  ): Promise<void> {
    const { claims, connected, log } = this.#options;
    const { signal } = this.#stop;
    for (const each of work) {
      await each().catch((error) =>
        log.warn({ error: messageWithCauses(error) }, 'an endpoint cannot follow its claim'),
      );
    }
    for (const change of changes) {
      if (signal.aborted || !connected()) return;
      try {
        const outcome = await claims.change([change], signal);
        if (outcome.type === 'refused') this.#failing.set(change.address, outcome.message);
        else this.#failing.delete(change.address);
      } catch (error) {
        if (signal.aborted) return;
        this.#failing.set(change.address, messageWithCauses(error));
      }
    }
  }

  #tell(ports: DutyPorts, moved: MovedAddress[], announced: PodRange[]): void {
    moved.sort((a, b) => (a.address < b.address ? -1 : 1));
    announced.sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
    const text = JSON.stringify([moved, announced]);
    if (text === JSON.stringify([this.#moved, this.#announced])) return;
    this.#moved = moved;
    this.#announced = announced;
    ports.onRoutes();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    for (const undo of this.#undo) undo();
    await this.#working;
  }
}

/** Where packets for the address go from here, if its CIDR does not say it. */
function routeOf(
  claim: Claim,
  { forwardTo }: ClaimDuty,
  node: string,
  covered: boolean,
): MovedAddress | undefined {
  const { address, at, holder, home, from, announced } = claim;
  if (holder === null || at === null) return undefined;
  if (at === node) return covered ? undefined : { address, type: 'here' };
  if (forwardTo !== undefined) return { address, type: 'forward', node: forwardTo, announced };
  // The others go on to where it was until it is announced from where it is.
  const target = announced ? at : from;
  return target === null || target === home ? undefined : { address, type: 'there', node: target };
}

/** A claim that was made or changed while the store was away, onto what the store says. */
export function catchUp(stored: Claim | undefined, own: Claim): ClaimStep {
  if (stored === undefined) return { type: 'write', claim: own };
  if (own.at === null || own.holder === null) return { type: 'same', claim: stored };
  // It has moved on since: its new node has it.
  if (stored.at !== own.at && stored.at !== null && stored.epoch >= own.epoch)
    return { type: 'same', claim: stored };
  return takeClaim(stored, own, { node: own.at, holder: own.holder });
}
