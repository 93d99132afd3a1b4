import { median } from '../../bench/lib/benchmark.ts';
import { iperfServer, requestResponse, requestServer, tcpStream } from '../../bench/lib/traffic.ts';
import type { Site } from './site.ts';

const ROUNDS = 5;
const SECONDS = 1;

/** Pod to pod against node to node over the same cables, in turns: a taste of `npm run bench`, no more. */
export async function measure(site: Site): Promise<void> {
  site.report.section('Pod to pod against node to node, in turns, from one cluster to the other');
  const paths = {
    'node to node': { from: 'a1', to: 'b1' },
    'pod to pod': { from: 'employee', to: 'rebel-base-2' },
  };
  const rates = new Map<string, { stream: number[]; exchanges: number[] }>();
  await using servers = new AsyncDisposableStack();
  for (const [name, { to }] of Object.entries(paths)) {
    const place = site.lab.prefix(site.place(to));
    servers.use(await iperfServer(place));
    servers.use(await requestServer(place));
    rates.set(name, { stream: [], exchanges: [] });
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, { from, to }] of Object.entries(paths)) {
      const address = await site.address(to, 'ipv4');
      const place = site.lab.prefix(site.place(from));
      const own = rates.get(name)!;
      own.stream.push(await tcpStream(place, address, SECONDS));
      own.exchanges.push(await requestResponse(place, address, SECONDS));
    }
  const of = (name: string, what: 'stream' | 'exchanges'): number => median(rates.get(name)![what]);
  for (const name of rates.keys())
    site.report.note(
      `${name}: ${of(name, 'stream').toFixed(1)} Gbit/s, ${Math.round(of(name, 'exchanges'))} exchanges/s (medians of ${ROUNDS})`,
    );
  const share = (what: 'stream' | 'exchanges'): string =>
    `${((of('pod to pod', what) / of('node to node', what)) * 100).toFixed(0)}%`;
  site.report.note(
    `pod to pod is ${share('stream')} of node to node in stream, ${share('exchanges')} in exchanges`,
  );
  site.report.check(
    'both paths carry traffic',
    of('pod to pod', 'stream') > 0 && of('pod to pod', 'exchanges') > 0,
    '',
  );
}
