import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Authority } from '@causeway/pki';
import { Link } from '../../../../testing/link.ts';
import { Scratch } from '../../../../testing/process.ts';
import type { KubeCluster, PodInTest, TokenOwner } from './cluster.ts';

interface Stored {
  readonly metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    labels: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

interface Change {
  readonly version: number;
  readonly path: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: Stored;
}

interface Tls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

const PODS = '/api/v1/pods';
const NAMESPACES = '/api/v1/namespaces';

/**
 * NOT a Kubernetes API server: a stand-in of a few routes that keeps to the rules of one which a lister and watcher
 * meets (pages at one revision by `continue`, watches from a revision, 410 in the answer and in the stream, Status
 * bodies, bearer tokens, client certificates). It passes the suite that a real one passes (`suite.ts`) and starts in
 * no time.
 */
export class StandInKubeServer implements KubeCluster {
  readonly link: Link;
  readonly files: KubeCluster['files'];
  readonly #scratch: Scratch;
  readonly #objects = new Map([
    [NAMESPACES, new Map<string, Stored>()],
    [PODS, new Map<string, Stored>()],
  ]);
  readonly #history: Change[] = [];
  readonly #watches = new Set<{ path: string; response: ServerResponse }>();
  readonly #pages = new Map<string, { items: Stored[]; version: number }>();
  readonly #server: Server;
  #version = 100;
  #oldest = 100;
  #uids = 0;
  #turn = 0;

  private constructor(server: Server, link: Link, files: KubeCluster['files'], scratch: Scratch) {
    this.#server = server;
    this.link = link;
    this.files = files;
    this.#scratch = scratch;
    server.on('request', (request, response) => this.#answer(request, response));
  }

  static async start(): Promise<StandInKubeServer> {
    const scratch = new Scratch('kube');
    const validity = { now: new Date(), days: 1 };
    const { authority } = await Authority.create('kubernetes', validity);
    const { certificate, key } = await authority.issueServer(['127.0.0.1'], validity);
    const client = await authority.issueClient('reads-by-certificate', validity);
    const write = (name: string, text: string) => {
      writeFileSync(scratch.file(name), text);
      return scratch.file(name);
    };
    const files = {
      ca: write('ca.crt', authority.certificate),
      cert: write('client.crt', client.certificate),
      key: write('client.key', client.key),
    };
    const tls: Tls = { cert: certificate, key, ca: authority.certificate };
    const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const link = await Link.to(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    return new StandInKubeServer(server, link, files, scratch);
  }

  get url(): string {
    return `https://${this.link.host}`;
  }

  token(who: TokenOwner): string {
    return typeof who === 'string' ? who : `reader-until-${Date.now() + who.seconds * 1000}`;
  }

  async setNamespace(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const before = this.#of(NAMESPACES).get(name)?.metadata.labels;
    this.#put(NAMESPACES, name, { labels: { ...before, ...labels }, name }, {});
  }

  async setPod(pod: PodInTest): Promise<string> {
    const { addresses, labels, name, namespace, owner } = pod;
    const key = `${namespace}/${name}`;
    const old = this.#of(PODS).get(key);
    const controller = { kind: 'ReplicaSet', controller: true };
    const metadata = old?.metadata ?? {
      ...{ labels: labels ?? {}, name, namespace },
      ...(owner && { ownerReferences: [{ ...controller, name: owner }] }),
    };
    const spec = old?.spec ?? {
      nodeName: 'n1',
      serviceAccountName: 'default',
      ...(pod.hostNetwork && { hostNetwork: true }),
    };
    const status = {
      phase: pod.phase ?? 'Running',
      hostIP: '192.0.2.1',
      podIPs: addresses.map((ip) => ({ ip })),
    };
    if (old === undefined) this.#put(PODS, key, metadata, { spec, status: { phase: 'Pending' } });
    return this.#put(PODS, key, metadata, { spec, status });
  }

  async setLabels(
    namespace: string,
    pod: string,
    labels: Readonly<Record<string, string>>,
  ): Promise<void> {
    const old = this.#of(PODS).get(`${namespace}/${pod}`);
    if (old === undefined) return;
    const { metadata, ...rest } = old;
    this.#put(PODS, `${namespace}/${pod}`, { ...metadata, labels }, rest);
  }

  async removePod(namespace: string, name: string): Promise<void> {
    this.#remove(`${namespace}/${name}`);
  }

  async removeAllPods(namespace: string): Promise<void> {
    for (const key of this.#of(PODS).keys()) if (key.startsWith(`${namespace}/`)) this.#remove(key);
  }

  async compact(): Promise<void> {
    this.#pages.clear();
  }

  async forget(): Promise<void> {
    this.#pages.clear();
    this.#oldest = this.#version;
    this.#history.length = 0;
  }

  async restart(): Promise<void> {
    for (const { response } of this.#watches) response.destroy();
    this.#server.closeAllConnections();
    await this.forget();
  }

  #of(path: string): Map<string, Stored> {
    const found = this.#objects.get(path);
    if (found === undefined) throw new Error(`no kind at ${path}`);
    return found;
  }

  #put(
    path: string,
    key: string,
    metadata: Pick<Stored['metadata'], 'name' | 'labels'>,
    rest: object,
  ): string {
    const before = this.#of(path).get(key);
    const uid = before?.metadata.uid ?? `uid-${++this.#uids}`;
    const version = ++this.#version;
    const object = { ...rest, metadata: { ...metadata, uid, resourceVersion: String(version) } };
    this.#of(path).set(key, object);
    this.#tell(path, before === undefined ? 'ADDED' : 'MODIFIED', object);
    return uid;
  }

  #remove(key: string): void {
    const object = this.#of(PODS).get(key);
    if (object === undefined) return;
    this.#of(PODS).delete(key);
    const resourceVersion = String(++this.#version);
    this.#tell(PODS, 'DELETED', { ...object, metadata: { ...object.metadata, resourceVersion } });
  }

  #tell(path: string, type: Change['type'], object: Stored): void {
    this.#history.push({ version: this.#version, path, type, object });
    for (const watch of this.#watches) {
      if (watch.path === path) watch.response.write(`${JSON.stringify({ type, object })}\n`);
    }
  }

  /** The code of a refusal, or undefined for whoever may read. */
  #refusal(request: IncomingMessage): number | undefined {
    if ((request.socket as TLSSocket).authorized) return undefined;
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const until = /^reader-until-(\d+)$/.exec(token)?.[1];
    if (token === 'reader' || (until !== undefined && Date.now() < Number(until))) return undefined;
    return token === 'nobody' ? 403 : 401;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://x');
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      status(response, refusal, refusal === 401 ? 'Unauthorized' : 'pods is forbidden');
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
    const next = rest.length === 0 ? undefined : `page-${++this.#turn}`;
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
    await this.link[Symbol.asyncDispose]();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    this.#scratch[Symbol.dispose]();
  }
}

function status(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, message }));
}
