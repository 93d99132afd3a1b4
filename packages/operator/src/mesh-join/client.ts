import { ApiError, type ErrorBody, messageWithCauses } from '@causeway/daemon';
import type { ClusterFacts, StoreOffer } from '@causeway/mesh';
import { OperatorError } from '../errors.ts';
import type { Bearer, PrepareReport } from './inviting.ts';

const https = process.getBuiltinModule('node:https');

/** The other side looks at our store before it answers. */
const ANSWER_MS = 45_000;
const MAX_ANSWER = 4 * 1024 * 1024;

export interface JoinClientOptions {
  /** `https://HOST:PORT` of the other cluster's operators, tried in turn. */
  readonly urls: readonly string[];
  /** The authorities that their certificates lead to, PEM. */
  readonly ca: string;
  /** By which we are known there: only `leave` asks for it. */
  readonly certificate?: string;
  readonly key?: string;
}

/** The other cluster's join endpoint. Calls throw ApiError as it refuses, OperatorError `unreachable` if none answers. */
export class JoinClient {
  readonly #options: JoinClientOptions;

  constructor(options: JoinClientOptions) {
    this.#options = options;
  }

  check(bearer: Bearer, facts: ClusterFacts): Promise<PrepareReport> {
    return this.#ask('/v1/mesh/join/check', { ...bearer, facts });
  }

  prepare(bearer: Bearer, facts: ClusterFacts, offer: StoreOffer): Promise<PrepareReport> {
    return this.#ask('/v1/mesh/join/prepare', { ...bearer, facts, offer });
  }

  async commit(bearer: Bearer, join: readonly string[]): Promise<void> {
    await this.#ask('/v1/mesh/join/commit', { ...bearer, join });
  }

  async abort(bearer: Bearer): Promise<void> {
    await this.#ask('/v1/mesh/join/abort', { ...bearer });
  }

  /** The certificates that came with a token that renews are in use. */
  async renewed(bearer: Bearer): Promise<void> {
    await this.#ask('/v1/mesh/join/renewed', { ...bearer });
  }

  /** @param cluster our own name, which the certificate proves. */
  leave(cluster: string): Promise<{ readonly userRemoved: boolean }> {
    return this.#ask(`/v1/mesh/peers/${cluster}/leave`, {});
  }

  async #ask<T>(path: string, body: object): Promise<T> {
    const failures: string[] = [];
    for (const url of this.#options.urls) {
      try {
        return (await this.#post(new URL(path, url), JSON.stringify(body))) as T;
      } catch (error) {
        // It answered: another would say the same.
        if (error instanceof ApiError) throw error;
        failures.push(`${url}: ${messageWithCauses(error)}`);
      }
    }
    throw new OperatorError(
      'unreachable',
      `the other cluster's operator does not answer: ${failures.join('; ') || 'no address is known'}`,
      { value: this.#options.urls, hint: 'open the way to it, or join by hand with --one-way' },
    );
  }

  #post(url: URL, body: string): Promise<unknown> {
    const { ca, certificate, key } = this.#options;
    return new Promise((resolve, reject) => {
      const call = https.request(url, {
        method: 'POST',
        agent: false,
        ca,
        ...(certificate === undefined || key === undefined ? {} : { cert: certificate, key }),
        timeout: ANSWER_MS,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
        },
      });
      call.on('timeout', () => call.destroy(new Error(`no answer in ${ANSWER_MS / 1000} s`)));
      call.on('error', reject);
      call.on('response', async (response) => {
        try {
          let text = '';
          for await (const chunk of response.setEncoding('utf8')) {
            text += String(chunk);
            if (text.length > MAX_ANSWER) throw new Error(`an answer of over ${MAX_ANSWER} bytes`);
          }
          const value: unknown = JSON.parse(text);
          const status = response.statusCode ?? 500;
          if (status < 400) resolve(value);
          else reject(refusal(status, value));
        } catch (error) {
          reject(error);
        }
      });
      call.end(body);
    });
  }
}

function refusal(status: number, body: unknown): ApiError {
  const error: Partial<ErrorBody['error']> = (body as Partial<ErrorBody> | null)?.error ?? {};
  const message = `the other cluster's operator refuses: ${String(error.message ?? 'without a reason')}`;
  return new ApiError(typeof error.code === 'string' ? error.code : 'internal', status, message, {
    ...(typeof error.field === 'string' ? { field: error.field } : {}),
    ...(error.value === undefined ? {} : { value: error.value }),
    ...(typeof error.hint === 'string' ? { hint: error.hint } : {}),
  });
}
