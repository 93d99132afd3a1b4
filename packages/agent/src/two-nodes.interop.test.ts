import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { isolated } from './testing/isolated.ts';
import { nodeObject, TwoNodes, until } from './testing/two-nodes.ts';

/** Node b runs as on Linux 5.10: no tcx links, no error numbers from socket hooks. */
const OLD_KERNEL = { simulate: { missingFeatures: ['tcx', 'set-retval'] } };

isolated(import.meta.filename, () => {
  let nodes: TwoNodes;
  before(async () => {
    nodes = new TwoNodes();
    await nodes.startEtcd();
    await nodes.store.apply([
      nodeObject('a', 1),
      nodeObject('b', 2),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'ServiceCIDR',
        metadata: { name: 'kubernetes' },
        spec: { cidrs: ['10.96.0.0/16', 'fd00:96::/112'] },
      },
    ]);
  });
  after(() => nodes[Symbol.asyncDispose]());

  test('native routing: pods reach pods on their node and on the other, the node, and the world', async () => {
    await Promise.all([
      nodes.startAgent('a', { routingMode: 'native' }),
      nodes.startAgent('b', { routingMode: 'native', ...OLD_KERNEL }),
    ]);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
    const web = await nodes.addPod('a', 'web', { app: 'web' });
    const cli = await nodes.addPod('a', 'cli', { app: 'cli' });
    const far = await nodes.addPod('b', 'far', { app: 'far' });
    for (const family of ['ipv4', 'ipv6']) {
      assert.ok(nodes.ping('cli', web.addresses[family]), `same node ${family}`);
      assert.ok(nodes.ping('cli', cli.gateways[family]), `gateway ${family}`);
      await until(`other node ${family}`, () => nodes.ping('cli', far.addresses[family]));
      assert.ok(nodes.ping('a', web.addresses[family]), `host to pod ${family}`);
      assert.ok(nodes.ping('a', far.addresses[family]), `host to remote pod ${family}`);
    }
    assert.ok(nodes.ping('cli', '192.0.2.1'), 'pod to its node');
    assert.ok(nodes.ping('cli', '192.0.2.2'), 'pod to another node');
    assert.ok(nodes.ping('cli', '192.0.2.9'), 'pod to the world, masqueraded');
    assert.ok(nodes.ping('cli', '2001:db8::9'), 'the same in IPv6');
  });

  /** What an HTTP server answers; undefined if it cannot be reached. */
  const fetch = (from: string, address: string, port = 80, cgroup?: 'a' | 'b') =>
    nodes
      .run(
        from,
        `sh -c "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -t 5 -T 5 - TCP:${address.includes(':') ? `[${address}]` : address}:${port},connect-timeout=1"`,
        cgroup,
      )
      ?.split('\r\n\r\n')[1];

  test('services: by socket and by packet, in both families, and refused at once without a backend', async () => {
    fs.writeFileSync(path.join(nodes.directory, 'index.html'), 'hello');
    for (const pod of ['web', 'far'])
      nodes.serve(pod, `busybox httpd -f -p 8080 -h ${nodes.directory}`);
    await nodes.store.apply([
      service('front', { app: 'far' }, ['10.96.0.10', 'fd00:96::10']),
      service('none', { app: 'nobody' }, ['10.96.0.11', 'fd00:96::11']),
    ]);
    for (const address of ['10.96.0.10', 'fd00:96::10'])
      await until(`the service answers at ${address}`, () =>
        [fetch('cli', address, 80, 'a'), fetch('cli', address)].every((text) => text === 'hello'),
      );
    for (const address of ['10.96.0.10', 'fd00:96::10']) {
      assert.equal(fetch('cli', address, 80, 'a'), 'hello', `by socket ${address}`);
      assert.equal(fetch('cli', address), 'hello', `by packet ${address}`);
      assert.equal(fetch('a', address, 80, 'a'), 'hello', `from the node ${address}`);
    }
    // Where nobody refuses them, each of the two ends by its time-out of a second.
    await until('both ways refuse and do not hang', () => {
      const started = Date.now();
      assert.equal(fetch('cli', '10.96.0.11', 80, 'a'), undefined);
      assert.equal(fetch('cli', '10.96.0.11'), undefined);
      return Date.now() - started < 2_000;
    });
    const why = await nodes.ask('a', 'GET', '/v1/services/why?namespace=shop&name=front');
    assert.equal(why.body[0].candidates[0].target, 'shop/far');
  });

  test('policy: what is not allowed is dropped and says which allow is missing; the store is out of reach', async () => {
    const web = (await nodes.ask('a', 'GET', '/v1/endpoints/by-container/c-web/eth0')).body;
    assert.equal(fetch('far', web.addresses.ipv4, 8080), 'hello');
    await nodes.store.apply([
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'only-cli', namespace: 'shop' },
        spec: {
          podSelector: { matchLabels: { app: 'web' } },
          ingress: [
            { from: [{ podSelector: { matchLabels: { app: 'cli' } } }], ports: [{ port: 'web' }] },
          ],
        },
      },
    ]);
    await until('it is enforced', () => fetch('far', web.addresses.ipv4, 8080) === undefined);
    for (const family of ['ipv4', 'ipv6']) {
      assert.equal(fetch('far', web.addresses[family], 8080), undefined, `far ${family}`);
      assert.equal(fetch('cli', web.addresses[family], 8080), 'hello', `cli ${family}`);
    }
    const dropped = async () => {
      const drops = (await nodes.ask('a', 'GET', '/v1/drops')).body;
      const one = drops.recent.find((each: { reason: string }) => each.reason === 'policy-default');
      return { drops, one };
    };
    await until('the drop is told', async () => (await dropped()).one !== undefined);
    const { drops, one } = await dropped();
    assert.match(one.text, /shop\/far.*shop\/web.*TCP/, JSON.stringify(drops));
    assert.match(one.because, /only-cli/);
    assert.equal(
      nodes.run('cli', 'busybox nc -w 2 192.0.2.100 2379 -e true'),
      undefined,
      'the store',
    );
    assert.notEqual(fetch('a', '192.0.2.100', 2379), undefined);
    await nodes.store.delete('NetworkPolicy', { namespace: 'shop', name: 'only-cli' });
    await until('it is open again', () => fetch('far', web.addresses.ipv4, 8080) === 'hello');
  });

  test('kill -9 and restart: traffic goes on, the endpoint is the same, in the other mode too', async () => {
    const before = (await nodes.ask('a', 'GET', '/v1/endpoints')).body;
    const far = (await nodes.ask('b', 'GET', '/v1/endpoints')).body[0];
    const web = before.find((each: { podName: string }) => each.podName === 'web');
    // Every 20 ms over a kill, a time without an agent and the exchange of all programs.
    const pings = [
      far.addresses.ipv4,
      far.addresses.ipv6,
      web.addresses.ipv4,
      '10.7.1.1',
      '192.0.2.9',
    ].map((to) => nodes.background('cli', `busybox ping -i 0.02 -c 400 -q ${to}`));
    await nodes.killAgent('a');
    assert.ok(nodes.ping('cli', far.addresses.ipv4));
    assert.equal(fetch('cli', '10.96.0.10', 80, 'a'), 'hello');
    await nodes.startAgent('a', { routingMode: 'native' });
    await nodes.ready('a');
    assert.deepEqual((await nodes.ask('a', 'GET', '/v1/endpoints')).body, before);
    for (const output of await Promise.all(pings)) {
      assert.match(output, /400 packets transmitted, 400 packets received, 0% packet loss/);
    }
    assert.equal(fetch('cli', '10.96.0.10'), 'hello');

    await Promise.all([nodes.killAgent('a', 'SIGTERM'), nodes.killAgent('b', 'SIGTERM')]);
    await Promise.all([
      nodes.startAgent('a', { routingMode: 'tunnel' }),
      nodes.startAgent('b', { routingMode: 'tunnel', ...OLD_KERNEL }),
    ]);
    await Promise.all([nodes.ready('a'), nodes.ready('b')]);
    for (const family of ['ipv4', 'ipv6']) {
      await until(`through the tunnel ${family}`, () => nodes.ping('cli', far.addresses[family]));
      assert.equal(fetch('cli', far.addresses[family], 8080), 'hello');
      assert.ok(nodes.ping('a', far.addresses[family]), `node to pod of the other node ${family}`);
    }
    const ipcache = (await nodes.ask('a', 'GET', '/v1/ipcache')).body;
    const row = ipcache.find(
      (each: { prefix: string }) => each.prefix === `${far.addresses.ipv4}/32`,
    );
    assert.equal(row.tunnelEndpoint, '192.0.2.2');
  });

  test('a device of ours that somebody removes comes back, and the programs with it', async () => {
    const far = (await nodes.ask('b', 'GET', '/v1/endpoints')).body[0];
    nodes.run('a', 'ip link del cw_host');
    await until('the node reaches its pods again', () => nodes.ping('a', '10.7.1.2'));
    await until('and those of the other node', () => nodes.ping('a', far.addresses.ipv6));
    await until('and pods the node', () => nodes.ping('cli', '192.0.2.1'));
  });

  test('cleanup takes everything of ours off the node and leaves what is others', async () => {
    await nodes.killAgent('b', 'SIGTERM');
    const report = nodes.cleanup('b');
    assert.deepEqual(report.failures, []);
    assert.ok(report.programs.includes('eth0 (filters)'));
    assert.deepEqual(
      report.devices.filter((name: string) => !/^cw[0-9a-f]{10}$/.test(name)),
      ['cw_host', 'cw_vxlan'],
    );
    const left = nodes.run('b', 'ip -br link')!;
    assert.doesNotMatch(left, /cw/);
    assert.match(left, /eth0/);
    assert.ok(nodes.ping('b', '192.0.2.1'));
  });
});

function service(name: string, selector: Record<string, string>, clusterIPs: string[]): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: {
      selector,
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ port: 80, targetPort: 'web' }],
    },
  };
}
