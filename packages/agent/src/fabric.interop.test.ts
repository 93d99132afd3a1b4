import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ApiClient } from '@causeway/daemon';
import { isolated } from './testing/isolated.ts';
import { nodeObject, TwoNodes, until } from './testing/two-nodes.ts';

const PROGRAM = path.join(import.meta.dirname, '../../cli/src/main.ts');
const FAMILIES = ['ipv4', 'ipv6'] as const;
const sh = (command: string): string => execFileSync('sh', ['-ec', command], { encoding: 'utf8' });

/**
 * Two nodes with agent and speaker behind a rack switch that runs BIRD: from manifests to routes in a router that is
 * not ours and traffic over them, while agents and speakers come and go.
 */
isolated(import.meta.filename, () => {
  let nodes: TwoNodes;
  let bird: ChildProcess | undefined;
  const speakers = new Map<string, ChildProcess>();

  before(async () => {
    nodes = new TwoNodes();
    sh(
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0',
    );
    sh('sysctl -qw net.ipv4.conf.br0.send_redirects=0');
    const file = path.join(nodes.directory, 'bird.conf');
    fs.writeFileSync(file, birdConfig());
    bird = spawn('bird', ['-f', '-c', file, '-s', path.join(nodes.directory, 'bird.ctl')], {
      stdio: ['ignore', 'ignore', fs.openSync(path.join(nodes.directory, 'bird.log'), 'a')],
    });
    await nodes.startEtcd();
    await nodes.store.apply([
      labelled('a', 1),
      labelled('b', 2),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'ServiceCIDR',
        metadata: { name: 'kubernetes' },
        spec: { cidrs: ['10.96.0.0/16', 'fd00:96::/112'] },
      },
    ]);
    await nodes.store.apply(manifests());
    const routed = { routingMode: 'native', nativeRouting: { mode: 'bgp' } };
    await Promise.all([nodes.startAgent('a', routed), nodes.startAgent('b', routed)]);
    for (const node of ['a', 'b'] as const) startSpeaker(node);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
  });
  after(async () => {
    for (const speaker of speakers.values()) speaker.kill('SIGKILL');
    bird?.kill('SIGKILL');
    await nodes[Symbol.asyncDispose]();
  });

  const labelled = (name: string, number: number) => {
    const object = nodeObject(name, number) as { metadata: object };
    return { ...object, metadata: { ...object.metadata, labels: { rack: 'r1' } } };
  };

  function birdConfig(): string {
    const session = (node: string, number: number, family: 'ipv4' | 'ipv6') => `
protocol bgp ${node}_${family} {
  local ${family === 'ipv4' ? '192.0.2.100' : '2001:db8::100'} as 65000;
  neighbor ${family === 'ipv4' ? `192.0.2.${number}` : `2001:db8::${number}`} as 65001;
  password "correct-horse"; passive; graceful restart on; graceful restart time 30;
  ${family} { import all; export none; };
}`;
    return `
router id 192.0.2.100;
protocol device { scan time 1; }
${FAMILIES.map((family) => `protocol kernel { persist; merge paths on; ${family} { import none; export where source = RTS_BGP; }; }`).join('\n')}
${FAMILIES.flatMap((family) => [session('a', 1, family), session('b', 2, family)]).join('\n')}
`;
  }

  function manifests(): unknown[] {
    const profile = (afi: string) => ({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumBGPPeerConfig',
      metadata: { name: `rack-${afi}` },
      spec: {
        authSecretRef: 'rack',
        timers: { connectRetryTimeSeconds: 1, holdTimeSeconds: 9, keepAliveTimeSeconds: 3 },
        gracefulRestart: { enabled: true, restartTimeSeconds: 30 },
        families: [{ afi, safi: 'unicast', advertisements: { matchLabels: { to: 'rack' } } }],
      },
    });
    const peer = (afi: string, peerAddress: string) => ({
      name: `rack-${afi}`,
      peerASN: 65000,
      peerAddress,
      peerConfigRef: { name: `rack-${afi}` },
    });
    const peers = [peer('ipv4', '192.0.2.100'), peer('ipv6', '2001:db8::100')];
    return [
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPClusterConfig',
        metadata: { name: 'r1' },
        spec: {
          nodeSelector: { matchLabels: { rack: 'r1' } },
          bgpInstances: [{ name: 'main', localASN: 65001, peers }],
        },
      },
      profile('ipv4'),
      profile('ipv6'),
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPAdvertisement',
        metadata: { name: 'fabric', labels: { to: 'rack' } },
        spec: {
          advertisements: [
            {
              advertisementType: 'PodCIDR',
              attributes: { communities: { standard: ['65001:10'], large: ['65001:1:2'] } },
            },
            {
              advertisementType: 'Service',
              service: { addresses: ['ExternalIP'] },
              selector: { matchLabels: { app: 'till' } },
            },
          ],
        },
      },
    ];
  }

  function startSpeaker(node: 'a' | 'b'): void {
    const runDir = path.join(nodes.directory, node);
    const file = path.join(nodes.directory, `speaker-${node}.yaml`);
    fs.writeFileSync(file, JSON.stringify({ runDir, name: node }));
    const log = fs.openSync(path.join(nodes.directory, `speaker-${node}.log`), 'a');
    const child = spawn(
      'nsenter',
      [
        `--net=/run/netns/${nodes.name(node)}`,
        process.execPath,
        PROGRAM,
        'speaker',
        '--config',
        file,
      ],
      { stdio: ['ignore', log, log] },
    );
    fs.closeSync(log);
    speakers.set(node, child);
  }

  async function kill(child: ChildProcess): Promise<void> {
    assert.ok(child.exitCode === null && child.signalCode === null, 'it still runs');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  const ask = (node: string, target: string) =>
    new ApiClient('speaker', path.join(nodes.directory, node, 'speaker.sock')).ask('GET', target);
  const birdc = (command: string): string =>
    sh(`birdc -s ${path.join(nodes.directory, 'bird.ctl')} '${command}'`);
  /** Prefixes that BIRD has put into the switch's kernel, with their next hops. */
  const fib = (): string[] =>
    ['-4', '-6']
      .flatMap((family) =>
        (
          JSON.parse(sh(`ip -j ${family} route show proto bird`)) as {
            dst: string;
            gateway?: string;
            nexthops?: { gateway: string }[];
          }[]
        ).map(
          ({ dst, gateway, nexthops = [] }) =>
            `${dst} ${
              gateway ??
              nexthops
                .map((hop) => hop.gateway)
                .sort()
                .join('+')
            }`,
        ),
      )
      .sort();
  const PODS = [
    '10.7.1.0/24 192.0.2.1',
    '10.7.2.0/24 192.0.2.2',
    'fd00:7:1::/64 2001:db8::1',
    'fd00:7:2::/64 2001:db8::2',
  ];
  /** When each session came up, as BIRD tells it. */
  const sessions = (): string[] =>
    birdc('show protocols')
      .split('\n')
      .filter((line) => /^[ab]_ipv/.test(line))
      .map((line) => line.trim().split(/\s+/).slice(0, 6).join(' '));

  test("without its password no session is opened; with it pods are in the switch's routes", async () => {
    await until('the agent says what is missing', async () => {
      const { body } = await nodes.ask('a', 'GET', '/v1/bgp');
      return body.problems.some((text: string) =>
        /no Secret rack; the session stays down/.test(text),
      );
    });
    await until('the speaker was told', async () => {
      const rows = (await ask('a', '/v1/peers').catch(() => [])) as { name: string }[];
      return rows.length === 2;
    });
    assert.ok(
      sessions().every((line) => !line.includes(' up ')),
      'down everywhere',
    );
    await nodes.store.apply([
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'rack', namespace: 'kube-system' },
        stringData: { password: 'correct-horse' },
      },
    ]);
    await until('routes', () => fib().join() === PODS.join()).catch((error) => {
      throw new Error(
        `${error.message}: ${fib().join()}; ${sessions().join()}; ${fs.readFileSync(path.join(nodes.directory, 'speaker-a.log'), 'utf8').slice(-3000)}`,
      );
    });
    const route = birdc('show route all for 10.7.1.0/24');
    assert.match(route, /BGP.community: \(65001,10\)/);
    assert.match(route, /BGP.large_community: \(65001, 1, 2\)/);
    const contexts = path.join(nodes.directory, 'contexts.yaml');
    const agents = { a: `${nodes.directory}/a/agent.sock`, b: `${nodes.directory}/b/agent.sock` };
    const etcd = { endpoints: ['http://192.0.2.100:2379'] };
    fs.writeFileSync(
      contexts,
      JSON.stringify({ current: 'two', contexts: { two: { etcd, agents } } }),
    );
    const shown = execFileSync(process.execPath, [PROGRAM, 'bgp', 'announcements'], {
      encoding: 'utf8',
      env: { ...process.env, CAUSEWAY_CONTEXTS: contexts, CAUSEWAY_CONTEXT: '' },
    });
    assert.match(
      shown,
      /^a +10\.7\.1\.0\/24 +pod CIDR +rack-ipv4 +65001:10,65001:1:2 +fabric selects it$/m,
    );
    assert.match(shown, /^b +fd00:7:2::\/64 +pod CIDR +rack-ipv6 /m);
  });

  test("the node's CiliumBGPNodeConfig says how its sessions are", async () => {
    const metadata = { name: 'a' };
    const spec = { bgpInstances: [{ name: 'main' }] };
    const kind = 'CiliumBGPNodeConfig';
    await nodes.store.apply([{ apiVersion: 'cilium.io/v2', kind, metadata, spec }]);
    const peers = async () => {
      const { status } = await nodes.store.get(kind, metadata);
      return status?.bgpInstances?.[0]?.peers ?? [];
    };
    await until('both are told of', async () => (await peers()).length === 2);
    const [ipv4] = await peers();
    assert.equal(ipv4?.name, 'rack-ipv4');
    assert.equal(ipv4?.peerASN, 65000);
    assert.equal(ipv4?.peeringState, 'established');
    assert.deepEqual(ipv4?.timers, { appliedHoldTimeSeconds: 9, appliedKeepaliveSeconds: 3 });
    assert.deepEqual(ipv4?.routeCount, [
      { afi: 'ipv4', safi: 'unicast', received: 0, advertised: 1 },
    ]);
    assert.match(ipv4?.establishedTime ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  test('pods reach pods by what the switch learned', async () => {
    await nodes.addPod('a', 'cli', { app: 'cli' });
    const far = await nodes.addPod('b', 'far', { app: 'till' });
    for (const family of FAMILIES)
      await until(`other node ${family}`, () => nodes.ping('cli', far.addresses[family]));
  });

  /** Pings that got no answer while something is done to a node. */
  async function lost(work: () => Promise<void>): Promise<string[]> {
    const [far] = (await nodes.ask('b', 'GET', '/v1/endpoints')).body;
    const streams = FAMILIES.map((family) =>
      nodes.background('cli', `ping -q -i 0.02 -c 300 -W 1 ${far.addresses[family]}`),
    );
    await work();
    return (await Promise.all(streams)).map((text) =>
      /(\d+) packets transmitted, (\d+)/.exec(text)!.slice(1, 3).join(' of '),
    );
  }
  const NONE = ['300 of 300', '300 of 300'];

  test('an agent that is killed and started again: no session, no route, no packet', async () => {
    const before = sessions();
    const told = await ask('b', '/v1/paths/agent');
    assert.deepEqual(
      await lost(async () => {
        await nodes.killAgent('b');
        assert.deepEqual(fib(), PODS);
        await nodes.startAgent('b', { routingMode: 'native', nativeRouting: { mode: 'bgp' } });
        await nodes.ready('b');
        await until('told again', async () => {
          const { body } = await nodes.ask('b', 'GET', '/v1/bgp');
          return body.synced;
        });
      }),
      NONE,
    );
    assert.deepEqual(await ask('b', '/v1/paths/agent'), told);
    assert.deepEqual(sessions(), before, 'not one session fell');
    assert.deepEqual(fib(), PODS);
  });

  test('a speaker that is killed and started again: its routes wait for it, no packet', async () => {
    assert.deepEqual(
      await lost(async () => {
        await kill(speakers.get('b')!);
        assert.deepEqual(fib(), PODS);
        startSpeaker('b');
        await until(
          'sessions are up again',
          () => sessions().filter((line) => line.includes(' up ')).length === 4,
        );
        assert.deepEqual(fib(), PODS);
      }),
      NONE,
    );
    await until(
      'nothing is stale any more',
      () => !/\[.*s\]/i.test(birdc('show route protocol b_ipv4')),
    );
    assert.deepEqual(fib(), PODS);
  });

  test('pod CIDRs and addresses of interfaces, as they come and go', async () => {
    const more = () => fib().filter((line) => !PODS.includes(line));
    const grown = (extra: readonly string[]) => {
      const object = labelled('a', 1) as unknown as { spec: { ipam: { podCIDRs: string[] } } };
      return {
        ...object,
        spec: { ...object.spec, ipam: { podCIDRs: [...object.spec.ipam.podCIDRs, ...extra] } },
      };
    };
    await nodes.store.apply([
      grown(['10.7.9.0/24']),
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPAdvertisement',
        metadata: { name: 'loopback', labels: { to: 'rack' } },
        spec: { advertisements: [{ advertisementType: 'Interface', interface: { name: 'lo' } }] },
      },
    ]);
    await until('the second CIDR', () => more().join() === '10.7.9.0/24 192.0.2.1');
    nodes.run('a', 'ip addr add 203.0.113.7/32 dev lo');
    nodes.run('a', 'ip addr add 2001:db8:77::7/128 dev lo');
    await until(
      'the addresses of lo, its own excepted',
      () =>
        more().join() === '10.7.9.0/24 192.0.2.1,2001:db8:77::7 2001:db8::1,203.0.113.7 192.0.2.1',
    );
    assert.ok(nodes.ping('out', '203.0.113.7'), 'reached by what the switch learned');
    nodes.run('a', 'ip addr del 203.0.113.7/32 dev lo');
    nodes.run('a', 'ip addr del 2001:db8:77::7/128 dev lo');
    await nodes.store.apply([grown([])]);
    await until('all gone again', () => more().length === 0);
    assert.deepEqual(fib(), PODS);
  });

  test('services with policy Local: from nodes with a ready backend, as pods come and go', async () => {
    await nodes.store.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'till', namespace: 'shop', labels: { app: 'till' } },
        spec: {
          externalIPs: ['198.51.100.7', '2001:db8:7::7'],
          externalTrafficPolicy: 'Local',
          ipFamilyPolicy: 'RequireDualStack',
          selector: { app: 'till' },
          ports: [{ port: 80, targetPort: 8080 }],
        },
      },
    ]);
    const vips = () => fib().filter((line) => !PODS.includes(line));
    await until(
      'from b, where the pod is',
      () => vips().join() === '198.51.100.7 192.0.2.2,2001:db8:7::7 2001:db8::2',
    );
    await nodes.addPod('a', 'near', { app: 'till' });
    await until(
      'from both',
      () =>
        vips().join() === '198.51.100.7 192.0.2.1+192.0.2.2,2001:db8:7::7 2001:db8::1+2001:db8::2',
    ).catch((error) => {
      throw new Error(`${error.message}: ${vips().join()}`);
    });
    await nodes.store.patchStatus(
      'Pod',
      { namespace: 'shop', name: 'far' },
      { conditions: [{ type: 'Ready', status: 'False' }] },
    );
    await until(
      'from a alone',
      () => vips().join() === '198.51.100.7 192.0.2.1,2001:db8:7::7 2001:db8::1',
    );
    await nodes.store.delete('Service', { namespace: 'shop', name: 'till' });
    await until('from none', () => vips().length === 0);
    assert.deepEqual(fib(), PODS);
  });

  test('a node that is not meant any more withdraws and closes', async () => {
    await nodes.store.apply([nodeObject('a', 1)]);
    await until('withdrawn', () =>
      fib().every((line) => !line.includes('192.0.2.1') && !/2001:db8::1$/.test(line)),
    );
    await until('closed', () => sessions().filter((line) => line.includes(' up ')).length === 2);
    assert.deepEqual(
      fib(),
      PODS.filter((line) => / \S+2$/.test(line)),
    );
  });

  test('every setting that the kinds have is one that the speaker takes', async () => {
    await nodes.store.apply([
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'bfd', namespace: 'kube-system' },
        stringData: { password: 'twenty bytes of key.' },
      },
      {
        apiVersion: 'causeway.io/v1',
        kind: 'BGPPeerOptions',
        metadata: { name: 'rack-ipv4' },
        spec: {
          description: 'rack switch',
          passive: true,
          adminDown: true,
          bfd: {
            intervalMilliseconds: 100,
            multiplier: 5,
            multihop: true,
            strict: true,
            auth: { type: 'MeticulousSHA1', keyID: 1, secretRef: 'bfd' },
          },
          ttlSecurity: { hops: 1 },
          nextHop: 'Self',
          extendedNextHop: true,
          extendedMessages: false,
          gracefulRestartHelper: false,
          timers: { delayOpenSeconds: 2, idleHoldSeconds: 1 },
          families: [
            {
              afi: 'ipv4',
              safi: 'unicast',
              import: [
                { prefix: '0.0.0.0/0' },
                { prefix: '10.0.0.0/8', minLength: 24, maxLength: 26 },
              ],
              transit: true,
              addPath: { receive: true, send: 4 },
              maxPrefixes: {
                limit: 1000,
                warnAtPercent: 80,
                action: 'Refuse',
                restartAfterSeconds: 60,
              },
              longLivedStaleSeconds: 3600,
            },
          ],
        },
      },
      {
        apiVersion: 'causeway.io/v1',
        kind: 'BGPClusterOptions',
        metadata: { name: 'r1' },
        spec: {
          bgpInstances: [
            {
              name: 'main',
              clusterID: '10.0.0.1',
              gracefulRestart: { restartTimeSeconds: 60, deferralSeconds: 10 },
              multipath: { ebgp: 8, ibgp: 8 },
              kernelRoutes: {
                mode: 'Prefixes',
                prefixes: ['10.200.0.0/16'],
                table: 254,
                metric: 100,
              },
              dynamicPeers: [
                {
                  name: 'clients',
                  prefix: '192.0.2.128/25',
                  peerASNs: [65001, 65002],
                  limit: 9,
                  peerConfigRef: { name: 'rack-ipv6' },
                },
              ],
              nodePeers: [
                { name: 'mesh', addressFamily: 'ipv4', peerConfigRef: { name: 'rack-ipv6' } },
              ],
              bmpStations: [
                {
                  name: 'noc',
                  address: '192.0.2.100',
                  port: 11019,
                  monitor: [
                    'PrePolicy',
                    'PostPolicy',
                    'LocRIB',
                    'AdjRIBOutPrePolicy',
                    'AdjRIBOutPostPolicy',
                  ],
                  statisticsSeconds: 60,
                },
              ],
            },
          ],
        },
      },
    ]);
    type Row = { name: string; healthy: boolean; detail: string };
    await until('the speaker has it', async () => {
      const config = (await ask('b', '/v1/config/agent')) as { bmp?: unknown[] };
      const { body } = await nodes.ask('b', 'GET', '/v1/status');
      const row = body.reconcilers.find(({ name }: Row) => name === 'speaker') as Row;
      assert.doesNotMatch(row.detail, /refuses/);
      return row.healthy && config.bmp?.length === 1;
    });
    const peers = (await ask('b', '/v1/peers')) as { name: string }[];
    assert.deepEqual(peers.map(({ name }) => name).sort(), ['mesh:a', 'rack-ipv4', 'rack-ipv6']);
    assert.doesNotMatch(
      JSON.stringify(await ask('b', '/v1/config/agent')),
      /correct-horse|twenty bytes/,
    );
  });

  test('a node that is cleaned up is announced no more', async () => {
    await nodes.store.delete('BGPPeerOptions', { name: 'rack-ipv4' });
    await until('announced again', () => fib().length === 2);
    await nodes.killAgent('b');
    assert.equal(fib().length, 2);
    assert.deepEqual(nodes.cleanup('b').failures, []);
    await until('withdrawn', () => fib().length === 0);
    assert.deepEqual(await ask('b', '/v1/config'), []);
  });
});
