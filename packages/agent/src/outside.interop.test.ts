import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Address } from '@causeway/ip';
import { isolated } from './testing/isolated.ts';
import { nodeObject, TwoNodes, until } from './testing/two-nodes.ts';

const VIPS = ['10.99.0.1', 'fd00:99::1'];
const CLIENT = { ipv4: '192.0.2.9', ipv6: '2001:db8::9' };

/** Services from outside by real programs: two nodes, a client that is none, both families. */
isolated(import.meta.filename, () => {
  let nodes: TwoNodes;

  before(async () => {
    nodes = new TwoNodes();
    fs.writeFileSync(
      path.join(nodes.directory, 'server.sh'),
      '#!/bin/sh\necho "$1 $SOCAT_PEERADDR"\nexec cat\n',
      { mode: 0o755 },
    );
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
    await Promise.all(['a', 'b'].map((node) => nodes.startAgent(node as 'a')));
    await Promise.all(['a', 'b'].map((node) => nodes.ready(node as 'a')));
    for (const [pod, node] of [
      ['near', 'a'],
      ['far', 'b'],
    ] as const) {
      await nodes.addPod(node, pod, { app: 'web' });
      fs.mkdirSync(path.join(nodes.directory, pod));
      setReady(pod, true);
      const server = path.join(nodes.directory, 'server.sh');
      nodes.serve(pod, `socat TCP6-LISTEN:8080,fork,reuseaddr,ipv6only=0 "EXEC:${server} ${pod}"`);
      nodes.serve(pod, `busybox httpd -f -p 9000 -h ${path.join(nodes.directory, pod)}`);
    }
    towards('192.0.2.1', '2001:db8::1');
  });
  after(() => nodes[Symbol.asyncDispose]());

  function setReady(pod: string, ready: boolean): void {
    const file = path.join(nodes.directory, pod, 'ready');
    if (ready) fs.writeFileSync(file, 'yes');
    else fs.rmSync(file);
  }

  /** Which node the client's network sends the service addresses to. */
  function towards(ipv4: string, ipv6: string): void {
    const routes = [
      `ip route replace ${VIPS[0]}/32 via ${ipv4}`,
      `ip -6 route replace ${VIPS[1]}/128 via ${ipv6}`,
    ];
    for (const route of routes) assert.notEqual(nodes.run('out', route), undefined, route);
  }

  /** `near 192.0.2.1`: who answered and whom it saw; undefined if nobody did. */
  function ask(address: string, port = 80, from = 'out'): string | undefined {
    const host = address.includes(':') ? `[${address}]` : address;
    const text = nodes.run(
      from,
      `sh -c "printf hello | socat -t 5 -T 5 - TCP:${host}:${port},connect-timeout=2"`,
    );
    const [line = '', echo] = text?.split('\n') ?? [];
    if (echo !== 'hello') return undefined;
    const [name, peer = ''] = line.split(' ');
    return `${name} ${Address.parse(peer.replace(/[[\]]/g, ''))}`;
  }

  /** Asks until both have answered; everything that was answered. */
  async function everybody(address: string, port = 80): Promise<Set<string>> {
    const seen = new Set<string>();
    const names = () => new Set([...seen].map((line) => line.split(' ')[0]));
    await until(`${address} port ${port} is answered by near and far`, () => {
      const line = ask(address, port);
      if (line !== undefined) seen.add(line);
      return names().size === 2;
    });
    return seen;
  }

  /** The service in this shape, with its addresses given as a load balancer gives them. */
  async function serve(
    spec: Record<string, unknown> = {},
    annotations: Record<string, string> = {},
  ): Promise<Record<string, never>> {
    await nodes.store.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'web', namespace: 'shop', annotations },
        spec: {
          type: 'LoadBalancer',
          selector: { app: 'web' },
          clusterIP: '10.96.0.10',
          clusterIPs: ['10.96.0.10', 'fd00:96::10'],
          ipFamilyPolicy: 'RequireDualStack',
          ports: [{ port: 80, targetPort: 8080 }],
          ...spec,
        },
      },
    ]);
    const { spec: stored } = await nodes.store.patchStatus(
      'Service',
      { namespace: 'shop', name: 'web' },
      { loadBalancer: { ingress: VIPS.map((ip) => ({ ip })) } },
    );
    return stored as never;
  }

  const nodePortOf = (spec: Record<string, never>): number =>
    (spec.ports as unknown as { nodePort: number }[])[0]!.nodePort;

  test('a service is reached by its address and by the nodes’ ports, at backends on either node', async () => {
    const nodePort = nodePortOf(await serve());
    for (const address of VIPS) {
      const seen = await everybody(address);
      // By SNAT: the answers have to come back by the node that the client asked.
      const clients = [...seen].filter((line) => line.startsWith('far')).join();
      const clientsThere = clients.split(',').map((line) => line.split(' ')[1]);
      assert.ok(!clientsThere.includes(address.includes(':') ? CLIENT.ipv6 : CLIENT.ipv4), clients);
    }
    for (const address of ['192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::2']) {
      await everybody(address, nodePort);
    }
    assert.equal(ask('10.96.0.10'), undefined, 'its cluster address is not for clients outside');
    const [{ body }] = await Promise.all([
      nodes.ask('a', 'GET', '/v1/services/why?frontend=10.96.0.10:80/TCP&client=192.0.2.9'),
    ]);
    assert.match(body[0].explanation, /for clients in the cluster/);
  });

  test('source ranges keep others out of the address, and why says so', async () => {
    await serve({ loadBalancerSourceRanges: ['198.51.100.0/24', '2001:db8:5::/48'] });
    for (const address of VIPS)
      await until(`${address} is closed`, () => ask(address) === undefined);
    const { body } = await nodes.ask(
      'a',
      'GET',
      '/v1/services/why?frontend=10.99.0.1:80/TCP&client=192.0.2.9',
    );
    assert.match(body[0].explanation, /192\.0\.2\.9 is in none of loadBalancerSourceRanges/);
    await serve({ loadBalancerSourceRanges: ['192.0.2.0/24', '2001:db8::/64'] });
    for (const address of VIPS) await everybody(address);
  });

  const label = (node: 'a' | 'b', labels: Record<string, string>) =>
    nodes.store.apply([
      { ...(nodeObject(node, node === 'a' ? 1 : 2) as object), metadata: { name: node, labels } },
    ]);

  test('DSR, by XDP at the edge: the backend sees the client, on whichever node it is', async () => {
    await serve({}, { 'service.cilium.io/forwarding-mode': 'dsr' });
    await label('a', { 'causeway.io/edge': '' });
    await until('node a takes services in XDP', async () => {
      const { body } = await nodes.ask('a', 'GET', '/v1/status');
      return JSON.stringify(body).includes('"name":"edge-xdp","healthy":true');
    });
    for (const [address, client] of [
      [VIPS[0]!, CLIENT.ipv4],
      [VIPS[1]!, CLIENT.ipv6],
    ] as const) {
      await until(`${address} is answered under the client's address`, () => {
        const line = ask(address);
        return line === `far ${client}`;
      });
      assert.deepEqual([...(await everybody(address))].sort(), [`far ${client}`, `near ${client}`]);
    }
  });

  test('external policy Local: own backends only, the client’s address, and a health check port', async () => {
    const spec = await serve({ externalTrafficPolicy: 'Local' });
    const health = spec.healthCheckNodePort as unknown as number;
    for (const [address, client] of [
      [VIPS[0]!, CLIENT.ipv4],
      [VIPS[1]!, CLIENT.ipv6],
    ] as const) {
      await until(`${address} is near's`, () => ask(address) === `near ${client}`);
      for (let i = 0; i < 5; i++) assert.equal(ask(address), `near ${client}`);
    }
    const says = (node: string) =>
      nodes.run('out', `busybox wget -qO- http://${node}:${health}/ 2>/dev/null`);
    await until('both nodes are healthy', () =>
      ['192.0.2.1', '192.0.2.2'].every(
        (node) => says(node)?.includes('"localEndpoints":1') === true,
      ),
    );
    await ready('near', false);
    await until('node a has none', () => says('192.0.2.1') === undefined);
    assert.match(says('192.0.2.2')!, /"localEndpoints":1/);
    await until('node a drops', () => VIPS.every((address) => ask(address) === undefined));
    towards('192.0.2.2', '2001:db8::2');
    for (const address of VIPS) assert.match(ask(address) ?? '', /^far /);
    towards('192.0.2.1', '2001:db8::1');
    await ready('near', true);
    await until('node a is back', () => says('192.0.2.1')?.includes('"localEndpoints":1') === true);
  });

  const ready = (pod: string, is: boolean) =>
    nodes.store.patchStatus(
      'Pod',
      { namespace: 'shop', name: pod },
      { conditions: [{ type: 'Ready', status: is ? 'True' : 'False' }] },
    );

  test('a failing health check drains: nothing new, and what is there goes on', async () => {
    const check = 'causeway.io/health-check';
    await serve(
      { sessionAffinity: 'ClientIP' },
      {
        [check]: 'http:/ready',
        [`${check}-port`]: '9000',
        [`${check}-interval`]: '500ms',
        [`${check}-timeout`]: '400ms',
        [`${check}-healthy`]: '1',
      },
    );
    await until('the service answers', () => ask(VIPS[0]!) !== undefined);
    const kept = connect(VIPS[0]!);
    await until('it is connected', () => kept.heard().includes('\n'));
    const [holder] = kept.heard().split(' ') as [string];
    const other = holder === 'near' ? 'far' : 'near';
    setReady(holder, false);
    // Affinity held the client there; a backend that drains is let go of all the same.
    await until('new ones go elsewhere', () => ask(VIPS[0]!)?.startsWith(other) === true);
    for (let i = 0; i < 5; i++) assert.match(ask(VIPS[0]!) ?? '', new RegExp(`^${other}`));
    for (const node of ['a', 'b']) {
      const { body } = await nodes.ask(node, 'GET', '/v1/services/why?namespace=shop&name=web');
      const texts = JSON.stringify(body);
      assert.match(texts, /its health check fails \(HTTP status 404\)/, node);
    }
    kept.say('still there\n');
    await until('the old connection lives', () => kept.heard().includes('still there'));
    kept.end();
    setReady(holder, true);
    await until('it is taken back', async () => {
      const { body } = await nodes.ask('a', 'GET', '/v1/services/why?namespace=shop&name=web');
      return !JSON.stringify(body).includes('health check fails');
    });
  });

  /** A connection that stays open from the client outside. */
  function connect(address: string): {
    say(text: string): void;
    heard(): string;
    end(): void;
  } {
    const [input, output] = ['in', 'out'].map((each) => path.join(nodes.directory, `${each}.flow`));
    nodes.run('out', `busybox mkfifo ${input}`);
    nodes.serve('out', `sh -c "socat - TCP:${address}:80 < ${input} > ${output}"`);
    // Both ways, so that neither side waits for the other to open it.
    const fd = fs.openSync(input!, 'r+');
    return {
      say: (text) => void fs.writeSync(fd, text),
      heard: () => (fs.existsSync(output!) ? fs.readFileSync(output!, 'utf8') : ''),
      end: () => fs.closeSync(fd),
    };
  }

  test('pods leave by the egress gateway, and by the standby when it is gone', async (t) => {
    const outside = path.join(nodes.directory, 'server.sh');
    nodes.serve('out', `socat TCP6-LISTEN:7000,fork,reuseaddr,ipv6only=0 "EXEC:${outside} out"`);
    const back = (node: 'a' | 'b') => {
      const number = node === 'a' ? 1 : 2;
      nodes.run('out', `ip route replace 198.51.100.9/32 via 192.0.2.${number}`);
      nodes.run('out', `ip -6 route replace 2001:db8:9::9/128 via 2001:db8::${number}`);
    };
    back('b');
    await label('a', { way: 'second' });
    await label('b', { way: 'first' });
    await nodes.store.apply([
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumEgressGatewayPolicy',
        metadata: { name: 'out' },
        spec: {
          selectors: [{ podSelector: { matchLabels: { app: 'web' } } }],
          destinationCIDRs: ['192.0.2.9/32', '2001:db8::9/128'],
          egressGateways: ['first', 'second'].flatMap((way) =>
            ['198.51.100.9', '2001:db8:9::9'].map((egressIP) => ({
              nodeSelector: { matchLabels: { way } },
              egressIP,
            })),
          ),
        },
      },
    ]);
    const through = [
      [CLIENT.ipv4, '198.51.100.9'],
      [CLIENT.ipv6, '2001:db8:9::9'],
    ] as const;
    const seen = (pod: string) =>
      through.map(([address]) => ask(address, 7000, pod)?.split(' ')[1]).join();
    const wanted = through.map(([, source]) => source).join();
    for (const pod of ['near', 'far']) {
      await until(`${pod} leaves as ${wanted}`, () => seen(pod) === wanted).catch((error) => {
        throw new Error(`${error.message}; it is seen as ${seen(pod)}`);
      });
    }
    const { body } = await nodes.ask('a', 'GET', '/v1/tables/egress-policies');
    assert.equal(body[0].gateway, 'b', JSON.stringify(body));
    const gatewayOf = async (node: 'a' | 'b') =>
      (await nodes.ask(node, 'GET', '/v1/tables/egress-policies')).body[0]?.gateway;
    // Out of the network it is out of the choice long before its lease is over. Not for itself: of two without a
    // witness neither can tell who has gone, and the fence of larger groups is tested with the group's rounds.
    nodes.plug('b', false);
    const cut = performance.now();
    await until('a stands in for b', async () => (await gatewayOf('a')) === 'a');
    const took = performance.now() - cut;
    t.diagnostic(`a is the gateway ${took.toFixed(0)} ms after b was cut off`);
    // The line follows the store's answer. On a machine that stood still for seconds, the lease of ten, last renewed
    // some before the cut, may have been over first.
    const leaseWasOver = took >= 5_000;
    await until(
      'a says why',
      () => leaseWasOver || /"node":"b".*answers no more/.test(nodes.log('a')),
    );
    back('a');
    await until('near leaves by its own node', () => seen('near') === wanted);
    nodes.plug('b', true);
    await until('b is the gateway again', async () => (await gatewayOf('a')) === 'b');
    await until('and knows it', async () => (await gatewayOf('b')) === 'b');
    back('b');
    await until('near leaves by b again', () => seen('near') === wanted);
    // Not its programs, which the kernel keeps, but what it says of itself goes with its agent.
    await nodes.killAgent('b');
    await until('a is the gateway', async () => (await gatewayOf('a')) === 'a');
    back('a');
    await until('near leaves by its own node', () => seen('near') === wanted);
  });
});
