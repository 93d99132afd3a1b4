import http from 'node:http';
import { type Log, messageWithCauses } from '@causeway/daemon';
import type { Clock } from '@causeway/tables';

/** What `spec.healthCheckNodePort` of a service is to say. */
export interface NodePortHealth {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** Backends on this node that take new connections. */
  readonly localEndpoints: number;
}

export interface NodePortHealthOptions {
  readonly clock: Clock;
  readonly log: Log;
}

/** Load balancers ask every few seconds; whoever opens more at once is none. */
const MAX_CONNECTIONS = 256;
const REQUEST_MS = 5_000;
const RETRY_MS = 5_000;

interface Serving {
  service: NodePortHealth;
  readonly server: http.Server;
  problem: string | undefined;
}

/**
 * The health check node ports of services with external traffic policy Local: an outer load balancer learns there
 * whether this node has a backend. It answers as kube-proxy does: 200 or 503, the count in the body.
 */
export class NodePortHealthServers implements AsyncDisposable {
  readonly #options: NodePortHealthOptions;
  readonly #serving = new Map<number, Serving>();
  readonly #stop = new AbortController();
  #conflicts: readonly string[] = [];

  constructor(options: NodePortHealthOptions) {
    this.#options = options;
  }

  /** What cannot be served, and why. */
  problems(): string[] {
    const own = [...this.#serving.values()].map(({ problem }) => problem);
    return [...own, ...this.#conflicts].filter((each) => each !== undefined);
  }

  set(services: readonly NodePortHealth[]): void {
    const wanted = new Map<number, NodePortHealth>();
    const conflicts: string[] = [];
    for (const each of services) {
      const other = wanted.get(each.port);
      if (other === undefined) wanted.set(each.port, each);
      else conflicts.push(`port ${each.port} of ${nameOf(each)} is ${nameOf(other)}'s`);
    }
    this.#conflicts = conflicts;
    for (const [port, { server }] of this.#serving) {
      if (wanted.has(port)) continue;
      this.#serving.delete(port);
      close(server);
    }
    for (const [port, service] of wanted) {
      const known = this.#serving.get(port);
      if (known === undefined) this.#serve(service);
      else known.service = service;
    }
  }

  #serve(service: NodePortHealth): void {
    const server = http.createServer(
      { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: 8_192 },
      (request, response) => {
        request.resume();
        answer(serving.service, response);
      },
    );
    server.maxConnections = MAX_CONNECTIONS;
    const serving: Serving = { service, server, problem: undefined };
    this.#serving.set(service.port, serving);
    server.on('listening', () => {
      serving.problem = undefined;
    });
    server.on('error', (error) => {
      const { clock, log } = this.#options;
      if (serving.problem === undefined) {
        log.error({ service: nameOf(serving.service), error: messageWithCauses(error) }, NO_PORT);
      }
      serving.problem = `health check port ${service.port} of ${nameOf(serving.service)}: ${error.message}`;
      // Another program has the port; it may give it up.
      void clock.sleep(RETRY_MS, this.#stop.signal).then(() => {
        const stands = this.#serving.get(service.port) === serving;
        if (!stands || this.#stop.signal.aborted) return;
        // One that listens has only failed to take a connection, for want of file descriptors.
        if (server.listening) serving.problem = undefined;
        else server.listen(service.port);
      });
    });
    server.listen(service.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    const all = [...this.#serving.values()];
    this.#serving.clear();
    await Promise.all(
      all.map(({ server }) => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        server.closeAllConnections();
        return closed;
      }),
    );
  }
}

const NO_PORT = 'a health check node port cannot be opened and is tried again';

function close(server: http.Server): void {
  server.close();
  server.closeAllConnections();
}

/** The form of kube-proxy's healthcheck server, field by field. */
function answer(
  { namespace, name, localEndpoints }: NodePortHealth,
  response: http.ServerResponse,
): void {
  response.writeHead(localEndpoints > 0 ? 200 : 503, {
    'content-type': 'application/json',
    'x-content-type-options': 'nosniff',
    'x-load-balancing-endpoint-weight': String(localEndpoints),
    connection: 'close',
  });
  response.end(
    JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy: true }),
  );
}

const nameOf = ({ namespace, name }: NodePortHealth): string => `${namespace}/${name}`;
