import { type Log, messageWithCauses } from '@causeway/daemon';
import { Address, Prefix } from '@causeway/ip';
import type { Clock, Database, InitialSource } from '@causeway/tables';
import type { HealthRow } from '../api/types.ts';
import type { AgentConfig } from '../config/schema.ts';
import { reconcilerHealth } from '../health.ts';
import { PacedWork } from '../paced-work.ts';
import { PlanMemo } from './memo.ts';
import { type Announcement, type BgpPlan, planBgp } from './plan.ts';
import { SpeakerReach } from './reach.ts';
import { SpeakerReconciler } from './reconciler.ts';
import { type BgpSources, InputReader } from './sources.ts';
import { OWNER } from './speaker-client.ts';
import type { Neighbor, SpeakerPort, SpeakerStatus } from './speaker-port.ts';
import { type DerivedTables, derivedTables } from './tables.ts';

/** A rollout changes readiness pod by pod; what follows is told the speaker at most this often. */
const SETTLE_MS = 50;
/** How soon a speaker that was started again is noticed. */
const WATCH_MS = 1_000;

export interface BgpControllerOptions {
  readonly config: AgentConfig;
  readonly database: Database;
  readonly sources: BgpSources;
  readonly port: SpeakerPort;
  /** Service addresses that the network sends here from now on. */
  readonly onAttracted: (prefixes: readonly Prefix[]) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** `GET /v1/bgp`: what this node wants of the speaker and why. The speaker tells what became of it. */
export interface BgpView {
  readonly clusterConfig: string | null;
  readonly synced: boolean;
  readonly asn: number | null;
  readonly routerId: string | null;
  readonly neighbors: readonly Omit<Neighbor, 'password' | 'families' | 'bfd'>[];
  readonly announcements: readonly Announcement[];
  readonly problems: readonly string[];
  readonly speaker: SpeakerStatus | null;
}

/**
 * Announcements: from the store's kinds, the services' readiness and the node's own CIDRs and addresses to one
 * row for the speaker. Until each of these has been read once nothing is told: a speaker that outlived the agent
 * goes on with what it has. At the end nothing is taken back.
 */
export class BgpController implements AsyncDisposable {
  readonly tables: DerivedTables;
  readonly #options: BgpControllerOptions;
  readonly #reconciler: SpeakerReconciler;
  readonly #initial: InitialSource;
  readonly #undo: (() => void)[];
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #pace = new PacedWork(SETTLE_MS, () => this.#work());
  #plan: BgpPlan | undefined;
  #byPrefix: ReadonlyMap<Prefix, readonly Announcement[]> | undefined;
  readonly #reach: SpeakerReach;
  readonly #memo = new PlanMemo();
  readonly #inputs: InputReader;
  #speaker: SpeakerStatus | undefined;

  constructor(options: BgpControllerOptions) {
    this.#options = options;
    const { database, sources, port, clock, random } = options;
    this.tables = derivedTables(database);
    this.#initial = this.tables.wanted.source('bgp');
    this.#reconciler = new SpeakerReconciler({
      table: this.tables.wanted,
      port,
      clock,
      random,
    });
    this.#reach = new SpeakerReach({
      port,
      announcements: () => this.#byPrefix,
      told: () => {
        const nothing = this.tables.wanted.size === 0 && this.#reconciler.reconciler.done;
        return nothing ? [] : this.#reconciler.told;
      },
    });
    const schedule = () => this.#pace.schedule();
    this.#inputs = new InputReader(options.config, sources);
    this.#undo = this.#inputs.follow(schedule);
    schedule();
    this.#watching = this.#watch(this.#stop.signal);
  }

  /** Everything was read once and told from. */
  get synced(): boolean {
    return this.#plan !== undefined;
  }

  /** Undefined until everything was read once. */
  get plan(): BgpPlan | undefined {
    return this.#plan;
  }

  view(): BgpView {
    const wanted = this.tables.wanted.get(OWNER);
    return {
      clusterConfig: this.#plan?.clusterConfig ?? null,
      synced: this.synced,
      asn: wanted?.config.asn ?? null,
      routerId: wanted?.config.routerId ?? null,
      neighbors: (wanted?.config.neighbors ?? []).map(
        ({ password: _password, families: _families, bfd: _bfd, ...rest }) => rest,
      ),
      announcements: [...this.tables.announcements.rows()],
      problems: this.#plan?.problems ?? [],
      speaker: this.#speaker ?? null,
    };
  }

  health(): HealthRow[] {
    const plan = this.#plan;
    const [problem] = plan?.problems ?? [];
    const waiting = this.#inputs.waiting();
    const announced = this.tables.wanted.get(OWNER)?.paths.length ?? 0;
    const sessions =
      this.#speaker === undefined
        ? ''
        : `, ${this.#speaker.established} of ${this.#speaker.peers} sessions are up`;
    const detail =
      plan === undefined
        ? `${waiting ?? 'what to announce is worked out'}; the speaker goes on with what it has`
        : plan.wanted === undefined
          ? 'no CiliumBGPClusterConfig for this node'
          : `${announced} prefixes for the speaker${sessions}`;
    return [
      {
        name: 'bgp',
        healthy: problem === undefined,
        detail:
          problem === undefined
            ? detail
            : `${plan!.problems.length} problems, the first: ${problem}`,
      },
      reconcilerHealth(this.#reconciler.reconciler),
    ];
  }

  /** What became of a prefix at the speaker and its neighbours. */
  get reach(): SpeakerReach {
    return this.#reach;
  }

  /** Addresses that come and go with their pods have changed. */
  replan(): void {
    this.#pace.schedule();
  }

  /** Resolves when the speaker has taken all that there is to tell; for tests. */
  async settled(signal?: AbortSignal): Promise<void> {
    await this.#reconciler.reconciler.settled(signal);
  }

  #work(): void {
    const { log, onAttracted, database } = this.#options;
    if (this.#inputs.waiting() !== undefined) {
      // Not all sources commit a row when they have been read: an empty kind says nothing.
      this.#pace.later(SETTLE_MS * 4);
      return;
    }
    let plan: BgpPlan;
    try {
      plan = planBgp(this.#inputs.read(), this.#memo);
    } catch (error) {
      // What was told before stays; one object that nobody foresaw must not stop the agent.
      log.error({ error: messageWithCauses(error) }, 'announcements cannot be worked out');
      return;
    }
    const first = this.#plan === undefined;
    this.#plan = plan;
    this.#byPrefix = Map.groupBy(
      plan.announcements.filter(({ source }) => !source.startsWith('Service ')),
      ({ prefix }) => prefix,
    );
    const { announcements, wanted } = this.tables;
    database.write(() => {
      announcements.replace(plan.announcements);
      if (plan.wanted === undefined) wanted.delete(OWNER);
      else wanted.put({ owner: OWNER, ...plan.wanted });
    });
    onAttracted(this.#attracted(plan));
    if (!first) return;
    this.#initial.done();
    const prefixes = plan.wanted?.paths.length ?? 0;
    log.info({ config: plan.clusterConfig, prefixes }, 'what to announce is known');
  }

  /** Announced service addresses; of aggregates only those that are services' through and through. */
  #attracted({ announcements }: BgpPlan): Prefix[] {
    const { serviceCIDRs } = this.#options.config;
    const prefixes = announcements
      .filter(({ announced, source }) => announced && source.startsWith('Service '))
      .map(({ prefix }) => prefix)
      .filter(
        (prefix) =>
          Prefix.length(prefix) === Address.width(Prefix.family(prefix)) ||
          serviceCIDRs.some((range) => Prefix.covers(range, prefix)),
      );
    return [...new Set(prefixes)];
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { port, clock } = this.#options;
    while (!signal.aborted) {
      let now: SpeakerStatus | undefined;
      try {
        now = await port.status();
      } catch {
        now = undefined;
      }
      if (signal.aborted) return;
      const before = this.#speaker?.process;
      if (now !== undefined && now.process !== before) {
        this.#reach.forget();
        this.#reconciler.again();
      }
      // A speaker that is away for a moment is the same one if its process is.
      this.#speaker = now ?? (this.#speaker && { ...this.#speaker, process: 'away' });
      await clock.sleep(WATCH_MS, signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#pace[Symbol.dispose]();
    for (const undo of this.#undo) undo();
    await this.#watching;
    await this.#reconciler[Symbol.asyncDispose]();
  }
}
