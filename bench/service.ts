/**
 * A pod calls a ClusterIP of ten backends, with 10, 1,000 and 10,000 services on the node: translated at
 * connect(), and packet by packet; against the same call to the pod's own address. Beside it what a user
 * has today: kube-proxy's iptables rules for the same services, against plain pod to pod.
 */
import type { AgentStatus } from '@causeway/agent';
import {
  type Bar,
  type Benchmark,
  compare,
  type Figure,
  ratioBar,
  ratioOf,
} from './lib/benchmark.ts';
import { plainSite } from './lib/plain.ts';
import { applyCrowd, loadIptables, targetService } from './lib/services.ts';
import { type BenchLab, benchLab, twoNodes } from './lib/site.ts';
import {
  connectRate,
  iperfServer,
  type Place,
  requestResponse,
  requestServer,
  tcpStream,
  webServer,
} from './lib/traffic.ts';

const CLIENT = 'main/default/client';

function servers(count: number): string {
  return `      - {name: server, node: n2, count: ${count}, labels: {app: server}}\n`;
}

async function serve(stack: AsyncDisposableStack, place: Place): Promise<void> {
  stack.use(await iperfServer(place));
  stack.use(await requestServer(place));
  stack.use(await webServer(place));
}

/** Frontends of the service that is measured: six ports in two families. Each of the crowd has one. */
const TARGET_FRONTENDS = 12;

/** Waits until the client's node has `services` services, and the kernel has every row of them. */
async function known(site: BenchLab, services: number): Promise<void> {
  const wanted = TARGET_FRONTENDS + services - 1;
  const agent = site.lab.agent('n1');
  let seen = '';
  for (let attempt = 0; attempt < 600; attempt += 1) {
    const rows = ((await agent.get('/v1/services')) as unknown[]).length;
    const { reconcilers } = (await agent.get('/v1/status')) as AgentStatus;
    const row = reconcilers.find(({ name }) => name === 'services');
    seen = `${rows} of ${wanted} frontends; ${row?.detail ?? 'no health row `services`'}`;
    if (rows >= wanted && row?.healthy) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`node n1 does not have ${services} services after two minutes: ${seen}`);
}

const service: Benchmark = async ({ quick, log }) => {
  const sizes = quick ? [10, 200] : [10, 1000, 10000];
  const rounds = quick ? 2 : 5;
  const seconds = 1;
  const pods = twoNodes({ mode: 'native', net: 88, extra: servers(9) });
  const packets = twoNodes({ mode: 'native', net: 92, extra: servers(9) }).replace(
    'podCIDRs:',
    'socketLB: {enabled: false}\n    podCIDRs:',
  );
  await using stack = new AsyncDisposableStack();
  const atConnect = stack.use(await benchLab('bench-connect', pods, log));
  const perPacket = stack.use(await benchLab('bench-packet', packets, log));
  const plain = stack.use(plainSite('ipv4'));
  await serve(stack, plain.pods[1]);
  const vip = { connect: '10.89.0.10', packet: '10.93.0.10', iptables: '10.199.0.10' };
  const vip6 = { connect: 'fd88:2::10', packet: 'fd92:2::10' };
  for (const [site, way] of [
    [atConnect, 'connect'],
    [perPacket, 'packet'],
  ] as const) {
    for (const pod of site.lab.pods.filter((one) => one.labels.app === 'server')) {
      await serve(stack, site.place(`main/default/${pod.name}`));
    }
    const store = await site.lab.cluster().store();
    await store.apply([targetService([vip[way], vip6[way]])]);
  }
  const podAddress = await atConnect.address('main/default/server-1', 'ipv4');
  const figures: Figure[] = [];
  const bars: Bar[] = [];
  const podNamespace = plain.nodes[0].at(-1) ?? '';
  let before = 1;
  for (const size of sizes) {
    log(`${size} services`);
    for (const site of [atConnect, perPacket]) {
      await applyCrowd(await site.lab.cluster().store(), before, size);
      await known(site, size);
    }
    before = size;
    loadIptables(podNamespace, size, {
      address: vip.iptables,
      backends: [plain.podAddresses[1]],
    });
    const kinds = [
      ['TCP stream', 'Gbit/s', (place: Place, to: string) => tcpStream(place, to, seconds)],
      [
        'TCP request/response on one processor',
        'exchanges/s',
        (place: Place, to: string) => requestResponse(place, to, seconds, true),
      ],
      [
        'new connections',
        'connections/s',
        (place: Place, to: string) => connectRate(place, to, quick ? 3000 : 10000),
      ],
    ] as const;
    for (const [name, unit, one] of kinds) {
      const metric = `${name}, ${size} services`;
      const own = await compare(
        {
          metric,
          unit,
          better: 'higher',
          reference: 'pod to pod',
          rounds,
          variants: {
            'pod to pod': () => one(atConnect.place(CLIENT), podAddress),
            'ClusterIP at connect()': () => one(atConnect.place(CLIENT), vip.connect),
            'ClusterIP per packet': () => one(perPacket.place(CLIENT), vip.packet),
            'plain pod to pod': () => one(plain.pods[0], plain.podAddresses[1]),
            'ClusterIP by iptables': () => one(plain.pods[0], vip.iptables),
          },
        },
        log,
      );
      figures.push(...own);
      for (const way of ['ClusterIP at connect()', 'ClusterIP per packet']) {
        bars.push(ratioBar(own, metric, way, 0.97));
      }
    }
  }
  const last = sizes.at(-1) ?? 0;
  for (const name of ['TCP stream', 'TCP request/response on one processor', 'new connections']) {
    for (const way of ['ClusterIP at connect()', 'ClusterIP per packet']) {
      const few = ratioOf(figures, `${name}, ${sizes[0]} services`, way);
      const many = ratioOf(figures, `${name}, ${last} services`, way);
      bars.push({
        what: `${name}: ${way} with ${last} services against ${sizes[0]}`,
        wanted: 'at least 0.97',
        got: (many / few).toFixed(3),
        met: many / few >= 0.97,
      });
    }
  }
  return {
    figures,
    bars,
    notes: [
      'iptables: kube-proxy-shaped rules in the client node of a site without eBPF; compare with its own plain pod to pod.',
    ],
  };
};

export default service;
