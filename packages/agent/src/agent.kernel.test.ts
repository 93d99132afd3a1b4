import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { memoryEtcd, systemClock } from '@causeway/etcd';
import { Address } from '@causeway/ip';
import { causewayProtocol, Netns, RtSocket, request } from '@causeway/linux';
import { etcdStore } from '@causeway/resources';
import { runAgent } from './agent.ts';
import { checkAgentConfig } from './config/load.ts';
import type { ConfigInput } from './config/schema.ts';
import { FakeDatapath } from './testing/fake-datapath.ts';
import { FakeSpeaker } from './testing/fake-speaker.ts';
import { isolated } from './testing/isolated.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers have many shapes
type Body = any;

/** One whole agent on the real kernel's devices and routes, with a store and eBPF maps in memory. */
isolated(import.meta.filename, () => {
  const runDir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-agent-${process.pid}-`));
  const etcd = memoryEtcd({ clock: systemClock });
  const store = etcdStore(etcd.connect());
  const datapath = new FakeDatapath();
  const names: string[] = [];
  let made = 0;

  before(() => {
    using socket = RtSocket.open();
    socket.apply([
      request.setLink({ name: 'lo' }, { up: true }),
      request.createVeth({ name: 'eth0', up: true, peer: { name: 'eth0p', up: true } }),
    ]);
    const ifindex = socket.link({ name: 'eth0' })!.index;
    socket.apply(
      request.addAddress({
        ifindex,
        address: Address.toBytes(Address.parse('192.0.2.1')),
        prefixLength: 24,
      }),
    );
  });
  after(async () => {
    for (const name of names) Netns.remove(name);
    await etcd[Symbol.asyncDispose]();
    fs.rmSync(runDir, { recursive: true });
  });

  function namespace(): string {
    const name = `cwa-${process.pid}-${made++}`;
    Netns.create(name).close();
    names.push(name);
    return `/run/netns/${name}`;
  }

  interface Running extends AsyncDisposable {
    readonly ended: Promise<void>;
  }

  async function start(config: ConfigInput = {}): Promise<Running> {
    const stop = new AbortController();
    let listening = () => {};
    const up = new Promise<void>((resolve) => {
      listening = resolve;
    });
    const ended = runAgent(
      checkAgentConfig({
        cluster: { name: 'test', id: 3 },
        node: { name: 'a' },
        routingMode: 'native',
        devices: ['eth0'],
        socketLB: { enabled: false },
        runDir,
        stateDir: path.join(runDir, 'lasting'),
        ...config,
      }),
      {
        signal: stop.signal,
        onListening: listening,
        parts: {
          kv: etcd.connect(),
          datapath: (settings) => {
            datapath.configure(settings);
            return datapath;
          },
          log: silentLog,
        },
      },
    );
    await Promise.race([up, ended]);
    return {
      ended,
      async [Symbol.asyncDispose]() {
        stop.abort();
        await ended;
      },
    };
  }

  function ask(
    method: string,
    target: string,
    body?: unknown,
  ): Promise<{ status: number; body: Body }> {
    return new Promise((resolve, reject) => {
      const call = http.request(
        {
          agent: false,
          socketPath: path.join(runDir, 'agent.sock'),
          method,
          path: target,
          headers: { 'content-type': 'application/json' },
        },
        (response) => {
          let text = '';
          response.on('data', (chunk) => (text += chunk));
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              body: text === '' ? undefined : JSON.parse(text),
            }),
          );
        },
      );
      call.on('error', reject);
      call.end(
        typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body),
      );
    });
  }

  async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      if (await condition()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const status = await ask('GET', '/v1/status').catch(String);
    assert.fail(`still not: ${what}; status ${JSON.stringify(status)}`);
  }

  const ready = () =>
    until('ready', async () => (await ask('GET', '/v1/status')).body.ready === true);

  const ownNode = {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNode',
    metadata: { name: 'a' },
    spec: {
      addresses: [{ type: 'InternalIP', ip: '192.0.2.1' }],
      ipam: { podCIDRs: ['10.7.1.0/24', 'fd00:7:1::/64'] },
    },
  };

  test('without its node the agent says what it waits for; with it, it serves', async () => {
    await using _agent = await start();
    await until('it says what it waits for', async () => {
      const { body } = await ask('GET', '/v1/status');
      assert.equal(body.cni.ready, false);
      return /no CiliumNode named a/.test(body.cni.reasons.join());
    });
    const refused = await ask('POST', '/v1/endpoints', {
      containerId: 'x',
      ifname: 'eth0',
      netns: namespace(),
    });
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error.code, 'not-ready');
    await store.apply([
      ownNode,
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { team: 'a' } } },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'web', namespace: 'shop', labels: { app: 'web' } },
        spec: { containers: [] },
      },
    ]);
    await ready();
    assert.deepEqual(datapath.hosts.toSorted(), ['10.7.1.1', '192.0.2.1', 'fd00:7:1::1']);
    assert.equal(datapath.settings?.gateways.ipv4, '10.7.1.1');
    const second = runAgent(checkAgentConfig({ runDir, stateDir: runDir }), {
      signal: new AbortController().signal,
    });
    await assert.rejects(second, {
      code: 'already-running',
      message: new RegExp(`pid ${process.pid}`),
    });
  });

  test('an endpoint gets address, identity and policy, tells the cluster, and goes without a trace', async () => {
    await using _agent = await start();
    await ready();
    const netns = namespace();
    const body = { containerId: 'c1', ifname: 'eth0', netns, podNamespace: 'shop', podName: 'web' };
    const { status, body: endpoint } = await ask('POST', '/v1/endpoints', body);
    assert.equal(status, 201, JSON.stringify(endpoint));
    assert.equal(endpoint.state, 'ready');
    assert.ok(endpoint.identity > 3 << 16, String(endpoint.identity));
    assert.ok(endpoint.labels.includes('k8s:app=web'));
    assert.equal((await ask('POST', '/v1/endpoints', body)).status, 200);
    assert.equal((await ask('POST', '/v1/endpoints/check', body)).status, 200);
    const row = datapath.endpointRows.get(endpoint.addresses.ipv4)!;
    assert.deepEqual(
      [row.endpointId, row.identity, row.ingress],
      [endpoint.id, endpoint.identity, 'off'],
    );
    const kv = etcd.connect();
    await until(
      'the ip entry is in the store',
      async () =>
        (await kv.get(`cilium/state/ip/v1/default/${endpoint.addresses.ipv6}`))?.text.includes(
          `"ID":${endpoint.identity}`,
        ) === true,
    );
    assert.match(
      (await kv.get('cilium/state/nodes/v1/test/a'))!.text,
      /CiliumInternalIP","IP":"10\.7\.1\.1"/,
    );

    await store.apply([
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { name: 'closed', namespace: 'shop' },
        spec: {
          podSelector: { matchLabels: { app: 'web' } },
          policyTypes: ['Ingress'],
          ingress: [{ from: [{ ipBlock: { cidr: '203.0.113.0/24' } }] }],
        },
      },
    ]);
    await until(
      'ingress is enforced',
      () => datapath.endpointRows.get(endpoint.addresses.ipv4)?.ingress === 'enforced',
    );
    const audit = async (policyAudit: boolean) =>
      (await ask('PATCH', `/v1/endpoints/${endpoint.id}`, { policyAudit })).body.policy;
    assert.deepEqual(await audit(true), { ingress: false, egress: false, audit: true });
    assert.equal(datapath.endpointRows.get(endpoint.addresses.ipv4)?.ingress, 'audit');
    assert.deepEqual(await audit(false), { ingress: true, egress: false, audit: false });
    assert.equal(
      (await ask('PATCH', `/v1/endpoints/${endpoint.id}`, { policyAudit: 'yes' })).status,
      400,
    );
    await until(
      'the CIDR has its identity',
      () => (datapath.ipcacheRows.get('203.0.113.0/24' as never)?.identity ?? 0) >>> 24 === 1,
    );
    const trace = await ask('POST', '/v1/policy/trace', {
      from: 'world-ipv4',
      to: 'shop/web',
      port: 80,
      protocol: 'TCP',
    });
    assert.equal(trace.body.allowed, false, JSON.stringify(trace.body));
    const supposed = await ask('POST', '/v1/policy/what-if', {
      manifests: [{ apiVersion: 'v1', kind: 'Pod' }],
    });
    assert.equal(supposed.status, 400);

    await store.apply([
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'web', namespace: 'shop', labels: { app: 'other' } },
        spec: { containers: [] },
      },
    ]);
    await until(
      'the new labels are in force',
      () => datapath.endpointRows.get(endpoint.addresses.ipv4)?.ingress === 'off',
    );
    const changed = (await ask('GET', `/v1/endpoints/${endpoint.id}`)).body;
    assert.notEqual(changed.identity, endpoint.identity);
    await until(
      'the cluster knows',
      async () =>
        (await kv.get(`cilium/state/ip/v1/default/${endpoint.addresses.ipv4}`))?.text.includes(
          `"ID":${changed.identity}`,
        ) === true,
    );

    assert.equal((await ask('DELETE', '/v1/endpoints/by-container/c1/eth0')).status, 200);
    assert.equal((await ask('DELETE', '/v1/endpoints/by-container/c1/eth0')).body.removed, false);
    assert.equal(datapath.endpointRows.size, 0);
    await until(
      'the ip entry is gone',
      async () =>
        (await kv.get(`cilium/state/ip/v1/default/${endpoint.addresses.ipv4}`)) === undefined,
    );
    await kv[Symbol.asyncDispose]();
  });

  test('restart: endpoints, addresses and rows go on; without the store new pods are served too', async () => {
    const netns = namespace();
    let before: { id: number; addresses: { ipv4: string } };
    {
      await using _agent = await start();
      await ready();
      before = (
        await ask('POST', '/v1/endpoints', {
          containerId: 'r1',
          ifname: 'eth0',
          netns,
          podNamespace: 'shop',
          podName: 'web',
        })
      ).body;
    }
    const rows = JSON.stringify([...datapath.endpointRows]);
    fs.mkdirSync(path.join(runDir, 'deletions'), { recursive: true });
    fs.writeFileSync(
      path.join(runDir, 'deletions/gone@eth0.json'),
      JSON.stringify({
        version: 1,
        containerId: 'gone',
        ifname: 'eth0',
        netns: '',
        requestedAt: '',
      }),
    );
    await etcd.stop();
    {
      await using _agent = await start();
      assert.equal(
        JSON.stringify([...datapath.endpointRows]),
        rows,
        'nothing of the old endpoint moved',
      );
      const { body } = await ask('GET', '/v1/endpoints');
      assert.deepEqual(
        body.map((each: { id: number; state: string }) => [each.id, each.state]),
        [[before.id, 'ready']],
      );
      const added = await ask('POST', '/v1/endpoints', {
        containerId: 'r2',
        ifname: 'eth0',
        netns: namespace(),
        podNamespace: 'shop',
        podName: 'late',
      });
      assert.equal(added.status, 201, JSON.stringify(added.body));
      assert.equal(added.body.identity, 5);
      assert.notEqual(added.body.addresses.ipv4, before.addresses.ipv4);
      const row = datapath.endpointRows.get(added.body.addresses.ipv4)!;
      assert.deepEqual(
        [row.ingress, row.egress],
        ['enforced', 'enforced'],
        'closed until its policy is known',
      );
      assert.deepEqual(fs.readdirSync(path.join(runDir, 'deletions')), []);
      assert.equal((await ask('GET', '/v1/status')).body.ready, false);

      await etcd.start();
      await store.apply([
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'late', namespace: 'shop', labels: { app: 'late' } },
          spec: { containers: [] },
        },
      ]);
      await until(
        'the late pod is itself',
        async () => (await ask('GET', `/v1/endpoints/${added.body.id}`)).body.identity > 255,
      );
      await ready();
      const { body: gc } = await ask('POST', '/v1/gc', { validAttachments: [] });
      assert.equal(gc.removed.length, 2);
    }
    assert.equal(datapath.endpointRows.size, 0);
  });

  test('a store that is slow, cut off, emptied or full of nonsense takes nothing out of force', async () => {
    await using _agent = await start();
    await ready();
    const closed = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'closed', namespace: 'shop' },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    };
    const pod = (name: string) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'shop', labels: { app: name } },
      spec: { containers: [] },
    });
    await store.apply([closed, pod('f1'), pod('f2'), pod('f3')]);
    const add = async (name: string) => {
      const body = {
        containerId: name,
        ifname: 'eth0',
        netns: namespace(),
        podNamespace: 'shop',
        podName: name,
      };
      const answer = await ask('POST', '/v1/endpoints', body);
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      return answer.body;
    };
    const one = await add('f1');
    const ingress = (endpoint: { addresses: { ipv4: string } }) =>
      datapath.endpointRows.get(endpoint.addresses.ipv4 as never)?.ingress;
    await until('ingress is enforced', () => ingress(one) === 'enforced');

    etcd.slow(200);
    const two = await add('f2');
    assert.equal(ingress(two), 'enforced');
    etcd.slow(0);

    etcd.freeze();
    const three = await add('f3');
    assert.equal(ingress(three), 'enforced', 'its own policy needs no number');
    etcd.thaw();
    await until(
      'it has its number',
      async () => (await ask('GET', `/v1/endpoints/${three.id}`)).body.identity > 255,
    );

    const kv = etcd.connect();
    await kv.put('causeway/registry/networking.k8s.io/networkpolicies/shop/closed', 'not a policy');
    await until('it is reported', async () => {
      const { body } = await ask('GET', '/v1/status');
      return body.sources.some(
        (row: { name: string; healthy: boolean }) => row.name === 'NetworkPolicy' && !row.healthy,
      );
    });
    assert.equal(ingress(one), 'enforced', 'the last good version stays');

    etcd.wipe();
    await until(
      'the node says itself again',
      async () => (await kv.get('cilium/state/nodes/v1/test/a')) !== undefined,
    );
    await until(
      'the number is put back',
      async () =>
        (await kv.get(`cilium/state/identities/v1/id/${one.identity}`))?.text.includes('app=f1') ===
        true,
    );
    await until('it is said', async () => {
      const { body } = await ask('GET', '/v1/status');
      return body.sources.some((row: { detail: string }) => row.detail.includes('was emptied'));
    });
    assert.equal(ingress(one), 'enforced', 'nothing is flushed');
    assert.equal((await ask('GET', `/v1/endpoints/${one.id}`)).body.identity, one.identity);
    const still = await ask('POST', '/v1/endpoints', {
      containerId: 'f4',
      ifname: 'eth0',
      netns: namespace(),
    });
    assert.equal(still.status, 201);
    await kv[Symbol.asyncDispose]();

    datapath.full = new Error('map policy is full');
    const refused = await ask('POST', '/v1/endpoints', {
      containerId: 'f5',
      ifname: 'eth0',
      netns: namespace(),
      labels: { new: 'one' },
    });
    assert.equal(refused.status, 500);
    assert.match(refused.body.error.message, /map policy is full/);
    assert.equal((await ask('GET', '/v1/endpoints')).body.length, 4, 'nothing is left of it');
    datapath.full = undefined;
    await until(
      'writes go on',
      async () =>
        (
          await ask('POST', '/v1/endpoints', {
            containerId: 'f5',
            ifname: 'eth0',
            netns: namespace(),
            labels: { new: 'one' },
          })
        ).status === 201,
    );
    assert.equal((await ask('POST', '/v1/gc', { validAttachments: [] })).body.removed.length, 5);
  });

  test('an empty store is no reason to take anything away, and is said to be the reason', async () => {
    await using _agent = await start();
    await until('the reason is said', async () =>
      /holds no object at all/.test((await ask('GET', '/v1/status')).body.reasons.join()),
    );
    await store.apply([
      ownNode,
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    ]);
    await ready();
  });

  test('the monitor tells in words what was dropped, as long as somebody reads', async () => {
    await using _agent = await start();
    await ready();
    const event = {
      type: 'drop' as const,
      reason: 'spoofed-source',
      sentence: 'the source address is not one of the sender',
      hook: 'from_pod',
      direction: 'egress' as const,
      source: Address.parse('203.0.113.7'),
      destination: Address.parse('10.7.1.9'),
      sourcePort: 4000,
      destinationPort: 80,
      protocol: 6,
      icmpType: 0,
      length: 74,
      sourceIdentity: 0,
      destinationIdentity: 1,
      rule: 0,
      endpoint: 0,
      ifindex: 7,
    };
    const line = await new Promise<Body>((resolve, reject) => {
      const call = http.get(
        {
          agent: false,
          socketPath: path.join(runDir, 'agent.sock'),
          path: '/v1/monitor?type=drop,verdict',
        },
        (response) => {
          response.once('data', (chunk) => {
            resolve(JSON.parse(String(chunk)));
            call.destroy();
          });
        },
      );
      call.on('error', reject);
      void until('somebody reads', () => datapath.wish?.verdicts === true).then(
        () => datapath.emit(event),
        reject,
      );
    });
    assert.match(
      line.text,
      /^dropped: 203\.0\.113\.7:4000 -> 10\.7\.1\.9:80 \(host\) TCP: the source/,
    );
    await until('nobody reads any more', () => datapath.wish?.verdicts === false);
    const drops = (await ask('GET', '/v1/drops')).body;
    assert.equal(drops.recent[0].reason, 'spoofed-source');
  });

  test('the agent ends at once, also while the store is away', async () => {
    for (const away of [() => etcd.stop(), () => etcd.freeze()]) {
      const agent = await start();
      away();
      await new Promise((resolve) => setTimeout(resolve, 100));
      const from = performance.now();
      await agent[Symbol.asyncDispose]();
      assert.ok(performance.now() - from < 3_000, `it took ${performance.now() - from} ms`);
      etcd.thaw();
      etcd.start();
    }
  });

  test('requests that make no sense are refused in the form of the contract', async () => {
    await using _agent = await start();
    const cases: [
      method: string,
      target: string,
      body: unknown,
      status: number,
      code: string,
      field?: string,
    ][] = [
      ['POST', '/v1/endpoints', '{', 400, 'bad-request'],
      ['POST', '/v1/endpoints', {}, 400, 'bad-request', 'containerId'],
      [
        'POST',
        '/v1/endpoints',
        { containerId: '../x', ifname: 'eth0', netns: '/x' },
        400,
        'bad-request',
        'containerId',
      ],
      [
        'POST',
        '/v1/endpoints',
        { containerId: 'x', ifname: 'a/b', netns: '/x' },
        400,
        'bad-request',
        'ifname',
      ],
      [
        'POST',
        '/v1/endpoints',
        { containerId: 'x', ifname: 'eth0', netns: '/x', color: 1 },
        400,
        'bad-request',
        'color',
      ],
      [
        'POST',
        '/v1/gc',
        { validAttachments: [{ containerId: 'x' }] },
        400,
        'bad-request',
        'validAttachments.0.ifname',
      ],
      ['GET', '/v1/endpoints/0', undefined, 400, 'bad-request', 'id'],
      ['GET', '/v1/endpoints/77', undefined, 404, 'not-found', 'id'],
      ['GET', '/v1/tables/nope', undefined, 404, 'not-found', 'table'],
      ['GET', '/v1/monitor?type=noise', undefined, 400, 'bad-request', 'type'],
      ['GET', '/v1/nothing', undefined, 404, 'unknown-route', 'path'],
      [
        'POST',
        '/v1/policy/trace',
        { from: 'nobody/there', to: 'world' },
        400,
        'bad-request',
        'from',
      ],
      ['POST', '/v1/gc', `"${'x'.repeat(5_000_000)}"`, 413, 'body-too-large'],
    ];
    for (const [method, target, body, status, code, field] of cases) {
      const answer = await ask(method, target, body);
      assert.equal(answer.status, status, `${method} ${target}: ${JSON.stringify(answer.body)}`);
      assert.equal(answer.body.error.code, code);
      if (field !== undefined) assert.equal(answer.body.error.field, field);
    }
    for (const name of (await ask('GET', '/v1/tables')).body) {
      assert.equal((await ask('GET', `/v1/tables/${name}`)).status, 200, name);
    }
    for (const name of [
      'identities',
      'ipcache',
      'nodes',
      'services',
      'bgp',
      'policy',
      'drops',
      'metrics/datapath',
    ]) {
      assert.equal((await ask('GET', `/v1/${name}`)).status, 200, name);
    }
  });

  test('what the store says of BGP reaches the speaker, survives the agent, and its password nobody sees', async () => {
    await using speaker = new FakeSpeaker(path.join(runDir, 'speaker.sock'));
    await speaker.start();
    await store.apply([
      { ...ownNode, metadata: { name: 'a', labels: { rack: 'r1' } } },
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'ServiceCIDR',
        metadata: { name: 'kubernetes' },
        spec: { cidrs: ['10.96.0.0/16'] },
      },
    ]);
    await store.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'till', namespace: 'shop', labels: { bgp: 'yes' } },
        spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }], selector: { app: 'till' } },
      },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'rack', namespace: 'kube-system' },
        stringData: { password: 'correct-horse' },
      },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'rack', namespace: 'elsewhere' },
        stringData: { password: 'wrong-mule' },
      },
      {
        apiVersion: 'cilium.io/v2alpha1',
        kind: 'CiliumBGPClusterConfig',
        metadata: { name: 'r1' },
        spec: {
          nodeSelector: { matchLabels: { rack: 'r1' } },
          bgpInstances: [
            {
              name: 'main',
              localASN: 65001,
              peers: [
                {
                  name: 'tor',
                  peerASN: 65000,
                  peerAddress: '192.0.2.254',
                  peerConfigRef: { name: 'tor' },
                },
              ],
            },
          ],
        },
      },
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPPeerConfig',
        metadata: { name: 'tor' },
        spec: {
          authSecretRef: 'rack',
          families: [{ afi: 'ipv4', safi: 'unicast', advertisements: {} }],
        },
      },
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumBGPAdvertisement',
        metadata: { name: 'all' },
        spec: {
          advertisements: [
            { advertisementType: 'PodCIDR' },
            {
              advertisementType: 'Service',
              service: { addresses: ['ClusterIP'] },
              selector: { matchLabels: { bgp: 'yes' } },
            },
          ],
        },
      },
    ]);
    const config = { nativeRouting: { mode: 'bgp' }, socketLB: { enabled: true } } as const;
    using socket = RtSocket.open();
    const unreachable = () =>
      socket
        .routes({ protocol: causewayProtocol })
        .filter(({ type }) => type === 'unreachable')
        .map(({ destination }) => Address.fromBytes(destination!));
    {
      await using _agent = await start(config);
      await until('the speaker knows', () => speaker.paths?.length === 2);
      assert.deepEqual(
        speaker.paths?.map(({ prefix }) => prefix),
        ['10.7.1.0/24', '10.96.0.7/32'],
      );
      const [neighbor] = speaker.config!.neighbors;
      assert.deepEqual([neighbor?.name, neighbor?.password], ['tor', 'correct-horse']);
      assert.equal(speaker.config!.routerId, '192.0.2.1');
      await until('what is announced does not go back by the default route', () =>
        unreachable().includes(Address.parse('10.96.0.7')),
      );
      const tables = (await ask('GET', '/v1/tables')).body as string[];
      for (const target of [
        '/v1/bgp',
        '/v1/status',
        ...tables.map((name) => `/v1/tables/${name}`),
      ]) {
        const { status, body } = await ask('GET', target);
        assert.equal(status, 200, target);
        assert.doesNotMatch(
          JSON.stringify(body),
          /correct-horse|Y29ycmVjdC1ob3JzZQ|wrong-mule/,
          target,
        );
      }
      const { body } = await ask('GET', '/v1/bgp');
      assert.equal(body.clusterConfig, 'r1');
      assert.deepEqual(
        body.announcements.map((row: Body) => [row.prefix, row.announced, row.reason]).sort(),
        [
          ['10.7.1.0/24', true, 'all selects it'],
          ['10.96.0.7/32', true, 'all selects it'],
          ['fd00:7:1::/64', false, "no peer's CiliumBGPPeerConfig chooses all for ipv6-unicast"],
        ],
      );
      const { reconcilers } = (await ask('GET', '/v1/status')).body;
      for (const name of ['bgp', 'speaker'])
        assert.equal(reconcilers.find((row: Body) => row.name === name).healthy, true, name);
    }
    const [told, paths] = [speaker.config, speaker.paths];
    assert.ok(
      !speaker.requests.some((each) => each.startsWith('DELETE')),
      'the end takes nothing back',
    );
    assert.deepEqual(unreachable(), ['10.96.0.7'], 'nor here');
    const before = speaker.requests.length;
    await using _again = await start(config);
    await until('told again', () => speaker.requests.length >= before + 2);
    assert.deepEqual([speaker.config, speaker.paths], [told, paths]);
    assert.deepEqual(unreachable(), ['10.96.0.7']);
    await store.delete('CiliumBGPClusterConfig', { name: 'r1' });
    await until(
      'the node is silent',
      () => speaker.config === undefined && unreachable().length === 0,
    );
  });

  test('a kernel without a feature is refused in words', async () => {
    await assert.rejects(start({ simulate: { missingFeatures: ['redirect-peer'] } }), {
      code: 'missing-feature',
      message: /redirect-peer.*5\.10/,
    });
    await assert.rejects(start({ simulate: { missingFeatures: ['warp'] } }), {
      code: 'bad-config',
    });
  });
});
