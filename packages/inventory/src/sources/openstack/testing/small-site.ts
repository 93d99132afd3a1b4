import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

/** What a question is answered with in place of the truth. */
export type Fault = (
  request: { readonly path: string; readonly query: URLSearchParams; readonly token: string },
  response: ServerResponse,
) => boolean;

export interface ServerTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface SmallPort {
  id: string;
  [field: string]: unknown;
}

/**
 * NOT OpenStack: a stand-in for Keystone, Neutron and Nova in one HTTP server, for what the real ones do
 * only when they fail. What it says when all is well is what the real ones say in `openstack.interop.test.ts`.
 */
export class SmallSite implements AsyncDisposable {
  readonly ports = new Map<string, SmallPort>();
  readonly servers = new Map<string, Record<string, unknown> & { id: string }>();
  readonly asked: string[] = [];
  projects: { id: string; name: string }[] = [];
  networks: { id: string; name: string }[] = [];
  /** Tokens that are taken. */
  readonly tokens = new Set<string>();
  tokenSeconds = 3600;
  password = 'right';
  pageSize = 1000;
  /** As of a Nova that is too old for others. */
  microversions: readonly string[] = ['compute 2.69', 'compute 2.26'];
  fault: Fault = () => false;
  readonly #server: Server;
  #given = 0;

  readonly #scheme: 'http' | 'https';

  private constructor(tls: ServerTls | undefined) {
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch(() => response.destroy());
    };
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#server =
      tls === undefined
        ? createServer(answer)
        : createSecureServer({ ...tls, requestCert: true, rejectUnauthorized: true }, answer);
  }

  /** With certificates, it takes only clients that show one of the same authority. */
  static async start(tls?: ServerTls): Promise<SmallSite> {
    const site = new SmallSite(tls);
    site.#server.listen(0, '127.0.0.1');
    await once(site.#server, 'listening');
    return site;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no TCP port');
    return `${this.#scheme}://127.0.0.1:${address.port}`;
  }

  /** A port as Neutron makes one for an instance. */
  port(id: string, fields: Record<string, unknown> = {}): SmallPort {
    const port = {
      id,
      name: '',
      device_owner: 'compute:nova',
      device_id: '',
      project_id: '',
      network_id: '',
      fixed_ips: [{ subnet_id: 's', ip_address: '192.0.2.1' }],
      tags: [],
      ...fields,
      revision_number: Number(this.ports.get(id)?.revision_number ?? 0) + 1,
    };
    this.ports.set(id, port);
    return port;
  }

  server(id: string, fields: Record<string, unknown> = {}): void {
    this.servers.set(id, { id, name: id, status: 'ACTIVE', metadata: {}, tags: [], ...fields });
  }

  count(path: RegExp): number {
    return this.asked.filter((each) => path.test(each)).length;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url ?? '/', this.url);
    const token = String(request.headers['x-auth-token'] ?? '');
    this.asked.push(`${request.method} ${url.pathname}${url.search}`);
    const question = { path: url.pathname, query: url.searchParams, token };
    if (this.fault(question, response)) return;
    if (url.pathname === '/v3/auth/tokens') {
      this.#giveToken(JSON.parse(Buffer.concat(chunks).toString()), response);
      return;
    }
    if (!this.tokens.has(token)) {
      send(response, 401, { error: { code: 401 } });
      return;
    }
    if (url.pathname.startsWith('/compute/')) {
      const version = request.headers['openstack-api-version'];
      if (version !== undefined && !this.microversions.includes(String(version))) {
        send(response, 406, { computeFault: { code: 406 } });
        return;
      }
    }
    const parts = url.pathname.split('/').slice(1);
    const [, , kind, id] = parts;
    if (url.pathname === '/v3/projects') send(response, 200, { projects: this.projects });
    else if (kind === 'networks') this.#list(response, url, 'networks', this.networks);
    else if (kind === 'ports' && id === undefined)
      this.#list(response, url, 'ports', this.#chosen(url.searchParams));
    else if (kind === 'ports') one(response, 'port', this.ports.get(id ?? ''));
    else if (kind === 'servers' && (id === undefined || id === 'detail'))
      this.#list(
        response,
        url,
        'servers',
        [...this.servers.values()].filter((each) => each.status !== 'UNKNOWN'),
      );
    else if (kind === 'servers') one(response, 'server', this.servers.get(id ?? ''));
    else send(response, 404, {});
  }

  #chosen(query: URLSearchParams): SmallPort[] {
    const ids = query.getAll('id');
    const device = query.get('device_id');
    return [...this.ports.values()]
      .filter((port) => ids.length === 0 || ids.includes(port.id))
      .filter((port) => device === null || port.device_id === device)
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #list(
    response: ServerResponse,
    url: URL,
    field: string,
    all: readonly { readonly id: string }[],
  ): void {
    if (url.searchParams.has('changed_since')) {
      send(response, 400, { NeutronError: { type: 'HTTPBadRequest' } });
      return;
    }
    const marker = url.searchParams.get('marker');
    const from = marker === null ? 0 : all.findIndex((each) => each.id === marker) + 1;
    if (marker !== null && from === 0) {
      send(response, field === 'servers' ? 400 : 404, {});
      return;
    }
    const size = Math.min(Number(url.searchParams.get('limit') ?? 1000), this.pageSize);
    const page = all.slice(from, from + size);
    const next = new URL(url);
    // What the real ones do behind a proxy: they name a host that is not the one that was asked.
    next.host = 'inside.invalid:9';
    next.searchParams.set('marker', page.at(-1)?.id ?? '');
    send(response, 200, {
      [field]: page,
      ...(from + size < all.length
        ? { [`${field}_links`]: [{ rel: 'next', href: next.href }] }
        : {}),
    });
  }

  #giveToken(body: unknown, response: ServerResponse): void {
    const { identity } = (body as { auth: { identity: Record<string, Record<string, unknown>> } })
      .auth;
    const secret =
      identity.application_credential?.secret ??
      (identity.password?.user as { password?: unknown } | undefined)?.password;
    if (secret !== this.password) {
      send(response, 401, { error: { message: `wrong secret ${String(secret)}` } });
      return;
    }
    const token = `token-${++this.#given}`;
    this.tokens.add(token);
    response.setHeader('x-subject-token', token);
    const endpoint = (url: string) => [
      { interface: 'public', region: 'one', region_id: 'one', url },
      { interface: 'public', region: 'two', region_id: 'two', url: 'http://two.invalid' },
      { interface: 'internal', region: 'one', region_id: 'one', url: 'http://inside.invalid' },
    ];
    send(response, 201, {
      token: {
        expires_at: new Date(Date.now() + this.tokenSeconds * 1000).toISOString(),
        catalog: [
          { type: 'network', endpoints: endpoint(`${this.url}/network`) },
          { type: 'compute', endpoints: endpoint(`${this.url}/compute/v2.1`) },
        ],
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

export function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function one(response: ServerResponse, field: string, object: unknown): void {
  if (object === undefined) send(response, 404, { message: 'not found' });
  else send(response, 200, { [field]: object });
}
