import { Election, type ElectionOptions, type ElectionState, type Fence } from './election.ts';

export interface CandidacyOptions<L> extends ElectionOptions {
  /** Waited for once elected, before the lead begins; returns early when `still` turns false. */
  readonly prepare?: (still: () => boolean) => Promise<void>;
  /** Begins the leader's work; `doubt` is for a write that failed at the fence. */
  readonly lead: (fence: Fence, doubt: () => void) => L;
  /** Called with a lead that has come to its end by another's election or the loss of the store. */
  readonly ended?: (lead: L) => void;
  /** Called when another leads. */
  readonly follows?: () => void;
}

/** Who leads, as far as is known here. */
export interface LeaderView {
  readonly leader: boolean;
  readonly leaderName: string | undefined;
  /** The lead's fence: grows with each change of leader. */
  readonly epoch: number | undefined;
}

/**
 * Stands in an election and does the leader's work while it is elected: ends of leads and beginnings of new ones
 * follow each other, so that one process never leads twice at once.
 */
export class Candidacy<L extends AsyncDisposable> implements AsyncDisposable {
  readonly #options: CandidacyOptions<L>;
  readonly #election: Election;
  #stopped = false;
  #current: L | undefined;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: CandidacyOptions<L>) {
    this.#options = options;
    this.#election = new Election(options);
    this.#election.onChange((state) => {
      this.#turn = this.#turn.then(() => this.#enter(state));
    });
  }

  /** The work under way; undefined unless it leads. */
  get current(): L | undefined {
    return this.#current;
  }

  get state(): ElectionState {
    return this.#election.state;
  }

  get lastError(): string | undefined {
    return this.#election.lastError;
  }

  view(): LeaderView {
    const { state } = this.#election;
    const leads = state.type === 'leading';
    const other = state.type === 'following' ? state.leader : undefined;
    return {
      leader: this.#current !== undefined,
      leaderName: leads ? this.#options.name : other,
      epoch: leads ? state.fence.revision : undefined,
    };
  }

  async #enter(state: ElectionState): Promise<void> {
    const { prepare, lead, ended, follows } = this.#options;
    const before = this.#current;
    if (before !== undefined) {
      this.#current = undefined;
      await before[Symbol.asyncDispose]();
      ended?.(before);
    }
    if (state.type === 'following') follows?.();
    if (state.type !== 'leading') return;
    const still = (): boolean => !this.#stopped && this.#election.state === state;
    if (still()) await prepare?.(still);
    if (!still()) return;
    this.#current = lead(state.fence, () => this.#election.doubt());
  }

  /** Ends the work, then gives the lead back: who follows finds nothing half done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#turn;
    const lead = this.#current;
    this.#current = undefined;
    await lead?.[Symbol.asyncDispose]();
    await this.#election[Symbol.asyncDispose]();
    await this.#turn;
  }
}
