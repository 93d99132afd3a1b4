import { createApi, type Handler, listenOnSocket, readJson } from '@causeway/daemon';
import type { Neighbor, OriginatedPath, SpeakerConfig } from '../bgp/speaker-port.ts';

type Stored = { config?: SpeakerConfig; paths?: OriginatedPath[] };

/**
 * A speaker's API with nothing behind it but a memory: what it was told, in order, and what a neighbour would
 * be sent of it at each moment. With the real one `fabric.interop.test.ts` does the same.
 */
export class FakeSpeaker implements AsyncDisposable {
  readonly requests: string[] = [];
  /** After each request: prefixes that the neighbours would be sent, `tor1 10.1.1.0/24`. */
  readonly history: ReadonlySet<string>[] = [];
  /** Sessions stand: what neighbours would be sent, they have been sent. */
  established = true;
  /** The next requests answer 500. */
  failures = 0;
  readonly #socket: string;
  readonly #stored = new Map<string, Stored>();
  #startedAt = 0;
  #server: AsyncDisposable | undefined;

  constructor(socket: string) {
    this.#socket = socket;
  }

  get config(): SpeakerConfig | undefined {
    return this.#stored.get('agent')?.config;
  }
  get paths(): readonly OriginatedPath[] | undefined {
    return this.#stored.get('agent')?.paths;
  }

  /** @param forgetful It comes back without what it was told. */
  async start(forgetful = false): Promise<void> {
    if (forgetful) this.#stored.clear();
    this.#startedAt++;
    const app = createApi({ program: 'speaker', requestBytes: 10_000_000, onError: () => {} });
    const changing =
      (handler: Handler): Handler =>
      async (c) => {
        this.requests.push(`${c.req.method} ${c.req.path}`);
        if (this.failures > 0) {
          this.failures--;
          return c.json({ error: { code: 'internal', message: 'as the test wants' } }, 500);
        }
        const answer = await handler(c);
        this.history.push(this.#sent());
        return answer;
      };
    app.get('/v1/status', (c) =>
      c.json({ startedAt: `run ${this.#startedAt}`, peers: { total: 0, established: 0 } }),
    );
    app.get('/v1/routes', (c) => {
      const { peer, prefix } = c.req.query();
      const sent = this.established && this.#sent().has(`${peer} ${prefix}`);
      return c.json({ rows: sent ? [{ prefix }] : [] });
    });
    for (const what of ['config', 'paths'] as const) {
      app.get(`/v1/${what}/:owner`, (c) => {
        const found = this.#stored.get(c.req.param('owner'))?.[what];
        if (found !== undefined) return c.json(found);
        return c.json({ error: { code: 'not-found', message: 'nothing was put' } }, 404);
      });
      app.put(
        `/v1/${what}/:owner`,
        changing(async (c) => {
          const owner = c.req.param('owner');
          const value = (await readJson(c)) as never;
          this.#stored.set(owner, { ...this.#stored.get(owner), [what]: value });
          return c.json({ changed: [] });
        }),
      );
      app.delete(
        `/v1/${what}/:owner`,
        changing((c) => {
          const stored = this.#stored.get(c.req.param('owner'));
          if (stored !== undefined) delete stored[what];
          return c.json({ changed: [] });
        }),
      );
    }
    this.#server = await listenOnSocket(app, this.#socket);
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  #sent(): Set<string> {
    const { config, paths = [] } = this.#stored.get('agent') ?? {};
    const sent = new Set<string>();
    for (const { name, families } of config?.neighbors ?? ([] as Neighbor[])) {
      for (const { prefix, tag = '' } of paths) {
        const key = prefix.includes(':') ? 'ipv6-unicast' : 'ipv4-unicast';
        const policy = families.find(({ family }) => family === key)?.export ?? '';
        const through = config?.policies[policy]?.statements.some(
          ({ match }) => match?.tags?.includes(tag) && match.families?.includes(key),
        );
        if (through) sent.add(`${name} ${prefix}`);
      }
    }
    return sent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
