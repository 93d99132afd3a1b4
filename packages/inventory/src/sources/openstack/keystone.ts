import { z } from 'zod';
import { InventoryError } from '../../errors.ts';
import type { AuthConfig } from './config.ts';
import type { Reply, Transport } from './http.ts';

/** A token is not used in its last minute: what it was sent for may take so long. */
const SPARE_MS = 60_000;

const catalogEntry = z.object({
  type: z.string(),
  endpoints: z.array(
    z.object({
      interface: z.string(),
      region: z.string().nullish(),
      region_id: z.string().nullish(),
      url: z.string(),
    }),
  ),
});

const tokenAnswer = z.object({
  token: z.object({
    expires_at: z.string(),
    catalog: z.array(catalogEntry).default([]),
  }),
});

type Catalog = z.infer<typeof catalogEntry>[];

export interface Session {
  /** Sent as `X-Auth-Token`; undefined where there is no authentication. */
  readonly token: string | undefined;
  readonly catalog: Catalog;
  /** ms of the clock that was handed in */
  readonly expiresAt: number;
}

export interface KeystoneOptions {
  readonly auth: AuthConfig;
  /** The password or the application credential's secret. */
  readonly secret: string | undefined;
  readonly send: Transport;
  readonly now: () => number;
}

/** Tokens of Identity API v3, one at a time: whoever asks while one is fetched waits for the same. */
export class Keystone {
  readonly #options: KeystoneOptions;
  #session: Session | undefined;
  #fetching: Promise<Session> | undefined;

  constructor(options: KeystoneOptions) {
    this.#options = options;
  }

  /** @throws InventoryError `unauthenticated` if Keystone refuses, else as the transport. */
  session(signal: AbortSignal): Promise<Session> {
    const held = this.#session;
    if (held !== undefined && held.expiresAt - SPARE_MS > this.#options.now())
      return Promise.resolve(held);
    this.#fetching ??= this.#fetch(signal).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  /** A service refused this token: the next asker gets another, unless somebody has one already. */
  refused(session: Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  async #fetch(signal: AbortSignal): Promise<Session> {
    const { auth, now } = this.#options;
    if (auth.method === 'none') {
      const token = auth.user === undefined ? undefined : `${auth.user}:${auth.project ?? ''}`;
      this.#session = { token, catalog: [], expiresAt: Number.POSITIVE_INFINITY };
      return this.#session;
    }
    const asked = now();
    const reply = await this.#options.send(
      {
        method: 'POST',
        url: `${auth.url.replace(/\/+$/, '')}/auth/tokens`,
        headers: {},
        body: JSON.stringify(requestOf(auth, this.#options.secret ?? '')),
      },
      signal,
    );
    if (reply.status !== 201) throw refusal(auth.url, reply);
    const token = reply.headers['x-subject-token'];
    const answer = tokenAnswer.safeParse(parsed(reply.text));
    if (token === undefined || !/^[\x21-\x7e]{1,8192}$/.test(token) || !answer.success)
      throw new InventoryError('bad-answer', `${auth.url} gives no token that can be used`, {
        field: 'auth.url',
        value: auth.url,
      });
    this.#session = {
      token,
      catalog: answer.data.token.catalog,
      expiresAt: asked + lifetime(answer.data.token.expires_at, reply.headers.date, asked),
    };
    return this.#session;
  }
}

/** The URL of a service in the catalogue. @throws InventoryError `bad-answer` that names what there is. */
export function endpointOf(
  catalog: Catalog,
  types: readonly string[],
  where: { readonly interface: string; readonly region?: string | undefined },
): string {
  const ofType = catalog.filter((entry) => types.includes(entry.type));
  const fitting = ofType
    .flatMap((entry) => entry.endpoints)
    .filter(
      (endpoint) =>
        endpoint.interface === where.interface &&
        (where.region === undefined || (endpoint.region_id ?? endpoint.region) === where.region),
    );
  const urls = [...new Set(fitting.map((endpoint) => endpoint.url))];
  const [only] = urls;
  if (only === undefined || urls.length > 1)
    throw new InventoryError(
      'bad-answer',
      `the catalogue has ${urls.length === 0 ? 'no' : 'more than one'} ${where.interface} endpoint of ${types[0]}` +
        `${where.region === undefined ? '' : ` in region ${where.region}`}`,
      {
        field: urls.length === 0 ? 'interface' : 'region',
        value: where.region ?? where.interface,
        hint: `it has: ${describe(ofType) || `no service of type ${types.join(' or ')}`}`,
      },
    );
  if (!/^https?:\/\//.test(only))
    throw new InventoryError('bad-answer', `the endpoint of ${types[0]} is no URL`, {
      value: only,
    });
  return only;
}

const describe = (entries: Catalog): string =>
  entries
    .flatMap((entry) => entry.endpoints)
    .slice(0, 12)
    .map((each) => `${each.interface} in ${each.region_id ?? each.region ?? 'no region'}`)
    .join(', ');

function requestOf(auth: Exclude<AuthConfig, { method: 'none' }>, secret: string): unknown {
  if (auth.method === 'application-credential')
    return {
      auth: {
        identity: {
          methods: ['application_credential'],
          application_credential: { id: auth.id, secret },
        },
      },
    };
  return {
    auth: {
      identity: {
        methods: ['password'],
        password: {
          user: { name: auth.username, domain: { name: auth.userDomain }, password: secret },
        },
      },
      scope: { project: { name: auth.project, domain: { name: auth.projectDomain } } },
    },
  };
}

/** Never with the answer's body: some proxies send the request back. */
function refusal(url: string, reply: Reply): InventoryError {
  const detail = { field: 'auth', value: url };
  if (reply.status === 401 || reply.status === 403)
    return new InventoryError(
      'unauthenticated',
      `Keystone refuses the credentials (${reply.status})`,
      {
        ...detail,
        hint: 'check auth: user, project and their domains, or the application credential and whether it has expired',
      },
    );
  if (reply.status >= 500 || reply.status === 429)
    return new InventoryError('source-unreachable', `Keystone answers ${reply.status}`, detail);
  return new InventoryError('bad-answer', `Keystone answers ${reply.status} where 201 was due`, {
    ...detail,
    hint: 'auth.url must be that of Identity API v3, such as https://keystone:5000/v3',
  });
}

/** By the server's own clock where it says one, so that a difference of clocks does not matter. */
function lifetime(expiresAt: string, date: string | undefined, now: number): number {
  const server = Date.parse(date ?? '');
  const left = Date.parse(expiresAt) - (Number.isNaN(server) ? now : server);
  // A token without a date, or for ever, is asked anew in an hour; a 401 says so earlier.
  return Number.isNaN(left) ? 3_600_000 : Math.min(Math.max(left, 2 * SPARE_MS), 7 * 86_400_000);
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
