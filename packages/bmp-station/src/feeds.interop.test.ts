import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  cable,
  DaemonProcess,
  eventually,
  Namespace,
  OurRouter,
  type RunningRouter,
  startFrr,
  startGobgp,
} from '@causeway/speaker/testing';
import { StationProcess } from '../testing/station.ts';
import type { Fault } from './faults/types.ts';
import type { RoutePage } from './queries/routes.ts';
import type { WhyPrefix } from './queries/why.ts';

/**
 * Three routers in a row, GoBGP - FRR - our speaker, IPv4 and IPv6 sessions between neighbours; each feeds our
 * station over a cable of its own. pmacct's pmbmpd takes our speaker's feed beside it.
 */
const FRR = `
hostname frr1
router bgp 65001
 bgp router-id 10.1.0.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 1 6
 neighbor 10.1.0.2 remote-as 65002
 neighbor 10.1.0.2 timers connect 1
 neighbor fd01::2 remote-as 65002
 neighbor fd01::2 timers connect 1
 neighbor 10.2.0.3 remote-as 65003
 neighbor 10.2.0.3 timers connect 1
 neighbor fd02::3 remote-as 65003
 neighbor fd02::3 timers connect 1
 address-family ipv4 unicast
  no neighbor fd01::2 activate
  no neighbor fd02::3 activate
  neighbor 10.1.0.2 soft-reconfiguration inbound
  neighbor 10.2.0.3 soft-reconfiguration inbound
  network 10.71.0.0/24
  network 10.71.1.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor fd01::2 activate
  neighbor fd01::2 soft-reconfiguration inbound
  neighbor fd02::3 activate
  neighbor fd02::3 soft-reconfiguration inbound
  network fd71::/64
 exit-address-family
 bmp targets station
  bmp stats interval 1000
  bmp monitor ipv4 unicast pre-policy
  bmp monitor ipv4 unicast post-policy
  bmp monitor ipv6 unicast pre-policy
  bmp monitor ipv6 unicast post-policy
  bmp connect 10.3.1.254 port 11019 min-retry 100 max-retry 500
 exit
`;

const timers = {
  config: {
    'connect-retry': 1,
    'hold-time': 6,
    'keepalive-interval': 1,
    'idle-hold-time-after-reset': 1,
  },
};
const gobgpNeighbor = (address: string, family: string): object => ({
  config: { 'neighbor-address': address, 'peer-as': 65001 },
  timers,
  'afi-safis': [{ config: { 'afi-safi-name': family } }],
});
const GOBGP = {
  global: { config: { as: 65002, 'router-id': '10.1.0.2' } },
  neighbors: [gobgpNeighbor('10.1.0.1', 'ipv4-unicast'), gobgpNeighbor('fd01::1', 'ipv6-unicast')],
  'bmp-servers': [
    {
      config: {
        address: '10.3.2.254',
        port: 11019,
        'route-monitoring-policy': 'all',
        'statistics-timeout': 15,
      },
    },
  ],
};

const bmp = { views: ['in-pre', 'in-post', 'out-post', 'loc'], statisticsInterval: 1 };
const ownNeighbor = (name: string, address: string, family: string): object => ({
  name,
  peer: { address },
  asn: 65001,
  timers: { hold: 6, keepalive: 1, connectRetry: 1, idleHold: 0.5 },
  families: [{ family, import: 'all', export: 'all' }],
});
const OWN = {
  asn: 65003,
  routerId: '10.2.0.3',
  listen: [{ address: '::', port: 179 }],
  policies: { all: { statements: [], otherwise: 'accept' } },
  neighbors: [
    ownNeighbor('frr4', '10.2.0.1', 'ipv4-unicast'),
    ownNeighbor('frr6', 'fd02::1', 'ipv6-unicast'),
  ],
  bmp: [
    { address: 'fd33::254', port: 11019, ...bmp, reconnect: { first: 0.2, longest: 1 } },
    { address: '10.3.3.254', port: 1790, ...bmp, reconnect: { first: 0.2, longest: 1 } },
  ],
};

interface PeerRow {
  readonly router: string;
  readonly peer: string;
  readonly state: string;
  readonly routes: Readonly<Record<string, number>>;
  readonly lastDown?: { readonly cause: { readonly why: string; readonly closedBy: string } };
  readonly statistics?: { readonly values: readonly { name: string; value: number }[] };
}

/** Far more than anything here takes on a busy machine. */
const PATIENCE_MS = 60_000;

const CLI = join(import.meta.dirname, '../../cli/src/main.ts');
const directory = mkdtempSync(join(tmpdir(), `cw-bmp-${process.pid}-`));
const stack = new AsyncDisposableStack();
let station: StationProcess;
let frr: RunningRouter;
let gobgp: RunningRouter;
let own: OurRouter;
let stationNamespace: Namespace;
const pmacctLog = join(directory, 'pmbmpd.json');
const captured = join(directory, 'feed.pcap');
let capture: DaemonProcess;

const peers = (query = ''): Promise<PeerRow[]> => station.get(`/v1/peers${query}`);
const routes = async (query: string): Promise<RoutePage['rows']> =>
  (await station.get<RoutePage>(`/v1/routes?${query}`)).rows;

before(
  async () => {
    chmodSync(directory, 0o711);
    stack.defer(() => rmSync(directory, { recursive: true, force: true }));
    const [st, f, g, o] = ['st', 'frr', 'gob', 'own'].map((tag) =>
      stack.use(new Namespace(tag)),
    ) as [Namespace, Namespace, Namespace, Namespace];
    stationNamespace = st;
    cable(
      { namespace: f, device: 'gob', addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { namespace: g, device: 'frr', addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    cable(
      { namespace: f, device: 'own', addresses: ['10.2.0.1/24', 'fd02::1/64'] },
      { namespace: o, device: 'frr', addresses: ['10.2.0.3/24', 'fd02::3/64'] },
    );
    [f, g, o].forEach((namespace, index) => {
      const number = index + 1;
      cable(
        {
          namespace: st,
          device: `r${number}`,
          addresses: [`10.3.${number}.254/24`, `fd3${number}::254/64`],
        },
        {
          namespace,
          device: 'st',
          addresses: [`10.3.${number}.${number}/24`, `fd3${number}::${number}/64`],
        },
      );
    });
    station = stack.use(new StationProcess(st, join(directory, 'station')));
    await station.start();
    capture = stack.use(
      new DaemonProcess({
        name: 'tshark',
        namespace: st,
        directory,
        argv: ['tshark', '-i', 'r3', '-f', 'tcp port 1790', '-w', captured],
      }),
    );
    await eventually(
      'tshark listens',
      async () => /Capturing on/.test(capture.log),
      PATIENCE_MS,
      () => capture.log,
    );
    const config = join(directory, 'pmbmpd.conf');
    writeFileSync(
      config,
      `bmp_daemon_ip: 10.3.3.254\nbmp_daemon_port: 1790\nbmp_daemon_msglog_file: ${pmacctLog}\nbmp_daemon_msglog_output: json\n`,
    );
    stack.use(
      new DaemonProcess({
        name: 'pmbmpd',
        namespace: st,
        directory,
        argv: ['/usr/sbin/pmbmpd', '-f', config],
      }),
    );
    own = stack.use(
      new OurRouter({ name: 'own', namespace: o, directory: join(directory, 'own'), config: OWN }),
    );
    // One after the other, so that those that run are ended when a later one does not start.
    frr = stack.use(
      await startFrr({
        namespace: f,
        directory: join(directory, 'frr'),
        config: FRR,
        flags: ['-M', 'bmp'],
      }),
    );
    gobgp = stack.use(
      await startGobgp({
        namespace: g,
        directory: join(directory, 'gobgp'),
        config: JSON.stringify(GOBGP),
      }),
    );
    await own.start();
    await gobgp.ask('global', 'rib', 'add', '10.72.0.0/24', 'community', '65002:7');
    await gobgp.ask('global', 'rib', '-a', 'ipv6', 'add', 'fd72::/64');
    await own.client.ask('PUT', '/v1/paths/test', [
      { prefix: '10.73.0.0/24', communities: ['65003:9'], largeCommunities: ['65003:1:2'] },
      { prefix: 'fd73::/64' },
    ]);
  },
  { timeout: 240_000 },
);

after(() => stack.disposeAsync());

/** Sessions as both of their ends tell of them: four of FRR's, two of GoBGP's, two of ours. */
const allUp = async (): Promise<boolean> => {
  const up = (await peers('?state=up')).filter(({ peer }) => !peer.startsWith('loc-rib'));
  return up.length === 8;
};

test('three routers’ feeds: every session from both ends, every route in both families', async () => {
  await eventually('all sessions are told of', allUp, PATIENCE_MS, () => station.log);
  const wanted: readonly (readonly [string, string])[] = [
    ['frr1', '10.72.0.0/24'],
    ['frr1', 'fd72::/64'],
    ['frr1', '10.73.0.0/24'],
    ['frr1', 'fd73::/64'],
    ['own', '10.71.0.0/24'],
    ['own', '10.72.0.0/24'],
    ['own', 'fd71::/64'],
    ['own', 'fd72::/64'],
  ];
  for (const [router, prefix] of wanted) {
    for (const view of ['in-pre', 'in-post']) {
      await eventually(
        `${router} has ${prefix} ${view}`,
        async () => {
          const rows = await routes(
            `router=${router}&view=${view}&prefix=${encodeURIComponent(prefix)}`,
          );
          return rows.length === 1;
        },
        PATIENCE_MS,
      );
    }
  }
  const gobgpName = (await station.get<{ name: string; address: string }[]>('/v1/routers')).find(
    ({ address }) => address === '10.3.2.2',
  )?.name;
  assert.ok(gobgpName !== undefined);
  await eventually(
    'GoBGP’s table is told',
    async () => {
      const rows = await routes(`router=${encodeURIComponent(gobgpName)}&prefix=10.71.0.0/24`);
      return rows.some(({ view }) => view === 'in-pre');
    },
    PATIENCE_MS,
  );
  const [row] = await routes('router=frr1&peer=10.2.0.3&view=in-pre&prefix=10.73.0.0/24');
  assert.deepEqual(
    [row?.asPath, row?.nextHop, row?.communities, row?.largeCommunities, row?.origin],
    // FRR 8.4 puts its own number in front, as if it sent the route on.
    ['65001 65003', '10.2.0.3', ['65003:9'], ['65003:1:2'], 'igp'],
  );
  const [through] = await routes('router=own&view=in-post&prefix=10.72.0.0/24');
  assert.deepEqual([through?.asPath, through?.communities], ['65001 65002', ['65002:7']]);
});

test('our speaker’s other tables: what is sent, and the Loc-RIB', async () => {
  let seen = new Set<string>();
  await eventually(
    'the Loc-RIB is told',
    async () => {
      const rows = await routes('router=own&view=loc');
      seen = new Set(rows.map(({ prefix }) => prefix));
      return seen.size === 7;
    },
    PATIENCE_MS,
    () => [...seen].join(),
  );
  const out = await routes('router=own&view=out-post');
  const sent = out.map(({ prefix, peer }) => `${peer} ${prefix}`);
  assert.ok(sent.includes('10.2.0.1 10.73.0.0/24'), sent.join());
  assert.ok(sent.includes('fd02::1 fd73::/64'), sent.join());
  const ours = out.find(({ prefix }) => prefix === '10.73.0.0/24');
  assert.deepEqual([ours?.asPath, ours?.nextHop], ['65003', '10.2.0.3']);
  await eventually(
    'statistics come',
    async () => {
      const rows = await peers('?router=own');
      const frr4 = rows.find(({ peer }) => peer === '10.2.0.1');
      return (
        frr4?.statistics?.values.some((one) => one.name === 'in-pre-routes' && one.value >= 3) ===
        true
      );
    },
    PATIENCE_MS,
  );
  await eventually(
    'FRR’s statistics come',
    async () => {
      const rows = await peers('?router=frr1');
      return rows.some(({ statistics }) => (statistics?.values.length ?? 0) > 0);
    },
    PATIENCE_MS,
  );
});

test('pmbmpd reads our feed: sessions, routes before and after policy, out and Loc-RIB', async () => {
  const lines = (): Record<string, unknown>[] =>
    existsSync(pmacctLog)
      ? readFileSync(pmacctLog, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Record<string, unknown>)
      : [];
  const seen = (wanted: Record<string, unknown>): boolean =>
    lines().some((line) => Object.entries(wanted).every(([key, value]) => line[key] === value));
  const wanted: readonly Record<string, unknown>[] = [
    { bmp_msg_type: 'init', bmp_init_info_sysname: 'own' },
    { bmp_msg_type: 'peer_up', peer_ip: '10.2.0.1', peer_asn: 65001 },
    { bmp_msg_type: 'peer_up', peer_ip: 'fd02::1', peer_asn: 65001 },
    {
      bmp_msg_type: 'route_monitor',
      ip_prefix: '10.71.0.0/24',
      is_in: 1,
      is_post: 0,
      as_path: '65001',
    },
    {
      bmp_msg_type: 'route_monitor',
      ip_prefix: 'fd72::/64',
      is_in: 1,
      is_post: 1,
      as_path: '65001 65002',
    },
    {
      bmp_msg_type: 'route_monitor',
      ip_prefix: '10.73.0.0/24',
      is_out: 1,
      is_post: 1,
      comms: '65003:9',
    },
    { bmp_msg_type: 'route_monitor', ip_prefix: 'fd73::/64', is_loc: 1 },
    { bmp_msg_type: 'stats', peer_ip: '10.2.0.1' },
  ];
  for (const one of wanted) {
    await eventually(
      `pmbmpd says ${JSON.stringify(one)}`,
      async () => seen(one),
      PATIENCE_MS,
      () =>
        lines()
          .filter(({ bmp_msg_type }) => bmp_msg_type === one.bmp_msg_type)
          .slice(-12)
          .map((line) => JSON.stringify(line))
          .join('\n'),
    );
  }
});

const faults = (): Promise<Fault[]> => station.get('/v1/faults');
/** The newest fault, among those after `last`, of which this holds. */
const faultAfter = async (
  last: number,
  holds: (fault: Fault) => boolean,
): Promise<Fault | undefined> => (await faults()).find((fault) => fault.id > last && holds(fault));
const lastFault = async (): Promise<number> => Math.max(0, ...(await faults()).map(({ id }) => id));

test('a route taken back is an event with its prefix', async () => {
  await frr.ask(
    'configure terminal',
    'router bgp 65001',
    'address-family ipv4 unicast',
    'no network 10.71.1.0/24',
  );
  await eventually(
    'nobody has it',
    async () => {
      const why = await station.get<WhyPrefix>('/v1/why?prefix=10.71.1.0/24');
      return (
        why.routes.length === 0 &&
        why.events.some(({ change, router }) => change === 'withdrawn' && router === 'own')
      );
    },
    PATIENCE_MS,
  );
  const why = await station.get<WhyPrefix>('/v1/why?prefix=10.71.1.0/24');
  assert.match(why.verdict, /^nobody has it: 10\.2\.0\.1 took it back from own|took it back from/);
});

test('sessions reset on purpose: one fault, told from all ends, that says who meant it', async () => {
  await eventually('all is up', allUp, PATIENCE_MS, () => station.log);
  const last = await lastFault();
  await frr.ask('clear bgp *');
  let fault: Fault | undefined;
  await eventually(
    'the fault is over',
    async () => {
      fault = await faultAfter(
        last,
        ({ state, causes }) =>
          state === 'recovered' && causes.some(({ why }) => why === 'admin-reset'),
      );
      return fault !== undefined;
    },
    PATIENCE_MS,
    () => station.log,
  );
  assert.equal(fault!.suspects[0]?.node.name, 'frr1', JSON.stringify(fault!.suspects));
  assert.ok(
    fault!.suspects[0]!.reasons.some((reason) => /on purpose/.test(reason)),
    fault!.headline,
  );
  assert.ok(fault!.sessions.length >= 6, `${fault!.sessions.length} of 8 ends told of it`);
  const mine = fault!.sessions.find(({ routerName }) => routerName === 'own');
  assert.equal(mine?.cause.closedBy, 'peer');
  assert.ok(fault!.prefixes.lost >= 5, JSON.stringify(fault!.prefixes));
});

test('a router that falls silent: hold timers, and the silent one is the suspect', async () => {
  await eventually('all is back', allUp, PATIENCE_MS, () => station.log);
  const last = await lastFault();
  const [daemon] = frr.processes;
  daemon!.signal('SIGSTOP');
  let fault: Fault | undefined;
  try {
    // Two sessions of GoBGP's, two of ours; FRR itself says nothing.
    await eventually(
      'the fault is judged',
      async () => {
        fault = await faultAfter(
          last,
          ({ state, sessions }) => state === 'open' && sessions.length === 4,
        );
        return fault !== undefined;
      },
      PATIENCE_MS,
    );
  } finally {
    daemon!.signal('SIGCONT');
  }
  assert.equal(fault!.causes[0]?.why, 'hold-timer', JSON.stringify(fault!.sessions));
  assert.equal(fault!.causes[0]?.closedBy, 'router');
  assert.deepEqual(
    fault!.suspects.map(({ node }) => node.name),
    ['frr1'],
    JSON.stringify(fault!.suspects),
  );
  assert.match(fault!.headline, /^4 sessions fell in .* frr1 or its link is the suspect$/);
  const why = await station.get<WhyPrefix>('/v1/why?prefix=10.71.0.0/24');
  assert.ok(why.faults.some(({ id }) => id === fault!.id));
  await eventually('all is back', allUp, PATIENCE_MS, () => station.log);
});

test('a station that was restarted has its history, and its routers come back', async () => {
  await eventually('nothing is being judged', async () =>
    (await faults()).every(({ state }) => state !== 'gathering'),
  );
  const before = await faults();
  await station.stop();
  await station.start();
  assert.deepEqual(
    (await faults()).map(({ id, headline }) => [id, headline]).slice(-before.length),
    before.map(({ id, headline }) => [id, headline]),
  );
  await eventually('all sessions are told of again', allUp, PATIENCE_MS, () => station.log);
  const events = await station.get<{ type: string }[]>('/v1/events?limit=10000');
  assert.ok(events.some(({ type }) => type === 'peer-down'));
  assert.equal(events.filter(({ type }) => type === 'station-started').length, 2);
  assert.equal(events.filter(({ type }) => type === 'station-stopped').length, 1);
});

test('whatever else connects is closed with a reason, and harms nobody', async () => {
  const frame = (length: number): string =>
    `\\x03\\x${[24, 16, 8, 0].map((shift) => ((length >>> shift) & 255).toString(16).padStart(2, '0')).join('\\x')}\\x04`;
  const inputs = [
    'GET / HTTP/1.0\\r\\n\\r\\n',
    frame(0xffffffff),
    frame(3),
    `${frame(10)}\\x00\\x02\\x00\\x09`,
  ];
  for (const input of inputs) {
    stationNamespace.run(
      'bash',
      '-c',
      `printf '${input}' | timeout 3 socat -t1 - TCP:10.3.1.254:11019 || true`,
    );
  }
  // The history is written in batches: what just happened is there a moment later.
  await eventually('a refusal that says malformed', async () => {
    const events = await station.get<{ type: string; reason?: { code: string } }[]>(
      '/v1/events?type=router-refused,router-down&limit=100',
    );
    return events.some(({ reason }) => reason?.code === 'malformed');
  });
  await eventually('nobody was harmed', allUp, PATIENCE_MS);
  assert.equal(station.over, false);
});

test('what an operator asks on the command line', async () => {
  const cli = (...words: readonly string[]): string =>
    execFileSync(
      process.execPath,
      [CLI, 'bmp', ...words, '--socket', join(directory, 'station', 'bmp.sock')],
      { encoding: 'utf8' },
    );
  assert.match(cli('routers'), /frr1 +10\.3\.1\.1 +up/);
  assert.match(cli('peers', '--router', 'own'), /own +10\.2\.0\.1 +65001 +up/);
  assert.match(
    cli('routes', '10.71.0.0/24', '--view', 'loc'),
    /10\.71\.0\.0\/24 +own +loc-rib global/,
  );
  assert.match(cli('faults'), /hold-timer.*: frr1 or its link is the suspect/);
  assert.match(cli('events', '--type', 'peer-down', '--router', 'own'), /closed by the peer/);
  const why = JSON.parse(cli('why', '10.71.0.0/24', '--json')) as WhyPrefix;
  assert.ok(why.routes.length > 0 && why.faults.length > 0);
  const status = JSON.parse(cli('status', '--json')) as { ready: boolean; routers: number };
  assert.deepEqual([status.ready, status.routers], [true, 3]);
});

test('tshark finds nothing malformed in what our speaker told pmbmpd', async () => {
  await capture.stop();
  const text = execFileSync(
    'tshark',
    [
      '-r',
      captured,
      '-d',
      'tcp.port==1790,bmp',
      '-Y',
      'bmp',
      '-T',
      'fields',
      '-E',
      'separator=|',
    ].concat(
      '-e',
      'bmp.type',
      '-e',
      'bmp.peer.type',
      '-e',
      '_ws.malformed',
      '-e',
      'bmp.peer.flags.adj_rib_out',
    ),
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const rows = text
    .trim()
    .split('\n')
    .map((line) => line.split('|'));
  const types = new Set(rows.flatMap(([type = '']) => type.split(',')));
  assert.deepEqual([...types].sort(), ['0', '1', '2', '3', '4']);
  for (const [type = '', peer = '', malformed = ''] of rows) {
    // Wireshark 4.0 takes the table's name at the end of the Loc-RIB's Peer Up for a third BGP message.
    const known = type.split(',').includes('3') && peer.split(',').includes('3');
    assert.ok(malformed === '' || known, `${type} ${peer}: ${malformed}`);
  }
  assert.ok(
    rows.some(([, , , out = '']) => /1|True/.test(out)),
    'Adj-RIB-Out is seen as such',
  );
});
