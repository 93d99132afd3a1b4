import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FakeSpeaker } from './testing/fake-speaker.ts';
import { isolated } from './testing/isolated.ts';
import { nodeObject, TwoNodes, until } from './testing/two-nodes.ts';

const sh = (command: string): string => execFileSync('sh', ['-ec', command], { encoding: 'utf8' });

/**
 * Two nodes whose network routes pods, with real programs. The rack switch is this namespace: it knows the nodes'
 * CIDRs by static routes where others have learned them by BGP, and is the nodes' default route.
 */
isolated(import.meta.filename, () => {
  let nodes: TwoNodes;
  let speaker: FakeSpeaker;

  before(async () => {
    nodes = new TwoNodes();
    sh(`sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 \
          net.ipv4.conf.br0.send_redirects=0
        for n in 1 2; do
          ip route add 10.7.$n.0/24 via 192.0.2.$n
          ip route add fd00:7:$n::/64 via 2001:db8::$n
        done
        ip route add 10.96.0.10 via 192.0.2.1
        ip route add fd00:96::10 via 2001:db8::1`);
    await nodes.startEtcd();
    await nodes.store.apply([
      nodeObject('a', 1),
      nodeObject('b', 2),
      ...Array.from({ length: 20 }, (_, index) => nodeObject(`n${index}`, 30 + index)),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'ServiceCIDR',
        metadata: { name: 'kubernetes' },
        spec: { cidrs: ['10.96.0.0/16', 'fd00:96::/112'] },
      },
    ]);
    fs.mkdirSync(path.join(nodes.directory, 'a'), { recursive: true });
    speaker = new FakeSpeaker(path.join(nodes.directory, 'a', 'speaker.sock'));
    await speaker.start();
    const routed = { routingMode: 'native', nativeRouting: { mode: 'bgp' } };
    await Promise.all([nodes.startAgent('a', routed), nodes.startAgent('b', routed)]);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
  });
  after(async () => {
    await speaker?.[Symbol.asyncDispose]();
    await nodes[Symbol.asyncDispose]();
  });

  const ours = (node: string): string[] =>
    ['-4', '-6'].flatMap((family) =>
      nodes
        .run(node, `ip ${family} route show proto 0xcb`)!
        .trim()
        .split('\n')
        .map((line) => line.split(' ').slice(0, 3).join(' ')),
    );

  /** Packets that the rack switch sends on while `work` is done. */
  function forwarded(family: 'ipv4' | 'ipv6', work: () => unknown): number {
    const count = (): number => {
      const file = family === 'ipv4' ? '/proc/net/snmp' : '/proc/net/snmp6';
      const text = fs.readFileSync(file, 'utf8');
      if (family === 'ipv6') return Number(/Ip6OutForwDatagrams\s+(\d+)/.exec(text)?.[1]);
      const [names, values] = text
        .split('\n')
        .filter((line) => line.startsWith('Ip:'))
        .map((line) => line.split(' '));
      return Number(values![names!.indexOf('ForwDatagrams')]);
    };
    const before = count();
    work();
    return count() - before;
  }

  test('pods reach pods of other nodes by the default route; no node has a route of another', async () => {
    await nodes.addPod('a', 'cli');
    const far = await nodes.addPod('b', 'far', { app: 'far' });
    for (const family of ['ipv4', 'ipv6'] as const) {
      await until(`other node ${family}`, () => nodes.ping('cli', far.addresses[family]));
      assert.ok(nodes.ping('a', far.addresses[family]), `host to remote pod ${family}`);
      assert.ok(nodes.ping('out', far.addresses[family]), `from outside the cluster ${family}`);
      const through = forwarded(family, () => nodes.ping('cli', far.addresses[family]));
      assert.ok(through >= 2, `through the switch, there and back ${family}: ${through}`);
    }
    assert.deepEqual(ours('a'), ['10.7.1.0/24 dev cw_host', 'fd00:7:1::/64 dev cw_host']);
    assert.equal(ours('b').length, 2);
  });

  test('what comes for an address that no pod has does not go back to the switch', () => {
    for (const [family, address] of [
      ['ipv4', '10.7.1.200'],
      ['ipv6', 'fd00:7:1::c8'],
    ] as const) {
      const times = forwarded(family, () => nodes.run('out', `busybox ping -c1 -W1 ${address}`));
      assert.ok(times >= 1 && times <= 3, `${address} was sent on ${times} times`);
    }
  });

  test('nor what comes for a service address that the node announces', async () => {
    await nodes.store.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'front', namespace: 'shop' },
        spec: {
          clusterIP: '10.96.0.10',
          clusterIPs: ['10.96.0.10', 'fd00:96::10'],
          ipFamilyPolicy: 'RequireDualStack',
          selector: { app: 'far' },
          ports: [{ port: 80, targetPort: 8080 }],
        },
      },
    ]);
    const vips = [
      ['ipv4', '10.96.0.10'],
      ['ipv6', 'fd00:96::10'],
    ] as const;
    const loops = (family: 'ipv4' | 'ipv6', address: string) =>
      forwarded(family, () => nodes.run('out', `busybox ping -c1 -W1 ${address}`));
    for (const [family, address] of vips)
      assert.ok(
        loops(family, address) > 10,
        `unannounced, ${address} goes round: the test can fail`,
      );
    await nodes.store.apply([
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPClusterConfig',
        metadata: { name: 'all' },
        spec: {
          bgpInstances: [
            {
              name: 'main',
              localASN: 65001,
              peers: [
                { name: 'rack', peerAddress: '192.0.2.100', peerConfigRef: { name: 'rack' } },
              ],
            },
          ],
        },
      },
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPPeerConfig',
        metadata: { name: 'rack' },
        spec: {
          families: ['ipv4', 'ipv6'].map((afi) => ({ afi, safi: 'unicast', advertisements: {} })),
        },
      },
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPAdvertisement',
        metadata: { name: 'vips' },
        spec: {
          advertisements: [
            { advertisementType: 'Service', service: { addresses: ['ClusterIP'] }, selector: {} },
          ],
        },
      },
    ]);
    await until('it is announced', () => speaker.paths?.length === 2);
    await until('the node refuses it', () => ours('a').length === 4);
    for (const [family, address] of vips) {
      const times = loops(family, address);
      assert.ok(times >= 1 && times <= 3, `${address} was sent on ${times} times`);
    }
    nodes.serve('far', 'busybox httpd -f -p 8080 -h /');
    await until('pods and the node itself still reach the service', () =>
      ['cli', 'a'].every(
        (from) =>
          nodes.run(from, 'socat -t 5 -T 5 - TCP:10.96.0.10:80,connect-timeout=1', 'a') !==
          undefined,
      ),
    ).catch(async (error) => {
      const why = await nodes.ask('a', 'GET', '/v1/services');
      throw new Error(`${error.message} ${JSON.stringify(why.body)}`);
    });
  });

  test('the agent killed: routes, announcements and traffic stay', async () => {
    const told = speaker.requests.length;
    await nodes.killAgent('a');
    const far = (await nodes.ask('b', 'GET', '/v1/endpoints')).body[0];
    for (const family of ['ipv4', 'ipv6'])
      assert.ok(nodes.ping('cli', far.addresses[family]), family);
    assert.equal(ours('a').length, 4);
    assert.equal(speaker.requests.length, told);
  });
});
