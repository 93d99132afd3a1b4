import {
  Attempts,
  type AttemptsResult,
  FlowServers,
  Flows,
  type PodPlan,
  podPlace,
  sumFlows,
  until,
} from '@causeway/lab';
import type { Site } from './site.ts';

const FAMILIES = ['ipv4', 'ipv6'] as const;
const SWITCHES = ['tor-1', 'tor-2'] as const;
const EDGES = ['e1', 'e2', 'e3', 'e4'] as const;
const SETTLE_MS = 20_000;
/** Three times what a node of this lab is given at a time. */
const BURST = 36;
const FLOWS = 1000;
const PORT = 7000;

/** A node starts more pods than its addresses: it is given more ahead of need, and real routers learn of them. */
export async function nodeRunsOut(site: Site): Promise<void> {
  site.report.section('A node runs out of addresses and is given more, which the routers see');
  const { lab } = site;
  const before = await blocks(site, 'w2');
  site.report.note(`w2 holds ${before.join(', ')}: 16 addresses each`);
  const pods = Array.from(
    { length: BURST },
    (_, i): PodPlan => ({
      cluster: 'main',
      namespace: 'default',
      name: `burst-${i + 1}`,
      node: 'w2',
      labels: { app: 'burst' },
      runtime: 'netns',
      serve: i === BURST - 1 ? [{ port: 8080, type: 'http' }] : [],
    }),
  );
  const started = performance.now();
  const addresses = await lab.addPods(pods);
  const seconds = (performance.now() - started) / 1000;
  site.report.check(
    `${BURST} pods start there at once, each with an address of both families`,
    addresses.every((own) => own.length === FAMILIES.length),
    `${(BURST / seconds).toFixed(0)} pods a second`,
  );
  const after = await blocks(site, 'w2');
  const given = after.filter((cidr) => !before.includes(cidr));
  site.report.check('w2 was given more CIDRs of the pool', given.length > 0, given.join(', '));
  await site.causeway(site.cluster, 'ipam', 'nodes');
  const missing: string[] = [];
  for (const name of SWITCHES)
    for (const family of FAMILIES) {
      const known = (await lab.router(name).routes(family)).map(({ prefix }) => prefix);
      const own = after.filter((prefix) => prefix.includes(':') === (family === 'ipv6'));
      missing.push(...own.filter((each) => !known.includes(each)).map((each) => `${name} ${each}`));
    }
  site.report.check(
    'both rack switches have all of them in their kernels',
    missing.length === 0,
    missing.join(', '),
  );
  const newest = given.find((prefix) => !prefix.includes(':')) ?? '';
  const { stdout } = await lab.exec('tor-2', ['vtysh', '-c', `show ip route ${newest}`]);
  site.report.note(`tor-2: vtysh -c 'show ip route ${newest}'\n${lines(stdout)}`);
  const last = addresses.at(-1) ?? [];
  await site.expect(
    last.map((address) => ({
      what: `the last pod answers a client outside at ${address}`,
      wanted: 'answered',
      attempt: (wait) => lab.traffic.http('client-1', address, 8080, { seconds: wait }),
    })),
  );
  for (const pod of pods) await lab.removePod(podPlace(pod));
}

/** A StatefulSet's pod goes from one node to another while somebody tries to reach it. */
export async function podMoves(site: Site): Promise<void> {
  site.report.section(
    'A StatefulSet’s pod moves and keeps its addresses, while a client tries to reach it',
  );
  const { lab } = site;
  const place = site.place('web-1');
  const before = await lab.addresses(place);
  site.report.note(`web-1 is on w1 with ${before.join(' and ')}, which lie in w1's CIDRs`);
  await using attempts = await Attempts.start(
    lab,
    'client-1',
    before.map((address) => ({ name: 'web-1', address, port: PORT })),
    { everyMs: 25 },
  );
  const started = performance.now();
  const after = await lab.movePod(place, 'w2');
  const took = performance.now() - started;
  const hosts = before.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
  await becomes(site, 'both rack switches send them to w2 by host routes', hosts.join(', '), () =>
    hostRoutesMissing(site, hosts),
  );
  site.report.check(
    'on w2 it has the same addresses',
    after.toSorted().join() === before.toSorted().join(),
    `${after.join(' and ')}, ${took.toFixed(0)} ms from its end to its start`,
  );
  await site.expect(
    after.map((address) => ({
      what: `it answers at ${address}`,
      wanted: 'answered',
      attempt: (wait) => lab.traffic.http('client-2', address, 8080, { seconds: wait }),
    })),
  );
  const results = await attempts.stop();
  site.report.check(
    'attempts that ran all the while got through again within five seconds',
    results.every(({ longestGapMs }) => longestGapMs < 5000),
    results.map(inWords).join('; '),
  );
  await site.causeway(site.cluster, 'ipam', 'claims');
}

/** Clients outside keep connections to a service's address over four edge nodes, one of which is cut off. */
export async function edgeNodeDies(site: Site): Promise<void> {
  site.report.section(
    'A service’s address from outside over four edge nodes, one of which is cut off under load',
  );
  const { lab } = site;
  const addresses = await outside(site);
  site.report.note(`service web has ${addresses.join(' and ')}`);
  await becomes(
    site,
    'both rack switches spread them over all four edge nodes',
    EDGES.join(', '),
    () => pathsMissing(site, addresses, EDGES),
  );
  for (const address of addresses.filter((each) => !each.includes(':'))) {
    const { stdout } = await lab.exec('tor-1', ['ip', 'route', 'show', address]);
    site.report.note(`tor-1: ip route show ${address}\n${lines(stdout)}`);
  }
  const places = lab.pods.filter(({ labels }) => labels.app === 'web').map(podPlace);
  const port = 7777;
  await (await site.cluster.store()).apply([
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        name: 'talks',
        namespace: 'default',
        annotations: { 'lbipam.cilium.io/sharing-key': 'web' },
      },
      spec: {
        type: 'LoadBalancer',
        ipFamilyPolicy: 'RequireDualStack',
        selector: { app: 'web' },
        ports: [{ port, targetPort: port }],
      },
    },
  ]);
  const talks = await outside(site, 'talks');
  await until('four paths', () => pathsMissing(site, talks, EDGES), { timeoutMs: SETTLE_MS });
  await using _servers = await FlowServers.start(lab, 'client-2', places, port);
  const targets = talks.map((address) => ({ name: 'talks', address, port }));
  await using flows = await Flows.open(lab, 'client-1', { targets, flows: FLOWS / 2 });
  const opened = sumFlows(flows.opened);
  site.report.check(
    `${FLOWS} connections from outside stand, spread over all ${places.length} backends`,
    opened.lost === 0 && new Set(flows.opened.map(({ backend }) => backend)).size === places.length,
    flows.opened.map(({ backend, flows: count }) => `${backend} ${count}`).join(', '),
  );
  await using attempts = await Attempts.start(
    lab,
    'client-2',
    addresses.map((address) => ({ name: 'web', address, port: PORT })),
    { everyMs: 10 },
  );
  const started = performance.now();
  await lab.freeze('e1');
  site.report.note('e1 is cut off: nothing comes from it any more, no carrier goes');
  await until('three paths', () => pathsMissing(site, talks, EDGES.slice(1)), {
    timeoutMs: SETTLE_MS,
  });
  const rerouted = performance.now() - started;
  const cut = sumFlows(await flows.check(10));
  site.report.check(
    'all but one in a hundred of them live on, through the other three',
    cut.kept >= 0.99,
    `${cut.flows - cut.lost} of ${cut.flows}; both switches went round e1 after ${rerouted.toFixed(0)} ms`,
  );
  const results = await attempts.stop();
  site.report.check(
    'new connections got through again within a second',
    results.every(({ longestGapMs }) => longestGapMs < 1000),
    results.map(inWords).join('; '),
  );
  await lab.thaw('e1');
  await until('four paths', () => pathsMissing(site, talks, EDGES), { timeoutMs: SETTLE_MS });
  const back = sumFlows(await flows.check(10));
  site.report.check(
    'when e1 comes back they live on as well',
    back.kept >= 0.99,
    `${back.flows - back.lost} of ${back.flows}`,
  );
}

/** An expectation that holds once nothing is missing any more. */
async function becomes(
  site: Site,
  what: string,
  detail: string,
  missing: () => Promise<string | undefined>,
): Promise<void> {
  let words: string | undefined;
  const look = async (): Promise<string | undefined> => {
    words = await missing();
    return words;
  };
  await until(what, look, { timeoutMs: SETTLE_MS }).catch(() => {});
  site.report.check(what, words === undefined, words ?? detail);
}

async function blocks(site: Site, name: string): Promise<string[]> {
  const { spec } = await (await site.cluster.store()).get('CiliumNode', { name });
  return (spec.ipam?.pools?.allocated ?? []).flatMap(({ cidrs }) => cidrs ?? []);
}

async function outside(site: Site, name = 'web'): Promise<string[]> {
  let found: string[] = [];
  await until(
    `addresses of ${name}`,
    async () => {
      const store = await site.cluster.store();
      const { status } = await store.get('Service', { namespace: 'default', name });
      found = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
      return found.length === FAMILIES.length ? undefined : `it has ${found.length}`;
    },
    { timeoutMs: SETTLE_MS },
  );
  return found;
}

async function hostRoutesMissing(
  site: Site,
  hosts: readonly string[],
): Promise<string | undefined> {
  for (const name of SWITCHES)
    for (const host of hosts) {
      const routes = await site.lab.router(name).routes(host.includes(':') ? 'ipv6' : 'ipv4');
      const route = routes.find(({ prefix }) => prefix === host);
      const via = route?.via.map((hop) => placeOf(site, hop)) ?? [];
      if (!via.includes('w2')) return `${name} has ${host} via ${via.join(', ') || 'nobody'}`;
    }
  return undefined;
}

async function pathsMissing(
  site: Site,
  addresses: readonly string[],
  edges: readonly string[],
): Promise<string | undefined> {
  for (const name of SWITCHES)
    for (const address of addresses) {
      const six = address.includes(':');
      const routes = await site.lab.router(name).routes(six ? 'ipv6' : 'ipv4');
      const route = routes.find(({ prefix }) => prefix === `${address}/${six ? 128 : 32}`);
      const via = route?.via.map((hop) => placeOf(site, hop)).sort() ?? [];
      if (via.join() !== edges.join())
        return `${name} has ${address} via ${via.join(', ') || 'nobody'}`;
    }
  return undefined;
}

function placeOf(site: Site, address: string): string {
  const place = site.lab.context.state.plan.places.find(({ devices }) =>
    devices.some((device) => device.addresses.some((each) => each.address === address)),
  );
  return place?.place ?? address;
}

function inWords({ address, attempts, answered, longestGapMs }: AttemptsResult): string {
  return `${address}: ${answered} of ${attempts} attempts, the longest wait ${Math.round(longestGapMs)} ms`;
}

function lines(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => `  ${line.trimEnd()}`)
    .join('\n');
}
