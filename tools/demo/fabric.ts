import { type LabRouter, Load, type LoadResult, loadInWords, until } from '@causeway/lab';
import type { Site } from './site.ts';

const PORT = 7777;
const FAMILIES = ['ipv4', 'ipv6'] as const;

/** What real routers know of both clusters, and what a node knows of the fabric. */
export async function routesInRouters(site: Site): Promise<void> {
  site.report.section('Routes in the real routers, and on a node');
  const { lab } = site;
  const forwarding = lab.routers.filter(({ plan }) => plan.daemon !== 'gobgp');
  // A server that is its own only endpoint announces nothing.
  const prefixes = site.agents
    .filter(({ node }) => node.agent.hostEndpoint === undefined)
    .flatMap(({ node }) => node.podCIDRs);
  const missing: string[] = [];
  for (const router of forwarding)
    for (const family of FAMILIES) {
      const known = new Set((await router.routes(family)).map(({ prefix }) => prefix));
      const own = prefixes.filter((prefix) => prefix.includes(':') === (family === 'ipv6'));
      missing.push(
        ...own.filter((each) => !known.has(each)).map((each) => `${router.name} ${each}`),
      );
    }
  site.report.check(
    `all ${forwarding.length} routers that forward have the ${prefixes.length} pod CIDRs of the nodes in their kernels`,
    missing.length === 0,
    missing.length === 0 ? forwarding.map(makeOf).join(', ') : `missing: ${missing.join(', ')}`,
  );
  const [pods] = lab.agent('b1').node.podCIDRs;
  const words: [string, string[]][] = [
    ['leaf-b1', ['birdc', '-r', 'show', 'route', 'for', pods!]],
    ['spine-2', ['vtysh', '-c', `show ip route ${pods}`]],
    ['collector', ['gobgp', 'global', 'rib', pods!]],
    ['border', ['ip', 'route', 'show', pods!]],
  ];
  for (const [router, argv] of words) {
    site.report.note(
      `${router}: ${argv.map((word) => (/[ ]/.test(word) ? `'${word}'` : word)).join(' ')}`,
    );
    const { stdout } = await lab.exec(router, argv);
    site.report.note(useful(stdout));
  }
  const listener = await lab.exec('collector', ['gobgp', 'global', 'rib', pods!]);
  site.report.check(
    'GoBGP, which only listens, has them with their AS paths',
    /65001 65102 65202/.test(listener.stdout),
    'spine, rack, node',
  );
  const { stdout } = await lab.exec('a1', ['ip', 'route']);
  site.report.note(`a1: ip route\n${stdout.trimEnd()}`);
  const others = site.agents
    .filter(({ node }) => node.name !== 'a1')
    .flatMap(({ node }) => node.podCIDRs);
  site.report.check(
    "a node's own table knows no other node's pods, only two ways out",
    others.every((prefix) => !stdout.includes(prefix)) &&
      (stdout.match(/nexthop/g)?.length ?? 0) >= 2,
    '',
  );
}

/** The command line's view of the sessions and of one route. */
export async function askTheSpeaker(site: Site): Promise<void> {
  site.report.section('What a node’s speaker tells');
  for (const argv of [
    ['bgp', 'peers'],
    ['bgp', 'why', '0.0.0.0/0'],
    ['bfd', 'sessions'],
  ])
    await site.causeway(site.cluster, '--node', 'a1', ...argv);
}

/** A rack switch loses its power under load: what was lost is counted and said. */
export async function rackSwitchDies(site: Site): Promise<void> {
  site.report.section('A rack switch loses its power under load from the outside');
  const { lab } = site;
  const targets = ['rebel-base-2', 'b2'];
  await using _servers = await site.echo(targets, PORT);
  const from = await site.loadTargets(targets, PORT);
  await using load = await Load.start(lab, 'outside', from, { everyMs: 5 });
  await pause(1000);
  const off = performance.timeOrigin + performance.now();
  await lab.router('leaf-b1').powerOff();
  await pause(2000);
  await lab.router('leaf-b1').powerOn();
  const back = performance.timeOrigin + performance.now();
  await routersHave(site, 'leaf-b1');
  await pause(500);
  const results = await load.stop();
  const lost = results.flatMap((result) => result.lost);
  const during = lost.filter((at) => at >= off - 1000 && at < back);
  const sent = results.reduce((sum, result) => sum + result.sent, 0);
  const longest = during.length === 0 ? 0 : Math.max(...during) - Math.min(...during);
  site.report.check(
    'what was lost was lost within a second, on the connections that went over it',
    longest < 1000 && results.every((result) => result.received > result.sent / 2),
    `${during.length} of ${sent} datagrams within ${Math.round(longest)} ms`,
  );
  site.report.check(
    'when it comes back nothing more is lost',
    lost.length === during.length,
    `${lost.length - during.length} of ${sent}`,
  );
  await lab.settled();
}

/** Agents and speakers are killed and started under load: not one packet is lost. */
export async function restartAgentsAndSpeakers(site: Site): Promise<void> {
  site.report.section(
    'Agents and speakers are killed and started again under load from the outside',
  );
  const { lab } = site;
  const targets = ['employee', 'rebel-base-2'];
  await using _servers = await site.echo(targets, PORT);
  await using load = await Load.start(lab, 'outside', await site.loadTargets(targets, PORT));
  const nodes = ['a1', 'b1'];
  await pause(500);
  for (const program of ['agent', 'speaker'] as const) {
    for (const name of nodes) await programOf(site, name, program).kill('SIGKILL');
    site.report.note(`killed the ${program}s on ${nodes.join(' and ')} (SIGKILL)`);
    await pause(1000);
    for (const name of nodes) await programOf(site, name, program).start();
    await lab.settled();
    site.report.note('started them again; every table is reconciled, every session is up');
  }
  await pause(1500);
  const results = await load.stop();
  const sent = results.reduce((sum, result) => sum + result.sent, 0);
  site.report.check(
    'nothing was lost',
    sent > 0 && results.every((result) => result.received === result.sent),
    lostInWords(results, sent),
  );
}

function programOf(site: Site, name: string, program: 'agent' | 'speaker') {
  const agent = site.lab.agent(name);
  return program === 'agent' ? agent : agent.speaker!;
}

function lostInWords(results: readonly LoadResult[], sent: number): string {
  const lost = results.reduce((sum, result) => sum + result.sent - result.received, 0);
  return lost === 0 ? `0 of ${sent} datagrams, both families` : loadInWords(results);
}

/** Waits until the spines go over a switch again. */
async function routersHave(site: Site, name: string): Promise<void> {
  const [pods] = site.lab.agent('b1').node.podCIDRs;
  for (const spine of ['spine-1', 'spine-2'])
    await until(
      `${spine} goes over ${name} again`,
      async () => {
        const routes = await site.lab.router(spine).routes('ipv4');
        const ways = routes.find(({ prefix }) => prefix === pods)?.via.length ?? 0;
        return ways === 2 ? undefined : `it has ${ways} ways`;
      },
      { timeoutMs: 15_000 },
    );
}

function makeOf({ name, plan }: LabRouter): string {
  return `${name} (${plan.daemon})`;
}

/** Without the programs' own headings. */
function useful(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^(BIRD \d|Access restricted|Table )/.test(line))
    .map((line) => `  ${line.trimEnd()}`)
    .join('\n');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
