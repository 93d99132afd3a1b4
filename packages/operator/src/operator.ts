import type { Log } from '@causeway/daemon';
import { Election, type ElectionState, type Kv } from '@causeway/etcd';
import { etcdStore, type ResourceStore, type SourceStatus } from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import type { OperatorConfig } from './config.ts';
import { OperatorError } from './errors.ts';
import { Lead } from './lead.ts';
import type { KnownStore } from './memory.ts';
import type { PartStatus } from './part.ts';
import { OperatorSources, type OperatorTables, operatorTables } from './sources.ts';

/** Held by the leader's lease; its value is the leader's name. */
export const ELECTION_KEY = 'causeway/election/operator';

export interface OperatorOptions {
  readonly config: OperatorConfig;
  readonly kv: Kv;
  readonly known: KnownStore;
  /** For waiting: nobody sets it. */
  readonly clock: Clock;
  /** Milliseconds since the epoch, for people. */
  readonly wall: () => number;
  readonly random: () => number;
  readonly log: Log;
}

export interface OperatorStatus {
  /** It knows the registry, and who leads. */
  readonly ready: boolean;
  /** Why it is not. */
  readonly reasons: readonly string[];
  readonly name: string;
  readonly cluster: string;
  readonly leader: boolean;
  /** Who leads, as far as is known here. */
  readonly leaderName: string | undefined;
  /** The lead's fence: grows with each change of leader. */
  readonly epoch: number | undefined;
  /** While false nothing new is given: the store was replaced. */
  readonly giving: boolean | undefined;
  readonly parts: readonly PartStatus[];
  readonly sources: readonly SourceStatus[];
  readonly etcd: { readonly connected: boolean; readonly lastError: string | undefined };
  readonly counts: Readonly<Record<string, number>> | undefined;
}

/** One instance: reads the registry, stands in the election, and leads while it is elected. */
export class Operator implements AsyncDisposable {
  readonly tables: OperatorTables = operatorTables();
  readonly store: ResourceStore;
  readonly #options: OperatorOptions;
  readonly #sources: OperatorSources;
  readonly #election: Election;
  readonly #stop = new AbortController();
  #lead: Lead | undefined;
  /** Ends of leads and beginnings of new ones, one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: OperatorOptions) {
    const { kv, config, clock, random, log } = options;
    this.#options = options;
    this.store = etcdStore(kv);
    const { secretsNamespace } = config.bgp;
    this.#sources = new OperatorSources(this.store, this.tables, secretsNamespace, clock, log);
    this.#election = new Election({
      kv,
      key: ELECTION_KEY,
      name: config.name,
      ttl: config.election.ttlSeconds,
      clock,
      random,
    });
    this.#election.onChange((state) => {
      this.#turn = this.#turn.then(() => this.#enter(state));
    });
  }

  get kv(): Kv {
    return this.#options.kv;
  }

  get lead(): Lead | undefined {
    return this.#lead;
  }

  /** The lead, or a refusal that names who has it. */
  leading(): Lead {
    if (this.#lead !== undefined) return this.#lead;
    const { state } = this.#election;
    throw new OperatorError('not-leading', `${this.#options.config.name} does not lead`, {
      value: state.type === 'following' ? state.leader : undefined,
      hint:
        state.type === 'following'
          ? `ask ${state.leader}, which does`
          : 'the election is under way, or the store is away; ask again',
    });
  }

  status(): OperatorStatus {
    const { config, kv } = this.#options;
    const { state, lastError } = this.#election;
    const sources = this.#sources.status();
    const { connected, lastError: storeError } = kv.health();
    const reasons = [
      ...sources.filter(({ synced }) => !synced).map(({ name }) => `${name} is not listed yet`),
      ...(state.type === 'connecting' ? ['the election is under way'] : []),
      ...(connected ? [] : ['the store does not answer']),
    ];
    const allocator = this.#lead?.allocator;
    return {
      ready: reasons.length === 0,
      reasons,
      name: config.name,
      cluster: config.cluster.name,
      leader: this.#lead !== undefined,
      leaderName:
        state.type === 'leading'
          ? config.name
          : state.type === 'following'
            ? state.leader
            : undefined,
      epoch: state.type === 'leading' ? state.fence.revision : undefined,
      giving: allocator?.giving,
      parts: this.#lead?.parts() ?? [],
      sources,
      etcd: { connected, lastError: lastError ?? storeError?.message },
      counts: allocator && { ...allocator.counts },
    };
  }

  async #enter(state: ElectionState): Promise<void> {
    const { log, config, clock } = this.#options;
    const before = this.#lead;
    if (before !== undefined) {
      this.#lead = undefined;
      await before[Symbol.asyncDispose]();
      log.info({ epoch: before.fence.revision }, 'no longer leads');
    }
    if (state.type !== 'leading') return;
    // Whoever leads has the pools and nodes before it decides anything about them.
    while (!this.#sources.synced) {
      if (this.#stop.signal.aborted || this.#election.state !== state) return;
      await clock.sleep(20, this.#stop.signal);
    }
    if (this.#stop.signal.aborted || this.#election.state !== state) return;
    log.info({ name: config.name, epoch: state.fence.revision }, 'leads');
    this.#lead = new Lead({
      ...this.#options,
      store: this.store,
      tables: this.tables,
      guard: this.#sources.guard,
      fence: state.fence,
      onFenceLost: () => this.#election.doubt(),
    });
  }

  /** Ends its work, then gives the lead back: who follows finds nothing half done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#turn;
    const lead = this.#lead;
    this.#lead = undefined;
    await lead?.[Symbol.asyncDispose]();
    await this.#election[Symbol.asyncDispose]();
    await this.#turn;
    await this.#sources[Symbol.asyncDispose]();
  }
}
