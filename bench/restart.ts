/**
 * What traffic notices of the agent's end and return: a UDP stream at a fixed rate, a TCP bulk stream and
 * one TCP connection of requests and responses, each through a pod's address and through a service, while
 * both nodes' agents are killed (-9), started, ended politely and started again, with every program
 * replaced at each start. The reference is the same traffic with nobody touching anything.
 */
import type { Bar, Benchmark, Figure } from './lib/benchmark.ts';
import { targetService } from './lib/services.ts';
import { type BenchLab, benchLab, twoNodes } from './lib/site.ts';
import { iperfServer, type Place, requestResponse, requestServer, runIn } from './lib/traffic.ts';

interface Outcome {
  readonly lost: number;
  readonly sent: number;
  readonly retransmits: number;
  readonly resets: number;
  readonly exchanges: number;
}

interface IperfEnd {
  readonly error?: string;
  readonly end: {
    readonly sum?: { readonly packets: number; readonly lost_packets: number };
    readonly sum_sent?: { readonly retransmits: number };
  };
}

async function iperf(place: Place, words: readonly string[], seconds: number): Promise<IperfEnd> {
  const argv = ['iperf3', '-J', '-t', String(seconds), ...words];
  const { stdout } = await runIn(place, argv, seconds + 30);
  return JSON.parse(stdout) as IperfEnd;
}

/**
 * Datagrams that came as far as the receiver's socket and found it full, because its program had no
 * processor. The restart of an agent keeps two processors busy, which is not what is asked here.
 */
async function crowdedOut(place: Place): Promise<number> {
  const { stdout } = await runIn(place, ['cat', '/proc/net/snmp', '/proc/net/snmp6']);
  const [names = [], values = []] = stdout
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '));
  const four = Number(values[names.indexOf('RcvbufErrors')]);
  const six = Number(/^Udp6RcvbufErrors\s+(\d+)/m.exec(stdout)?.[1]);
  return four + six;
}

/** All flows at once for so long; `during` runs meanwhile. */
async function flows(
  from: Place,
  to: Place,
  address: string,
  seconds: number,
  during: () => Promise<void>,
): Promise<Outcome> {
  const crowded = await crowdedOut(to);
  // A tenth of what the path carries: what is lost then was dropped, not crowded out.
  const udp = iperf(from, ['-u', '-b', '20M', '-l', '200', '-c', address, '-p', '5201'], seconds);
  const tcp = iperf(from, ['-b', '500M', '-c', address, '-p', '8080'], seconds);
  const exchanges = requestResponse(from, address, seconds).catch(() => 0);
  const [udpEnd, tcpEnd, rate] = await Promise.all([udp, tcp, exchanges, during()]);
  return {
    lost: (udpEnd.end.sum?.lost_packets ?? Number.NaN) - ((await crowdedOut(to)) - crowded),
    sent: udpEnd.end.sum?.packets ?? 0,
    retransmits: tcpEnd.end.sum_sent?.retransmits ?? Number.NaN,
    resets:
      [udpEnd.error, tcpEnd.error].filter((error) => error !== undefined).length +
      (rate === 0 ? 1 : 0),
    exchanges: rate,
  };
}

async function trouble(site: BenchLab): Promise<void> {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(1500);
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    for (const node of ['n1', 'n2']) await site.lab.agent(node).kill(signal);
    await pause(1500);
    for (const node of ['n1', 'n2']) await site.lab.agent(node).start();
    await site.lab.settled();
  }
}

const restart: Benchmark = async ({ quick, log }) => {
  const seconds = quick ? 15 : 20;
  const rounds = quick ? 1 : 3;
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  for (const mode of quick ? (['native'] as const) : (['native', 'tunnel'] as const)) {
    const net = mode === 'native' ? 96 : 72;
    // Per packet: only there do services need state that a restart could lose.
    const text = twoNodes({ mode, net }).replace(
      'podCIDRs:',
      'socketLB: {enabled: false}\n    podCIDRs:',
    );
    await using site = await benchLab(`bench-restart-${mode}`, text, log);
    const server = site.place('main/default/server');
    await using stack = new AsyncDisposableStack();
    stack.use(await iperfServer(server));
    stack.use(await iperfServer(server, 8080));
    stack.use(await requestServer(server));
    const vip = `10.${net + 1}.0.10`;
    const store = await site.lab.cluster().store();
    await store.apply([targetService([vip])]);
    const targets = {
      pod: await site.address('main/default/server', 'ipv4'),
      'pod, IPv6': await site.address('main/default/server', 'ipv6'),
      service: vip,
    };
    const client = site.place('main/default/client');
    for (const [name, address] of Object.entries(targets)) {
      for (const [variant, during] of [
        ['untouched', async () => {}],
        ['killed and restarted', () => trouble(site)],
      ] as const) {
        const outcomes: Outcome[] = [];
        for (let round = 0; round < rounds; round += 1) {
          outcomes.push(
            await flows(client, server, address, variant === 'untouched' ? 5 : seconds, during),
          );
          log(`${mode}, ${name}, ${variant}: round ${round + 1} of ${rounds}`);
        }
        for (const [metric, unit, key] of [
          ['UDP packets lost', 'packets', 'lost'],
          ['TCP retransmits', 'segments', 'retransmits'],
          ['connections reset or failed', 'connections', 'resets'],
        ] as const) {
          const samples = outcomes.map((outcome) => outcome[key]);
          figures.push({
            metric: `${metric}, ${mode}, ${name}`,
            unit,
            better: 'lower',
            variant,
            median: [...samples].sort((a, b) => a - b)[samples.length >> 1] ?? 0,
            samples,
            reference: 'untouched',
            ratio: Number.NaN,
          });
          if (variant === 'untouched' || key === 'retransmits') continue;
          const worst = Math.max(...samples);
          bars.push({
            what: `${metric}, ${mode}, ${name}, worst round`,
            wanted: '0',
            got: String(worst),
            met: worst === 0,
          });
        }
      }
    }
  }
  return {
    figures,
    bars,
    notes: [
      'packets lost: without those that reached the socket of a receiver that had no processor to read them.',
      '20 Mbit/s of UDP in packets of 200 bytes, 500 Mbit/s of TCP, and one TCP connection of exchanges, at once.',
    ],
  };
};

export default restart;
