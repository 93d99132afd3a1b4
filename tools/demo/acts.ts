import { Address } from '@causeway/ip';
import type { Expectation, Site } from './site.ts';

/** Every pod reaches every other, on its node, on its rack and, across the fabric, in the other cluster. */
export async function podsReachPods(site: Site): Promise<void> {
  site.report.section(
    'Pods reach pods: on one node, on one rack, in the other cluster across the fabric',
  );
  const ping = (what: string, from: string, to: string): Promise<Expectation[]> =>
    site.both(async (family) => {
      const address = await site.address(to, family);
      return {
        what,
        wanted: 'answered',
        attempt: (seconds) => site.lab.traffic.ping(site.place(from), address, { seconds }),
      };
    });
  const all = await Promise.all([
    ping('a pod pings one on its own node', 'employee', 'visitor'),
    ping('a pod pings one on the next node of its rack', 'employee', 'reporter'),
    ping('a pod pings one of the other cluster, on the other rack', 'employee', 'rebel-base-2'),
    ping('a node pings a pod of its own', 'a1', 'employee'),
    ping('a node pings a pod of the other cluster', 'b2', 'employee'),
    ping('a pod pings a node of the other cluster', 'employee', 'b2'),
    site.http(
      'a pod asks a web server of the other cluster',
      'visitor',
      'rebel-base-2',
      80,
      'answered',
    ),
  ]);
  await site.expect(all.flat());
  const large = await site.both(async (family) => {
    const address = await site.address('rebel-base-2', family);
    return {
      what: 'a packet of 4,000 bytes arrives in fragments',
      wanted: 'answered',
      attempt: (seconds) =>
        site.lab.traffic.ping(site.place('employee'), address, { seconds, size: 4000 }),
    };
  });
  await site.expect(large);
}

/** What leaves the cluster wears its node's address; what comes back finds its pod. */
export async function podsReachTheWorld(site: Site): Promise<void> {
  site.report.section('Pods reach the world, masqueraded to their node');
  const node = await Promise.all(
    (['ipv4', 'ipv6'] as const).map((family) => site.address('a1', family)),
  );
  const seen = await site.both(async (family) => {
    const address = await site.address('outside', family);
    return {
      what: 'the machine outside sees the node and not the pod',
      wanted: 'answered',
      attempt: (seconds) =>
        site.lab.traffic.tcp(site.place('employee'), address, 7000, { seconds }),
      answer: (answer) => node.includes(Address.parse(/\[(.*)\]/.exec(answer)?.[1] ?? '::')),
    };
  });
  await site.expect([
    ...seen,
    ...(await site.http('a web server outside answers', 'visitor', 'outside', 80, 'answered')),
  ]);
}

/** Cluster addresses: chosen at connect(), balanced, refused at once when nobody stands behind them. */
export async function services(site: Site): Promise<void> {
  site.report.section('Services');
  await site.apply('shop/services.yaml');
  const service = (
    what: string,
    from: string,
    name: string,
    port: number,
    wanted: Expectation['wanted'],
    answer: (text: string) => boolean,
  ) =>
    site.both(async (family) => {
      const address = await site.service(name, family);
      return {
        what,
        wanted,
        answer,
        attempt: (seconds) => site.lab.traffic.http(site.place(from), address, port, { seconds }),
      };
    });
  const echo = site.both(async (family) => {
    const address = await site.service('backend', family);
    return {
      what: 'a pod reaches the backend over UDP, by its port of another number',
      wanted: 'answered',
      answer: (text) => /^backend-\d good day$/.test(text),
      attempt: (seconds) =>
        site.lab.traffic.udp(site.place('visitor'), address, 7, { seconds, say: 'good day' }),
    };
  });
  const expectations = await Promise.all([
    service(
      'a pod reaches the frontend, whose target port goes by name',
      'visitor',
      'frontend',
      80,
      'answered',
      (text) => text.startsWith('frontend-'),
    ),
    service('a pod reaches the backend', 'employee', 'backend', 80, 'answered', (text) =>
      text.startsWith('backend-'),
    ),
    service("a node's own process reaches the frontend", 'a2', 'frontend', 80, 'answered', (text) =>
      text.startsWith('frontend-'),
    ),
    service(
      'a backend reaches its own service, itself included',
      'backend-1',
      'backend',
      80,
      'answered',
      (text) => text.startsWith('backend-'),
    ),
    service(
      'a service with nobody behind it refuses at once',
      'visitor',
      'nobody',
      80,
      'refused',
      () => true,
    ),
    echo,
  ]);
  await site.expect(expectations.flat());
  const ask = async (name: string, count: number): Promise<readonly string[]> => {
    const address = await site.service(name, 'ipv4');
    return site.lab.traffic.answers(site.place('employee'), address, 80, count);
  };
  const sticky = await ask('frontend', 8);
  site.report.check(
    'with session affinity a client stays with its backend',
    sticky.length === 1,
    sticky.join(', '),
  );
  const spread = await ask('backend', 24);
  site.report.check(
    'without it connections are spread over all backends',
    spread.join() === 'backend-1,backend-2,backend-3',
    spread.join(', '),
  );
}

/** Readiness and termination move new connections, never established ones. */
export async function backendsComeAndGo(site: Site): Promise<void> {
  site.report.section('Backends come and go');
  const address = await site.service('backend', 'ipv4');
  const answers = async (): Promise<string> =>
    (await site.lab.traffic.answers(site.place('employee'), address, 80, 12)).join(', ');
  const becomes = async (what: string, wanted: string): Promise<void> => {
    let last = '';
    for (let i = 0; i < 10 && last !== wanted; i++) last = await answers();
    site.report.check(what, last === wanted, last);
  };
  await site.lab.setReady(site.place('backend-2'), false);
  await becomes('a backend that is not ready gets no new connections', 'backend-1, backend-3');
  await site.lab.setReady(site.place('backend-2'), true);
  await becomes('when it is ready again it does', 'backend-1, backend-2, backend-3');
}
