import type { Prefix } from '@causeway/ip';
import type { Announcement } from './plan.ts';
import type { OriginatedPath, SpeakerPort } from './speaker-port.ts';

export interface ReachOptions {
  readonly port: Pick<SpeakerPort, 'advertised'>;
  /** Undefined until it is known what to announce. */
  readonly announcements: () => ReadonlyMap<Prefix, readonly Announcement[]> | undefined;
  /** What the speaker has taken from us; undefined while that is not known. */
  readonly told: () => readonly OriginatedPath[] | undefined;
}

/**
 * What has become of a prefix at the speaker: whether its neighbours were sent it, whether nobody is any more. It is
 * asked about one prefix after the other, and only about those that somebody waits for.
 */
export class SpeakerReach {
  readonly #options: ReachOptions;
  readonly #confirmed = new Set<Prefix>();
  readonly #asking = new Set<Prefix>();
  /** Which speaker is asked: what a former one answers late says nothing of this one. */
  #generation = 0;

  constructor(options: ReachOptions) {
    this.#options = options;
  }

  /** A session that stands has it, or none is to have it. */
  announced(prefix: Prefix): boolean {
    const rows = this.#options.announcements()?.get(prefix);
    if (rows === undefined) return false;
    const to = rows.flatMap((row) => (row.announced ? row.to : [])).map(({ neighbor }) => neighbor);
    if (to.length === 0) return true;
    if (!this.#has(prefix)) {
      this.#confirmed.delete(prefix);
      return false;
    }
    if (!this.#confirmed.has(prefix)) void this.#ask(prefix, to);
    return this.#confirmed.has(prefix);
  }

  /** The speaker was told without it. */
  withdrawn(prefix: Prefix): boolean {
    const { announcements, told } = this.#options;
    const rows = announcements();
    if (rows === undefined) return false;
    if (rows.get(prefix)?.some(({ announced }) => announced)) return false;
    this.#confirmed.delete(prefix);
    return told() !== undefined && !this.#has(prefix);
  }

  /** The speaker is another: what it has sent is not known any more. */
  forget(): void {
    this.#confirmed.clear();
    this.#generation += 1;
  }

  #has(prefix: Prefix): boolean {
    return this.#options.told()?.some((path) => path.prefix === prefix) ?? false;
  }

  async #ask(prefix: Prefix, neighbors: readonly string[]): Promise<void> {
    if (this.#asking.has(prefix)) return;
    this.#asking.add(prefix);
    const generation = this.#generation;
    try {
      // Members of a dynamic group have names of their own: having been taken is all that can be asked of them.
      const named = [...new Set(neighbors)].filter((name) => !name.endsWith(':*'));
      let sent = named.length === 0;
      for (const name of named) sent ||= await this.#options.port.advertised(name, prefix);
      if (sent && generation === this.#generation) this.#confirmed.add(prefix);
    } catch {
      // A speaker that does not answer has said nothing.
    } finally {
      this.#asking.delete(prefix);
    }
  }
}
