import { ApiClient, ApiError } from '@causeway/daemon';
import type { Prefix } from '@causeway/ip';
import { z } from 'zod';
import type {
  OriginatedPath,
  SpeakerConfig,
  SpeakerPort,
  SpeakerSession,
  SpeakerStatus,
} from './speaker-port.ts';

/** Under which what we say is kept in the speaker. */
export const OWNER = 'agent';

/** What is used of a neighbour as the speaker shows it. */
const peerBody = z.object({
  state: z.enum(['idle', 'connect', 'active', 'open-sent', 'open-confirm', 'established']),
  since: z.string(),
  address: z.string().exactOptional(),
  asn: z.union([z.number(), z.string()]).exactOptional(),
  negotiated: z.object({ holdTime: z.number(), keepaliveTime: z.number() }).exactOptional(),
  families: z.array(
    z.object({
      family: z.enum(['ipv4-unicast', 'ipv6-unicast']),
      received: z.number(),
      advertised: z.number(),
    }),
  ),
});

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

  async session(neighbor: string): Promise<SpeakerSession | undefined> {
    const body = await this.#known(`/v1/peers/${encodeURIComponent(neighbor)}`);
    const parsed = peerBody.safeParse(body);
    if (!parsed.success) return undefined;
    const { state, since, address, asn, negotiated, families } = parsed.data;
    return {
      state,
      since,
      ...(address === undefined ? {} : { address }),
      ...(typeof asn === 'number' ? { asn } : {}),
      ...(state !== 'established' || negotiated === undefined
        ? {}
        : { timers: { hold: negotiated.holdTime, keepalive: negotiated.keepaliveTime } }),
      families: state === 'established' ? families : [],
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
