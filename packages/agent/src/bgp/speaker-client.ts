import { ApiClient, ApiError } from '@causeway/daemon';
import type { Prefix } from '@causeway/ip';
import type { OriginatedPath, SpeakerConfig, SpeakerPort, SpeakerStatus } from './speaker-port.ts';

/** Under which what we say is kept in the speaker. */
export const OWNER = 'agent';

/** The speaker over its Unix socket. */
export class SpeakerClient implements SpeakerPort {
  readonly #api: ApiClient;
  #uptime = 0;
  #generation = 0;

  constructor(socket: string) {
    this.#api = new ApiClient('speaker', socket);
  }

  async status(): Promise<SpeakerStatus> {
    const body = object(await this.#api.ask('GET', '/v1/status'));
    const { startedAt, uptimeSeconds, peers } = body;
    const { total, established } = object(peers);
    const uptime = typeof uptimeSeconds === 'number' ? uptimeSeconds : 0;
    // Whatever was up for less time than before is not what was up before.
    if (uptime < this.#uptime) this.#generation++;
    this.#uptime = uptime;
    return {
      process: `${typeof startedAt === 'string' ? startedAt : ''} ${this.#generation}`,
      peers: typeof total === 'number' ? total : 0,
      established: typeof established === 'number' ? established : 0,
    };
  }

  async paths(): Promise<readonly OriginatedPath[]> {
    const body = await this.#known(`/v1/paths/${OWNER}`);
    return Array.isArray(body) ? (body as OriginatedPath[]) : [];
  }

  async policies(): Promise<SpeakerConfig['policies']> {
    const { policies } = object(await this.#known(`/v1/config/${OWNER}`));
    return object(policies) as SpeakerConfig['policies'];
  }

  async advertised(neighbor: string, prefix: Prefix): Promise<boolean> {
    const query = new URLSearchParams({ view: 'advertised', peer: neighbor, prefix });
    const { rows } = object(await this.#known(`/v1/routes?${query}`));
    return Array.isArray(rows) && rows.length > 0;
  }

  async #known(path: string): Promise<unknown> {
    try {
      return await this.#api.ask('GET', path);
    } catch (error) {
      if (isUnknown(error)) return undefined;
      throw error;
    }
  }

  async putConfig(config: SpeakerConfig): Promise<void> {
    await this.#api.ask('PUT', `/v1/config/${OWNER}`, config);
  }

  async putPaths(paths: readonly OriginatedPath[]): Promise<void> {
    await this.#api.ask('PUT', `/v1/paths/${OWNER}`, paths);
  }

  /** Paths first: what is withdrawn by itself is gone before its session is. */
  async forget(): Promise<void> {
    for (const what of ['paths', 'config']) {
      try {
        await this.#api.ask('DELETE', `/v1/${what}/${OWNER}`);
      } catch (error) {
        if (!isUnknown(error)) throw error;
      }
    }
  }
}

const isUnknown = (error: unknown): boolean => error instanceof ApiError && error.status === 404;

const object = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
