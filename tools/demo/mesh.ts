import { Attempts, type AttemptsResult, type LabClusterFace, until } from '@causeway/lab';
import { trace } from './policy.ts';
import type { Expectation, Outcome, Site } from './site.ts';

const SETTLE_MS = 20_000;
const TALK = 7000;
const FAMILIES = ['ipv4', 'ipv6'] as const;

/** What each cluster knows of the others: their stores stay theirs, only state is read. */
export async function clustersMeet(site: Site): Promise<void> {
  site.report.section(
    'Two clusters read each other’s stores, and an inventory’s; nobody writes into another’s',
  );
  for (const cluster of clustersOf(site)) {
    await site.causeway(cluster, 'mesh', 'status');
    const missing = new Set<string>();
    for (const agent of cluster.agents) {
      const rows = (await agent.get('/v1/tables/mesh-peers')) as { name: string; state: string }[];
      for (const name of cluster.plan.mesh?.reads ?? [])
        if (rows.find((row) => row.name === name)?.state !== 'ready')
          missing.add(`${agent.node.name} ${name}`);
    }
    site.report.check(
      `every node of ${cluster.plan.name} reads ${(cluster.plan.mesh?.reads ?? []).join(' and ')}`,
      missing.size === 0,
      [...missing].join(', '),
    );
  }
}

/** One name, two clusters: a service's own address in each leads to the pods of both. */
export async function globalService(site: Site): Promise<void> {
  site.report.section('A global service, answered by the pods of both clusters');
  const [one, two] = clustersOf(site);
  for (const cluster of [one, two]) await site.applyIn(cluster, 'rebel-base/service.yaml');
  await answeredBy(site, 'tie-fighter', one, ['rebel-base-1', 'rebel-base-2']);
  await answeredBy(site, 'trooper', two, ['rebel-base-1', 'rebel-base-2']);
  await site.causeway(one, '--node', 'a1', 'services', 'why', 'rebel-base');
}

/** A cluster loses all its backends of a service under traffic; the other's answer. */
export async function backendsOfOneClusterGo(site: Site): Promise<void> {
  site.report.section('One cluster loses all its backends, under traffic');
  const [one] = clustersOf(site);
  const place = site.place('rebel-base-1');
  await using attempts = await tryAll(site, 'tie-fighter', one);
  await site.lab.setReady(place, false);
  await answeredBy(site, 'tie-fighter', one, ['rebel-base-2']);
  await site.lab.setReady(place, true);
  await answeredBy(site, 'tie-fighter', one, ['rebel-base-1', 'rebel-base-2']);
  judge(site, 'every attempt was answered by one or the other', await attempts.stop());
}

/** A peer's store dies: nothing that it said is forgotten, and its own cluster goes on as well. */
export async function storeOfOneClusterDies(site: Site): Promise<void> {
  site.report.section('The store of the other cluster dies, under traffic');
  const [one, two] = clustersOf(site);
  await using attempts = await tryAll(site, 'tie-fighter', one);
  await using back = new AsyncDisposableStack();
  // Whatever happens here, what follows needs the store.
  back.defer(() => two.etcd.start());
  await site.service('rebel-base', 'ipv4', two);
  await two.etcd.stop('SIGKILL');
  site.report.note(`killed the etcd of ${two.plan.name} (SIGKILL)`);
  await until('the loss is noticed', () => peerMissing(site, 'a1', two, 'stale'), {
    timeoutMs: SETTLE_MS,
  }).catch(() => {});
  const words = await peerMissing(site, 'a1', two, 'stale');
  site.report.check(
    `${one.plan.name} says that what it knows is old, and how old`,
    words === undefined,
    words ?? '',
  );
  await site.causeway(one, '--node', 'a1', 'mesh', 'peers');
  await answeredBy(site, 'tie-fighter', one, ['rebel-base-1', 'rebel-base-2']);
  await answeredBy(site, 'trooper', two, ['rebel-base-1', 'rebel-base-2']);
  await two.etcd.start();
  await until('the peer is back', () => peerMissing(site, 'a1', two, 'ready'), {
    timeoutMs: SETTLE_MS,
  }).catch(() => {});
  const missing = await peerMissing(site, 'a1', two, 'ready');
  site.report.check('when it is back it is read again', missing === undefined, missing ?? '');
  judge(site, 'and not one attempt was lost all the while', await attempts.stop());
}

/** The articles' policy: x-wing of cluster1 to rebel-base of cluster2, and nothing else. */
export async function xWing(site: Site): Promise<void> {
  site.report.section('x-wing of cluster1 may go to rebel-base of cluster2; others may not');
  const [one, two] = clustersOf(site);
  await site.expect(
    await asks(site, 'before the policies anybody does', 'trooper', 'rebel-base-2', 'answered'),
  );
  await site.applyIn(one, 'rebel-base/allow-cross-cluster.yaml');
  await site.applyIn(two, 'rebel-base/only-x-wing.yaml');
  const expectations = await Promise.all([
    asks(site, 'x-wing reaches the rebel base of cluster2', 'x-wing', 'rebel-base-2', 'answered'),
    asks(site, 'not the one of its own cluster', 'x-wing', 'rebel-base-1', 'timeout'),
    asks(
      site,
      'a tie-fighter of cluster1 does not get in',
      'tie-fighter',
      'rebel-base-2',
      'timeout',
    ),
    asks(site, 'a trooper of cluster2 does not either', 'trooper', 'rebel-base-2', 'timeout'),
  ]);
  await site.expect(expectations.flat());
  const base = await site.address('rebel-base-2', 'ipv4');
  await trace(site, 'default/x-wing', base, 80, true, 'a1');
  // What follows goes to rebel-base again.
  for (const [cluster, name] of [
    [one, 'allow-cross-cluster'],
    [two, 'only-x-wing'],
  ] as const)
    await (await cluster.store()).delete('CiliumNetworkPolicy', { namespace: 'default', name });
}

/** Both clusters with nodes, in the order of the lab file. */
function clustersOf(site: Site): [LabClusterFace, LabClusterFace] {
  const [one, two] = site.lab.clusters.filter(({ agents }) => agents.length > 0);
  return [one!, two!];
}

function asks(
  site: Site,
  what: string,
  from: string,
  to: string,
  wanted: Outcome,
): Promise<Expectation[]> {
  return site.http(what, from, to, 80, wanted);
}

/** An expectation about who answers at a cluster's own addresses of the service. */
async function answeredBy(
  site: Site,
  from: string,
  cluster: LabClusterFace,
  names: readonly string[],
): Promise<void> {
  const wanted = names.join(', ');
  let last = '';
  for (const family of FAMILIES) {
    const address = await site.service('rebel-base', family, cluster);
    const look = async (): Promise<string | undefined> => {
      last = (await site.lab.traffic.answers(site.place(from), address, 80, 12)).join(', ');
      return last === wanted ? undefined : last;
    };
    await until('answers', look, { timeoutMs: SETTLE_MS }).catch(() => {});
    if (last !== wanted) break;
  }
  site.report.check(
    `${from} of ${cluster.plan.name} is answered by ${names.join(' and ')}`,
    last === wanted,
    last,
  );
}

/** Attempts at the service's addresses that go on until they are stopped. */
async function tryAll(site: Site, from: string, cluster: LabClusterFace): Promise<Attempts> {
  const targets = await Promise.all(
    FAMILIES.map(async (family) => ({
      name: 'rebel-base',
      address: await site.service('rebel-base', family, cluster),
      port: TALK,
    })),
  );
  return Attempts.start(site.lab, site.place(from), targets, { everyMs: 100, patienceMs: 8000 });
}

function judge(site: Site, what: string, results: readonly AttemptsResult[]): void {
  site.report.check(
    what,
    results.every(({ attempts, answered }) => attempts > 0 && attempts === answered),
    results
      .map(({ address, attempts, answered }) => `${address}: ${answered} of ${attempts}`)
      .join('; '),
  );
}

async function peerMissing(
  site: Site,
  node: string,
  peer: LabClusterFace,
  state: string,
): Promise<string | undefined> {
  const rows = (await site.lab.agent(node).get('/v1/tables/mesh-peers')) as {
    name: string;
    state: string;
  }[];
  const found = rows.find(({ name }) => name === peer.plan.name)?.state;
  return found === state ? undefined : `it is ${found ?? 'not known'}`;
}
