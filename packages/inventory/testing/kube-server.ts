import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';

interface Stored {
  readonly metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    labels: Record<string, string>;
  };
  readonly [field: string]: unknown;
}

interface Change {
  readonly version: number;
  readonly path: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: Stored;
}

/**
 * NOT a Kubernetes API server: a stand-in of a few routes that keeps to the rules of one which a lister and watcher
 * meets (pages at one revision by `continue`, watches from a revision, bookmarks, 410 in the answer and in the
 * stream, Status bodies, bearer tokens). No kube-apiserver is to be had from Debian's packages here.
 */
export class StandInKubeServer implements AsyncDisposable {
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #history: Change[] = [];
  readonly #watches = new Set<{ path: string; response: ServerResponse }>();
  readonly #pages = new Map<string, { items: Stored[]; version: number }>();
  readonly #server: Server;
  readonly #token: string;
  readonly requests: string[] = [];
  #version = 100;
  #oldest = 100;
  #uids = 0;

  private constructor(tls: { cert: string; key: string }, token: string) {
    this.#token = token;
    this.#server = createServer(tls, (request, response) => this.#answer(request, response));
  }

  static async start(
    tls: { cert: string; key: string },
    token: string,
  ): Promise<StandInKubeServer> {
    const server = new StandInKubeServer(tls, token);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  namespace(name: string, labels: Record<string, string>): void {
    this.#put('/api/v1/namespaces', name, { labels, name }, {});
  }

  pod(
    namespace: string,
    name: string,
    labels: Record<string, string>,
    podIPs: string[],
    more: { spec?: object; phase?: string } = {},
  ): void {
    const spec = { nodeName: 'n1', serviceAccountName: 'default', ...more.spec };
    const status = {
      phase: more.phase ?? 'Running',
      hostIP: '192.0.2.1',
      podIPs: podIPs.map((ip) => ({ ip })),
    };
    this.#put(
      '/api/v1/pods',
      `${namespace}/${name}`,
      { labels, name, namespace },
      { spec, status },
    );
  }

  remove(path: string, key: string): void {
    const object = this.#of(path).get(key);
    if (object === undefined) return;
    this.#of(path).delete(key);
    this.#tell(path, 'DELETED', object);
  }

  /** As after etcd's compaction: nothing before now can be watched from, and no list goes on. */
  compact(): void {
    this.#oldest = this.#version;
    this.#history.length = 0;
    this.#pages.clear();
  }

  /** Every watch breaks. */
  cut(): void {
    for (const { response } of this.#watches) response.destroy();
    this.#watches.clear();
  }

  bookmark(): void {
    for (const { response } of this.#watches) {
      const metadata = { resourceVersion: String(this.#version), name: '' };
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata } })}\n`);
    }
  }

  get watching(): number {
    return this.#watches.size;
  }

  #of(path: string): Map<string, Stored> {
    const found = this.#objects.get(path) ?? new Map<string, Stored>();
    this.#objects.set(path, found);
    return found;
  }

  #put(
    path: string,
    key: string,
    metadata: { labels: Record<string, string>; name: string; namespace?: string },
    rest: object,
  ): void {
    const before = this.#of(path).get(key);
    const uid = before?.metadata.uid ?? `uid-${++this.#uids}`;
    const object = {
      metadata: { ...metadata, uid, resourceVersion: String(this.#version + 1) },
      ...rest,
    };
    this.#of(path).set(key, object);
    this.#tell(path, before === undefined ? 'ADDED' : 'MODIFIED', object);
  }

  #tell(path: string, type: Change['type'], given: Stored): void {
    const version = ++this.#version;
    const object = { ...given, metadata: { ...given.metadata, resourceVersion: String(version) } };
    this.#history.push({ version, path, type, object });
    for (const watch of this.#watches) {
      if (watch.path === path) watch.response.write(`${JSON.stringify({ type, object })}\n`);
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://x');
    this.requests.push(`${url.pathname}${url.search}`);
    if (request.headers.authorization !== `Bearer ${this.#token}`) {
      status(response, 401, 'Unauthorized');
      return;
    }
    if (!this.#objects.has(url.pathname)) {
      status(response, 404, 'the server could not find the requested resource');
      return;
    }
    if (url.searchParams.get('watch') === 'true') {
      this.#watch(url, response);
      return;
    }
    const limit = Number(url.searchParams.get('limit') ?? 0) || Number.POSITIVE_INFINITY;
    const token = url.searchParams.get('continue');
    const page =
      token === null
        ? { items: [...this.#of(url.pathname).values()], version: this.#version }
        : this.#pages.get(token);
    if (page === undefined) {
      status(response, 410, 'The provided continue parameter is too old');
      return;
    }
    const items = page.items.slice(0, limit);
    const rest = page.items.slice(limit);
    const next = rest.length === 0 ? undefined : `page-${this.requests.length}`;
    if (next !== undefined) this.#pages.set(next, { items: rest, version: page.version });
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        kind: 'List',
        metadata: { resourceVersion: String(page.version), ...(next && { continue: next }) },
        items,
      }),
    );
  }

  #watch(url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get('resourceVersion'));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (from < this.#oldest) {
      const object = {
        kind: 'Status',
        code: 410,
        message: `too old resource version: ${from} (${this.#oldest})`,
      };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    for (const { object, path, type, version } of this.#history) {
      if (path === url.pathname && version > from)
        response.write(`${JSON.stringify({ type, object })}\n`);
    }
    const watch = { path: url.pathname, response };
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function status(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, message }));
}
