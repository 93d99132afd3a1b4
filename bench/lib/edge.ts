/** The shipped lab `edge` for benchmarks: four edge nodes in front of pods that are told how many to be. */
import { buildLab, destroyLab, inParallel, type Lab, loadLab, until } from '@causeway/lab';
import type { Context } from './benchmark.ts';
import { takeAwayOnInterrupt } from './interrupt.ts';

export const EDGES = ['e1', 'e2', 'e3', 'e4'] as const;
export const SWITCHES = ['tor-1', 'tor-2'] as const;
/** The port of the service `web`, at its addresses and in its pods. */
export const TALK = 7000;
/** As the lab's nodes have it. */
const BFD = { enabled: true, intervalMs: 200, multiplier: 3 } as const;
const SETTLE_MS = 60_000;

/** A frontend as the agent tells it, as far as it is read here. */
interface ServiceRow {
  readonly name: string;
  readonly external: boolean;
  readonly backends: readonly unknown[];
}

export class EdgeSite implements AsyncDisposable {
  readonly lab: Lab;
  readonly #forget: () => void;

  private constructor(lab: Lab, forget: () => void) {
    this.lab = lab;
    this.#forget = forget;
  }

  /** Up, with so many backends on the two workers, and every edge node ready for them. */
  static async start(name: string, backends: number, log: Context['log']): Promise<EdgeSite> {
    const own = `${name}-${process.pid}`;
    const { file, source } = loadLab('edge');
    const pod = {
      namespace: 'default',
      labels: { app: 'web' },
      annotations: {},
      statefulSet: false,
      runtime: 'netns' as const,
      // Named for the service; the benchmark's own servers listen there.
      serve: [],
    };
    const changed = {
      ...file,
      // The interval of a session is the slower side's: 600 ms until a silent neighbour is found out.
      routers: file.routers.map((router) =>
        router.routing.type === 'static'
          ? router
          : { ...router, routing: { ...router.routing, bfd: BFD } },
      ),
      clusters: file.clusters.map((cluster) => ({
        ...cluster,
        ipam: 'static' as const,
        pods: ['w1', 'w2'].map((node) => ({ ...pod, name: node, node, count: backends / 2 })),
      })),
    };
    const forget = takeAwayOnInterrupt(async () => {
      await destroyLab(own, { force: true });
    });
    log(`bringing up lab ${own}`);
    const lab = await buildLab({ file: changed, source, name: own }, { name: own, progress: log });
    const site = new EdgeSite(lab, forget);
    try {
      await site.#prepare(backends);
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
    return site;
  }

  async #prepare(backends: number): Promise<void> {
    const store = await this.lab.cluster().store();
    await store.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web', namespace: 'default' },
        spec: {
          type: 'LoadBalancer',
          ipFamilyPolicy: 'RequireDualStack',
          selector: { app: 'web' },
          ports: [
            { name: 'talk', port: TALK, targetPort: TALK },
            { name: 'echo', port: TALK, targetPort: TALK, protocol: 'UDP' },
          ],
        },
      },
    ]);
    await this.backends(backends);
    await this.paths(EDGES);
  }

  /** The service's addresses for the world outside, one of each family. */
  async addresses(): Promise<string[]> {
    const store = await this.lab.cluster().store();
    const { status } = await store.get('Service', { namespace: 'default', name: 'web' });
    return (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
  }

  /** Waits until every edge node spreads the service over so many backends. */
  async backends(count: number): Promise<void> {
    await inParallel(EDGES, 4, (name) =>
      until(
        `backends at ${name}`,
        async () => {
          const rows = (await this.lab.agent(name).get('/v1/services')) as readonly ServiceRow[];
          const ours = rows.filter((row) => row.name === 'web' && row.external);
          const seen = ours.map(({ backends }) => backends.length);
          return seen.length >= 2 && seen.every((each) => each === count)
            ? undefined
            : `${seen.join(', ')} of ${count}`;
        },
        { timeoutMs: SETTLE_MS },
      ),
    );
  }

  /** Waits until both switches spread the service's addresses over exactly these edge nodes. */
  async paths(edges: readonly string[]): Promise<void> {
    await until(
      `paths to ${edges.join(', ')}`,
      async () => {
        const addresses = await this.addresses();
        if (addresses.length < 2) return `the service has ${addresses.length} addresses`;
        for (const name of SWITCHES)
          for (const address of addresses) {
            const family = address.includes(':') ? 'ipv6' : 'ipv4';
            const prefix = `${address}/${family === 'ipv6' ? 128 : 32}`;
            const routes = await this.lab.router(name).routes(family);
            const ways = routes.find((route) => route.prefix === prefix)?.via.length ?? 0;
            if (ways !== edges.length) return `${name} has ${ways} ways to ${prefix}`;
          }
        return undefined;
      },
      { timeoutMs: SETTLE_MS },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab[Symbol.asyncDispose]();
    await destroyLab(this.lab.name, { force: true });
    this.#forget();
  }
}
