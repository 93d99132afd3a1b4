import type { Bfd, SessionSpec } from '@causeway/bfd';
import type { RecordKind, RecordStore, RefusedFile } from '@causeway/daemon';
import { BfdDaemonError } from './errors.ts';
import { mergeOwners } from './merge.ts';
import { specsOf, type WantedSession, wantedSessions } from './wanted.ts';

export type Change = 'added' | 'updated' | 'unchanged' | 'removed';

/** What is kept of an owner. */
export const ownerRecord: RecordKind<readonly WantedSession[]> = {
  format: 'causeway-bfd-owner',
  version: 1,
  parse: (payload) => wantedSessions.parse(payload),
};

interface Owner {
  readonly wanted: readonly WantedSession[];
  readonly specs: ReadonlyMap<string, SessionSpec>;
}

/** Owners are programs of one node; this many are a fault. */
const mostOwners = 64;

/**
 * Who wants which sessions. A set outlives the program that put it, and this one: on disk first, then
 * to the thread. One change after the other.
 */
export class Owners {
  readonly #owners = new Map<string, Owner>();
  readonly #store: RecordStore<readonly WantedSession[]>;
  readonly #bfd: Pick<Bfd, 'configure'>;
  readonly #limit: number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    store: RecordStore<readonly WantedSession[]>,
    bfd: Pick<Bfd, 'configure'>,
    limit: number,
  ) {
    this.#store = store;
    this.#bfd = bfd;
    this.#limit = limit;
  }

  /** Takes up what was kept. A set that does not fit beside the others is left out and reported. */
  async restore(): Promise<readonly RefusedFile[]> {
    const { records, refused } = this.#store.load();
    const problems = [...refused];
    for (const [name, wanted] of records) {
      try {
        const owner = { wanted, specs: specsOf(wanted) };
        this.#merged(name, owner);
        this.#owners.set(name, owner);
      } catch (error) {
        if (!(error instanceof BfdDaemonError)) throw error;
        problems.push({ name, error: error as unknown as RefusedFile['error'] });
      }
    }
    await this.#bfd.configure([...this.#merged().values()]);
    return problems;
  }

  names(): string[] {
    return [...this.#owners.keys()].sort();
  }

  wantedBy(name: string): readonly WantedSession[] | undefined {
    return this.#owners.get(name)?.wanted;
  }

  /** Makes the owner's sessions be exactly these. @throws BfdDaemonError before anything is changed. */
  put(name: string, wanted: readonly WantedSession[]): Promise<{ key: string; change: Change }[]> {
    return this.#inTurn(async () => {
      const owner = { wanted, specs: specsOf(wanted) };
      if (!this.#owners.has(name) && this.#owners.size >= mostOwners)
        throw new BfdDaemonError('too-many-owners', `there are ${mostOwners} owners already`, {
          field: 'owner',
          value: name,
          hint: 'delete those that are not used any more',
        });
      const merged = this.#merged(name, owner);
      await this.#store.write(name, wanted);
      return this.#apply(name, owner, merged);
    });
  }

  /** Undefined if there was no such owner. */
  remove(name: string): Promise<{ key: string; change: Change }[] | undefined> {
    return this.#inTurn(async () => {
      if (!this.#owners.has(name)) return undefined;
      const merged = this.#merged(name, { wanted: [], specs: new Map() });
      await this.#store.remove(name);
      return this.#apply(name, undefined, merged);
    });
  }

  async #apply(
    name: string,
    owner: Owner | undefined,
    merged: ReadonlyMap<string, SessionSpec>,
  ): Promise<{ key: string; change: Change }[]> {
    const before = this.#owners.get(name)?.specs;
    if (owner === undefined) this.#owners.delete(name);
    else this.#owners.set(name, owner);
    const { results } = await this.#bfd.configure([...merged.values()]);
    const mine = (key: string) => owner?.specs.has(key) === true || before?.has(key) === true;
    return results.flatMap(({ key, result }) => (mine(key) ? [{ key, change: result }] : []));
  }

  #merged(name?: string, owner?: Owner): Map<string, SessionSpec> {
    const all = new Map([...this.#owners].map(([each, { specs }]) => [each, specs]));
    if (name !== undefined && owner !== undefined) all.set(name, owner.specs);
    const merged = mergeOwners(all);
    if (merged.size > this.#limit)
      throw new BfdDaemonError(
        'too-many-sessions',
        `${merged.size} sessions exceed ${this.#limit}`,
        {
          field: 'sessions',
          value: merged.size,
          hint: 'raise limits.sessions if this was meant',
        },
      );
    return merged;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
