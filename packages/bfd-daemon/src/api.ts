import type { Bfd, BfdEvent, SessionRow } from '@causeway/bfd';
import { type Api, createApi, EventStreams, found, readBody, streamAnswer } from '@causeway/daemon';
import { BfdDaemonError } from './errors.ts';
import type { Owners } from './owners.ts';
import { redacted, wantedSessions } from './wanted.ts';

export type StreamLine = BfdEvent | { readonly type: 'synced' };

export interface ApiParts {
  readonly bfd: Pick<Bfd, 'sessions' | 'status'>;
  readonly owners: Owners;
  readonly feed: Feed;
  readonly requestBytes: number;
  readonly about: () => object;
  readonly onError: (error: unknown, request: { method: string; path: string }) => void;
}

/** Events for the readers of `/v1/events`, with the last known row of each session for those who come new. */
export class Feed {
  readonly #current = new Map<string, SessionRow>();
  readonly #streams: EventStreams<StreamLine>;

  constructor(limits: { readonly eventBuffer: number; readonly eventReaders: number }) {
    this.#streams = new EventStreams({
      buffer: limits.eventBuffer,
      readers: limits.eventReaders,
      hint: 'close one of them, or raise limits.eventReaders',
    });
  }

  publish(event: BfdEvent): void {
    if (event.type === 'removed') this.#current.delete(event.key);
    else this.#current.set(event.session.key, event.session);
    this.#streams.publish(event);
  }

  /** First how everything stands, then `synced`, then what changes. */
  stream(): ReadableStream<Uint8Array> {
    const rows = [...this.#current.values()];
    const first = [...rows.map((session) => ({ type: 'current', session })), { type: 'synced' }];
    return this.#streams.stream({ first });
  }

  close(): void {
    this.#streams.close();
  }
}

/** The HTTP routes, without a socket. */
export function bfdApi({ bfd, owners, feed, about, ...options }: ApiParts): Api {
  const app = createApi({
    program: 'BFD daemon',
    bodyHint: 'raise limits.requestBytes if this was meant',
    ...options,
  });
  app.get('/v1/status', async (c) => c.json({ ...about(), ...(await bfd.status()) }));
  app.get('/v1/sessions', async (c) => c.json(await bfd.sessions()));
  app.get('/v1/events', () => streamAnswer(feed.stream()));
  app.get('/v1/owners', (c) =>
    c.json(owners.names().map((owner) => ({ owner, sessions: owners.wantedBy(owner)?.length }))),
  );
  app.get('/v1/sessions/:owner', (c) => {
    const name = c.req.param('owner');
    return c.json(found(owners.wantedBy(name), 'owner', name).map(redacted));
  });
  app.put('/v1/sessions/:owner', async (c) => {
    const name = ownerName(c.req.param('owner'));
    return c.json({ sessions: await owners.put(name, await readBody(c, wantedSessions)) });
  });
  app.delete('/v1/sessions/:owner', async (c) => {
    const name = c.req.param('owner');
    return c.json({ sessions: found(await owners.remove(name), 'owner', name) });
  });
  return app;
}

/** It names a file, so it is a name and nothing that leads elsewhere. */
function ownerName(name: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name)) return name;
  throw new BfdDaemonError('bad-request', `${JSON.stringify(name.slice(0, 80))} names no owner`, {
    field: 'owner',
    value: name,
    hint: 'lower case letters, digits, dots, dashes and underscores, at most 63',
  });
}
