/** Addresses of refused connections that are told apart. */
const MOST = 1000;
const PAUSE_MS = 60_000;

/** Connections that were not taken: which of them are told of, so that who comes again and again does not fill the history. */
export class Refusals {
  /** By address: when it was last told of, and how often it has come since. */
  readonly #known = new Map<string, { told: number; since: number }>();

  /** How often the address has come since it was told of, if that is to be told now: once a minute. */
  count(address: string, now: number): number | undefined {
    const known = this.#known.get(address) ?? { told: 0, since: 0 };
    known.since += 1;
    const attempts = now - known.told >= PAUSE_MS ? known.since : undefined;
    if (attempts !== undefined) {
      known.told = now;
      known.since = 0;
    }
    this.#known.delete(address);
    this.#known.set(address, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MOST && oldest !== undefined) this.#known.delete(oldest);
    return attempts;
  }
}
