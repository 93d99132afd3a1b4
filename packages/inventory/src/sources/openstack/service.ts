import { type Clock, exponentialBackoff, type TokenBucket } from '@causeway/tables';
import { InventoryError } from '../../errors.ts';
import type { Reply, Transport } from './http.ts';
import { endpointOf, type Keystone, parsed, type Session } from './keystone.ts';

/** Tries of one question; the adapter's own loops go on after that, with pauses of their own. */
const TRIES = 5;
const LONGEST_PAUSE_MS = 300_000;
/** Answers that say: not now. 413 is how old Novas tell of their rate limit. */
const LATER = new Set([408, 413, 429, 500, 502, 503, 504]);

export interface ServiceOptions {
  /** For people. */
  readonly name: string;
  /** Its types in the catalogue, the usual one first. */
  readonly types: readonly string[];
  /** Instead of the catalogue's. */
  readonly url: string | undefined;
  /** Stands behind the URL unless it is there already: `/v2.0`. */
  readonly version: string;
  readonly where: { readonly interface: string; readonly region?: string | undefined };
  readonly keystone: Keystone;
  readonly send: Transport;
  /** Shared by all services of a site. */
  readonly bucket: TokenBucket;
  readonly clock: Clock;
  readonly random: () => number;
}

export type Query = Readonly<Record<string, string | readonly string[]>>;

export interface Answer {
  readonly status: number;
  /** JSON; undefined where there was none or a broken one. */
  readonly body: unknown;
  readonly headers: Reply['headers'];
}

/** One API of the site: asked at a bounded rate, with a fresh token when one is refused, and again later when told so. */
export class Service {
  readonly #options: ServiceOptions;
  readonly #backoff: (attempts: number) => number;
  /** The service asked for a rest, of all that is asked of it. */
  #restUntil = 0;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#backoff = exponentialBackoff(options.random, { min: 500, max: 30_000 });
  }

  /**
   * An answer whose status is among `accept`. @throws InventoryError `unauthenticated`, `forbidden`,
   * `source-unreachable` or `bad-answer`; nothing of it says anything about what exists.
   */
  async get(
    path: string,
    query: Query,
    signal: AbortSignal,
    accept: readonly number[] = [200],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    let renewed = false;
    for (let attempt = 1; ; attempt++) {
      await this.#turn(signal);
      const session = await this.#options.keystone.session(signal);
      const url = this.#url(session, path, query);
      let reply: Reply;
      try {
        reply = await this.#options.send(
          {
            method: 'GET',
            url,
            headers: {
              ...(session.token === undefined ? {} : { 'x-auth-token': session.token }),
              ...headers,
            },
          },
          signal,
        );
      } catch (error) {
        if (!retriable(error) || attempt >= TRIES || signal.aborted) throw error;
        this.#rest(this.#backoff(attempt));
        continue;
      }
      if (accept.includes(reply.status)) {
        const body = parsed(reply.text);
        if (body === undefined && reply.status === 200)
          throw this.#error('bad-answer', path, `is no JSON`);
        return { status: reply.status, body, headers: reply.headers };
      }
      if (reply.status === 401) {
        this.#options.keystone.refused(session);
        if (renewed) throw this.#error('unauthenticated', path, 'refuses a new token too (401)');
        renewed = true;
        continue;
      }
      if (reply.status === 403) throw this.#error('forbidden', path, 'is refused (403)');
      if (!LATER.has(reply.status))
        throw this.#error('bad-answer', path, `has status ${reply.status}`);
      this.#rest(
        retryAfter(reply.headers['retry-after'], this.#options.clock.now()) ??
          this.#backoff(attempt),
      );
      if (attempt >= TRIES)
        throw this.#error('source-unreachable', path, `has status ${reply.status}, ${TRIES} times`);
    }
  }

  #rest(ms: number): void {
    const until = this.#options.clock.now() + Math.min(ms, LONGEST_PAUSE_MS);
    this.#restUntil = Math.max(this.#restUntil, until);
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { clock, bucket } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const now = clock.now();
      const rest = this.#restUntil - now;
      if (rest > 0) await clock.sleep(rest, signal);
      else if (bucket.take(1, now) === 1) return;
      else await clock.sleep(bucket.wait(now), signal);
    }
  }

  #url(session: Session, path: string, query: Query): string {
    const { url, types, where, version } = this.#options;
    const base = (url ?? endpointOf(session.catalog, types, where)).replace(/\/+$/, '');
    const root = version === '' || base.endsWith(version) ? base : base + version;
    const words = new URLSearchParams();
    for (const [name, value] of Object.entries(query))
      for (const each of typeof value === 'string' ? [value] : value) words.append(name, each);
    const text = words.toString();
    return `${root}${path}${text === '' ? '' : `?${text}`}`;
  }

  #error(
    code: 'unauthenticated' | 'forbidden' | 'bad-answer' | 'source-unreachable',
    path: string,
    what: string,
  ): InventoryError {
    return new InventoryError(code, `${this.#options.name}: the answer to ${path} ${what}`, {
      field: 'endpoints',
      value: this.#options.name,
      ...(code === 'forbidden'
        ? { hint: 'the user needs to read every project, or set allProjects to false' }
        : {}),
    });
  }
}

const retriable = (error: unknown): boolean =>
  error instanceof InventoryError && error.code === 'source-unreachable';

/** RFC 9110 section 10.2.3: seconds, or a date. */
function retryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
