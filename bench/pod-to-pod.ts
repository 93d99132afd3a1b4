/**
 * Pod to pod on two nodes, native and through the tunnel, against node to node over the same links and
 * against the kernel's own routing of plain pods over equal links (which no eBPF touches). IPv4 and IPv6.
 */
import { type Benchmark, compare, type Figure, ratioBar, ratioBetween } from './lib/benchmark.ts';
import { plainSite } from './lib/plain.ts';
import { type BenchLab, benchLab, twoNodes } from './lib/site.ts';
import {
  connectRate,
  iperfServer,
  type Place,
  requestResponse,
  requestServer,
  tcpStream,
  udpRate,
  webServer,
} from './lib/traffic.ts';

interface Path {
  readonly from: Place;
  readonly to: Place;
  readonly address: string;
}

async function serversOf(paths: readonly Path[]): Promise<AsyncDisposableStack> {
  const stack = new AsyncDisposableStack();
  for (const path of paths) {
    stack.use(await iperfServer(path.to));
    stack.use(await requestServer(path.to));
    stack.use(await webServer(path.to));
  }
  return stack;
}

async function podPath(
  site: BenchLab,
  family: 'ipv4' | 'ipv6',
  names: [string, string],
): Promise<Path> {
  return {
    from: site.place(names[0]),
    to: site.place(names[1]),
    address: await site.address(names[1], family),
  };
}

const podToPod: Benchmark = async ({ quick, log }) => {
  const rounds = quick ? 2 : 5;
  const seconds = 1;
  await using native = await benchLab('bench-native', twoNodes({ mode: 'native', net: 80 }), log);
  await using tunnel = await benchLab('bench-tunnel', twoNodes({ mode: 'tunnel', net: 84 }), log);
  const figures: Figure[] = [];
  const client = 'main/default/client';
  const server = 'main/default/server';
  for (const family of quick ? (['ipv4'] as const) : (['ipv4', 'ipv6'] as const)) {
    await using plain = plainSite(family);
    const paths: Record<string, Path> = {
      'node to node': await podPath(native, family, ['n1', 'n2']),
      native: await podPath(native, family, [client, server]),
      tunnel: await podPath(tunnel, family, [client, server]),
      'kernel routing': { from: plain.pods[0], to: plain.pods[1], address: plain.podAddresses[1] },
      'node to node without eBPF': {
        from: plain.nodes[0],
        to: plain.nodes[1],
        address: plain.nodeAddresses[1],
      },
    };
    await using _servers = await serversOf(Object.values(paths));
    const measure = (
      metric: string,
      unit: string,
      one: (path: Path) => Promise<number>,
    ): Promise<Figure[]> =>
      compare(
        {
          metric: `${metric}, ${family}`,
          unit,
          better: 'higher',
          reference: 'node to node',
          rounds,
          variants: Object.fromEntries(
            Object.entries(paths).map(([name, path]) => [name, () => one(path)]),
          ),
        },
        log,
      );
    figures.push(
      ...(await measure('TCP stream', 'Gbit/s', (path) =>
        tcpStream(path.from, path.address, seconds),
      )),
      ...(await measure('TCP request/response', 'exchanges/s', (path) =>
        requestResponse(path.from, path.address, seconds),
      )),
      ...(await measure('TCP request/response on one processor', 'exchanges/s', (path) =>
        requestResponse(path.from, path.address, seconds, true),
      )),
    );
    // Packet rates of the two families differ by nothing of ours.
    if (family === 'ipv6') continue;
    figures.push(
      ...(await measure('UDP packets of 64 bytes', 'packets/s', (path) =>
        udpRate(path.from, path.address, seconds),
      )),
      ...(await measure('new connections', 'connections/s', (path) =>
        connectRate(path.from, path.address, quick ? 3000 : 6000),
      )),
    );
  }
  const metrics = [...new Set(figures.map((figure) => figure.metric))];
  const bars = metrics
    .filter((metric) => /stream|request/.test(metric))
    .map((metric) => ratioBar(figures, metric, 'native', 0.95));
  for (const metric of metrics) {
    const ratio = ratioBetween(figures, metric, 'native', 'kernel routing');
    bars.push({
      what: `${metric}: native against kernel routing of plain pods`,
      wanted: 'at least 1.000',
      got: ratio.toFixed(3),
      met: ratio >= 1,
    });
  }
  return {
    figures,
    bars,
    notes: [
      'node to node runs over the devices that carry our programs; the last variant has none.',
      'client and server stand on a processor each, but for "on one processor", where no wake-up of another one hides what the path costs.',
    ],
  };
};

export default podToPod;
