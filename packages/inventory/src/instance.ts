import { Candidacy, type LeaderView } from '@causeway/etcd';
import type { SourceView } from './core/source-entries.ts';
import { InventoryError } from './errors.ts';
import { type Hosted, type Known, Lead } from './lead.ts';
import type { WriterStatus } from './writer/writer.ts';

/** Held by the leader's lease; its value is the leader's name. */
export const ELECTION_KEY = 'causeway/election/inventory';

export interface InstanceStatus extends LeaderView {
  readonly name: string;
  readonly cluster: { readonly name: string; readonly id: number };
  /** It leads and every source has spoken, or it follows one who leads. */
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly counts:
    | {
        readonly addresses: number;
        readonly entries: number;
        readonly nodes: number;
        readonly identities: number;
        readonly resting: number;
        readonly identitySpace: number;
        readonly conflicts: number;
        readonly unpublished: number;
      }
    | undefined;
  readonly writer: WriterStatus | undefined;
  readonly sources: readonly SourceView[];
  readonly etcd: { readonly connected: boolean; readonly lastError: string | undefined };
}

/** One of the two that run: stands in the election, and does the work while it is elected. */
export class Instance implements AsyncDisposable {
  readonly hosted: Hosted;
  readonly #candidacy: Candidacy<Lead>;
  #before: Known | undefined;

  constructor(hosted: Hosted) {
    this.hosted = hosted;
    const { kv, config, clock, random, log } = hosted;
    const { name } = config;
    this.#candidacy = new Candidacy({
      kv,
      key: ELECTION_KEY,
      name,
      ttl: config.election.ttlSeconds,
      clock,
      random,
      lead: (fence, onFenceLost) => {
        log.info({ name, epoch: fence.revision }, 'leads');
        return new Lead({ ...hosted, fence, onFenceLost, before: this.#before });
      },
      ended: ({ known, fence }) => {
        this.#before = known ?? this.#before;
        log.info({ epoch: fence.revision }, 'no longer leads');
      },
      // Another's lead is newer than anything known here.
      follows: () => {
        this.#before = undefined;
      },
    });
  }

  /** What the leader knows. @throws InventoryError `not-leading`, `not-ready`. */
  leading(): Known & { readonly lead: Lead } {
    const { state, current: lead } = this.#candidacy;
    if (lead?.known !== undefined) return { ...lead.known, lead };
    const { name } = this.hosted.config;
    if (lead !== undefined || state.type !== 'following') {
      throw new InventoryError('not-ready', `${name} has not read the store yet`, {
        hint: `ask again${lead?.lastError === undefined ? '' : `; it says: ${lead.lastError}`}`,
      });
    }
    throw new InventoryError('not-leading', `${name} does not lead`, {
      value: state.leader,
      hint: `ask ${state.leader}, which does`,
    });
  }

  status(): InstanceStatus {
    const { config, kv, monotonic } = this.hosted;
    const { state, lastError, current: lead } = this.#candidacy;
    const { connected, lastError: storeError } = kv.health();
    const known = lead?.known;
    const sources = known?.inventory.sources(monotonic()) ?? [];
    const reasons = [
      ...(connected ? [] : ['the store does not answer']),
      ...(state.type === 'connecting' ? ['the election is under way'] : []),
      ...(lead !== undefined && known === undefined ? ['the store has not been read yet'] : []),
      ...sources
        .filter(({ synced, type }) => !synced && type !== 'gone')
        .map(({ name }) => `source ${name} has not spoken yet`),
      ...sources.flatMap(({ name, withheld }) =>
        withheld === undefined
          ? []
          : [
              `source ${name} would take ${withheld.count} of ${withheld.of} away: withheld for ${Math.ceil(withheld.secondsLeft)} s, or until accepted`,
            ],
      ),
    ];
    return {
      name: config.name,
      cluster: { name: config.cluster.name, id: config.cluster.id },
      ...this.#candidacy.view(),
      ready: reasons.length === 0,
      reasons,
      counts: known && {
        addresses: known.inventory.addresses,
        entries: known.publication.entries,
        nodes: known.publication.nodes,
        identities: known.publication.numbers.used,
        resting: known.publication.numbers.resting,
        identitySpace: known.publication.numbers.size,
        conflicts: known.inventory.conflictCount,
        unpublished: known.publication.unpublishedCount,
      },
      writer: lead?.writer?.status(),
      sources,
      etcd: { connected, lastError: lead?.lastError ?? lastError ?? storeError?.message },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#candidacy[Symbol.asyncDispose]();
  }
}
