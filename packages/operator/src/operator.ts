import type { Log } from '@causeway/daemon';
import { Candidacy, type Kv, type LeaderView } from '@causeway/etcd';
import {
  etcdStore,
  type Followers,
  type ResourceStore,
  type SourceStatus,
} from '@causeway/resources';
import type { Clock } from '@causeway/tables';
import type { OperatorConfig } from './config.ts';
import { OperatorError } from './errors.ts';
import { Lead } from './lead.ts';
import type { KnownStore } from './memory.ts';
import type { PartStatus } from './part.ts';
import { type OperatorTables, operatorSources, operatorTables } from './sources.ts';

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

export interface OperatorStatus extends LeaderView {
  /** It knows the registry, and who leads. */
  readonly ready: boolean;
  /** Why it is not. */
  readonly reasons: readonly string[];
  readonly name: string;
  readonly cluster: string;
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
  readonly #sources: Followers;
  readonly #candidacy: Candidacy<Lead>;
  readonly #stop = new AbortController();

  constructor(options: OperatorOptions) {
    const { kv, config, clock, random, log } = options;
    this.#options = options;
    this.store = etcdStore(kv);
    const { secretsNamespace } = config.bgp;
    this.#sources = operatorSources(this.store, this.tables, secretsNamespace, clock, log);
    const { name } = config;
    this.#candidacy = new Candidacy({
      kv,
      key: ELECTION_KEY,
      name,
      ttl: config.election.ttlSeconds,
      clock,
      random,
      // Whoever leads has the pools and nodes before it decides anything about them.
      prepare: async (still) => {
        while (still() && !this.#sources.synced) await clock.sleep(20, this.#stop.signal);
      },
      lead: (fence, onFenceLost) => {
        log.info({ name, epoch: fence.revision }, 'leads');
        const { store, tables } = this;
        const { guard } = this.#sources;
        return new Lead({ ...options, store, tables, guard, fence, onFenceLost });
      },
      ended: ({ fence }) => log.info({ epoch: fence.revision }, 'no longer leads'),
    });
  }

  get kv(): Kv {
    return this.#options.kv;
  }

  get lead(): Lead | undefined {
    return this.#candidacy.current;
  }

  /** The lead, or a refusal that names who has it. */
  leading(): Lead {
    const { state, current } = this.#candidacy;
    if (current !== undefined) return current;
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
    const { state, lastError, current } = this.#candidacy;
    const sources = this.#sources.status();
    const { connected, lastError: storeError } = kv.health();
    const reasons = [
      ...sources.filter(({ synced }) => !synced).map(({ name }) => `${name} is not listed yet`),
      ...(state.type === 'connecting' ? ['the election is under way'] : []),
      ...(connected ? [] : ['the store does not answer']),
    ];
    const allocator = current?.allocator;
    return {
      ready: reasons.length === 0,
      reasons,
      name: config.name,
      cluster: config.cluster.name,
      ...this.#candidacy.view(),
      giving: allocator?.giving,
      parts: current?.parts() ?? [],
      sources,
      etcd: { connected, lastError: lastError ?? storeError?.message },
      counts: allocator && { ...allocator.counts },
    };
  }

  /** Ends its work, then gives the lead back: who follows finds nothing half done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#candidacy[Symbol.asyncDispose]();
    await this.#sources[Symbol.asyncDispose]();
  }
}
