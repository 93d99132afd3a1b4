import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Address } from '@causeway/ip';
import { joinClusters, type LabOperator, runMesh } from '../index.ts';
import {
  answeredBy,
  attemptsAt,
  bothOf,
  credentialsFor,
  globalService,
  letsIn,
  lostOf,
  peerBecomes,
  peerIsGone,
  peersOf,
  restartStore,
  serviceAddresses,
  withGrace,
} from './mesh.ts';
import { apply, eventually, expectNow, expectSoon, type Outcome, useLab } from './support.ts';

const CLIENT = 'east/default/client';
const NEAR = 'east/default/near';
const FAR = 'west/default/far';
const GUEST = 'west/default/guest';
const VM = 'vm';
/** East's is long enough to be seen on a busy machine, and short enough to be waited for; west's is never over here. */
const GRACE_SECONDS: Readonly<Record<string, number>> = { east: 8, west: 900 };

let far: string[] = [];
let near: string[] = [];
let web: readonly string[] = [];
let westWeb: readonly string[] = [];

const lab = useLab(
  'mesh-tunnel',
  {
    shipped: 'two-clusters-tunnel',
    change: (file) => withGrace(file, (cluster) => GRACE_SECONDS[cluster] ?? 900, 2),
  },
  async () => {
    for (const cluster of ['east', 'west'])
      await apply(lab(), cluster, globalService('web', 'web'));
    [near, far] = await Promise.all([bothOf(lab(), NEAR), bothOf(lab(), FAR)]);
    [web, westWeb] = await Promise.all([
      serviceAddresses(lab(), 'east', 'web'),
      serviceAddresses(lab(), 'west', 'web'),
    ]);
  },
);

const asks = (from: string, addresses: readonly string[], wanted: 'answered' | 'timeout') =>
  addresses.map((address) => ({
    what: `${from} asks ${address}`,
    wanted,
    attempt: () => lab().traffic.http(from, address, 80, { seconds: 1 }),
  }));

async function leaderOf(cluster: string): Promise<LabOperator> {
  return eventually(`an operator of ${cluster} leads`, async () => {
    for (const operator of lab().cluster(cluster).operators)
      if (operator.pid !== undefined && (await operator.leads())) return operator;
    return undefined;
  });
}

// What a test broke must not be broken for the next one.
afterEach(async () => {
  for (const { etcd, operators } of lab().clusters) {
    await etcd.start();
    for (const operator of operators) await operator.start();
  }
});

test('pods of both clusters reach each other in the tunnel, small and large, over both families', async () => {
  await expectSoon([
    ...asks(CLIENT, far, 'answered'),
    ...asks(GUEST, near, 'answered'),
    ...far.map((address) => ({
      what: `a packet of 4,000 bytes to ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.ping(CLIENT, address, { size: 4000 }),
    })),
  ]);
  const own = await bothOf(lab(), CLIENT);
  for (const address of far) {
    const { answer } = await lab().traffic.tcp(CLIENT, address, 7000);
    const seen = Address.parse(/\[(.*)\]/.exec(answer)?.[1] ?? '::');
    assert.ok(own.includes(seen), `the pod is seen by its own address: ${answer}`);
  }
});

test('a policy goes by cluster: one cluster’s client is let in, its own and others are not', async () => {
  await apply(lab(), 'west', {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      endpointSelector: { matchLabels: { app: 'web' } },
      ingress: [
        {
          fromEndpoints: [
            { matchLabels: { app: 'client', 'io.cilium.k8s.policy.cluster': 'east' } },
          ],
        },
      ],
    },
  });
  await expectSoon([
    ...asks(CLIENT, far, 'answered'),
    ...asks(GUEST, far, 'timeout'),
    ...asks(NEAR, far, 'timeout'),
  ]);
  await (await lab().cluster('west').store()).delete('CiliumNetworkPolicy', {
    namespace: 'default',
    name: 'web',
  });
  await expectSoon(asks(NEAR, far, 'answered'));
});

test('a global service is answered by both clusters', async () => {
  await answeredBy(lab(), CLIENT, web, ['far', 'near']);
});

test('a virtual machine with an agent is an endpoint: policy by label, of both clusters and both directions', async () => {
  const vm = await bothOf(lab(), VM);
  const talks = (from: string, addresses: readonly string[], port: number, wanted: Outcome) =>
    addresses.map((address) => ({
      what: `${from} talks to ${address} port ${port}`,
      wanted,
      attempt: () => lab().traffic.tcp(from, address, port, { seconds: 1 }),
    }));
  await expectSoon([
    ...talks(NEAR, vm, 6379, 'answered'),
    ...talks(VM, near, 7000, 'answered'),
    ...talks(VM, far, 7000, 'answered'),
  ]);
  const client = { matchLabels: { app: 'client', 'io.cilium.k8s.policy.cluster': 'east' } };
  await apply(lab(), 'west', {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: 'ledger', namespace: 'default' },
    spec: {
      endpointSelector: { matchLabels: { app: 'ledger' } },
      ingress: [
        {
          fromEndpoints: [client, { matchLabels: { app: 'client' } }],
          toPorts: [{ ports: [{ port: '6379', protocol: 'TCP' }] }],
        },
      ],
      egress: [{ toEndpoints: [{ matchLabels: { app: 'web' } }] }],
    },
  });
  await expectSoon([
    ...talks(GUEST, vm, 6379, 'answered'),
    ...talks(CLIENT, vm, 6379, 'answered'),
    ...talks(NEAR, vm, 6379, 'timeout'),
    ...talks(FAR, vm, 6379, 'timeout'),
    ...talks(CLIENT, vm, 80, 'timeout'),
    ...talks(VM, far, 7000, 'answered'),
    ...talks(VM, near, 7000, 'timeout'),
  ]);
  assert.equal(
    (await lab().agent(VM).missing()) ?? 'ready',
    'ready',
    'its own store is not cut off',
  );
  const store = await lab().cluster('west').store();
  await store.delete('CiliumNetworkPolicy', { namespace: 'default', name: 'ledger' });
});

test('who reads by the copy loses nothing when the store that is copied dies, and then the operator that copies it', async () => {
  const { etcd } = lab().cluster('east');
  await using all = await attemptsAt(lab(), GUEST, 'all', [...near, ...westWeb]);
  await etcd.stopAll();
  await peerBecomes(lab(), 'w1', 'east', 'stale');
  const leader = await leaderOf('west');
  await leader.kill();
  await eventually('another leads', async () => {
    const next = await leaderOf('west');
    return next === leader ? undefined : next;
  });
  await answeredBy(lab(), GUEST, westWeb, ['far', 'near']);
  await etcd.start();
  await peerBecomes(lab(), 'w1', 'east', 'ready');
  await leader.start();
  assert.deepEqual(lostOf(await all.stop()), []);
});

test('certificates and their authority change under streams of connections that lose none; the old are shut out', async () => {
  const { context } = lab();
  const [east, west] = [lab().cluster('east'), lab().cluster('west')];
  await using out = await attemptsAt(lab(), CLIENT, 'west', [...far, ...web]);
  await using back = await attemptsAt(lab(), GUEST, 'east', [...near, ...westWeb]);
  const old = await credentialsFor(lab(), 'west', 'east');
  assert.ok(await letsIn(lab(), 'west', 'east', old));
  const rotated = JSON.parse(await runMesh(context, east, 'expose', '--rotate'));
  assert.match(rotated.next[0], /^restart etcd, then the proxies, then the operators/);
  await restartStore(lab(), 'east');
  assert.ok(await letsIn(lab(), 'west', 'east', old), 'both authorities count');
  await joinClusters(context, east, west, { renew: true });
  const renewed = await credentialsFor(lab(), 'west', 'east');
  assert.ok(!(await letsIn(lab(), 'west', 'east', old)), 'taken back once the new ones are in use');
  const retired = JSON.parse(await runMesh(context, east, 'expose', '--retire'));
  assert.match(retired.next[0], /^restart etcd, then the proxies, then the operators/);
  await restartStore(lab(), 'east');
  assert.ok(await letsIn(lab(), 'west', 'east', renewed));
  for (const node of ['w1', VM]) await peerBecomes(lab(), node, 'east', 'ready');
  await eventually('east’s agent has its own store', async () =>
    (await lab().agent('e1').missing()) === undefined ? true : undefined,
  );
  assert.deepEqual([...lostOf(await out.stop()), ...lostOf(await back.stop())], []);
});

test('a cluster leaves, with the other there and without it, and joins again; what is local goes on', async () => {
  const { context } = lab();
  const [east, west] = [lab().cluster('east'), lab().cluster('west')];
  const joins = async () => {
    // A peer that left takes its authority along: its proxy, which knew it from its start, is another's now.
    await east.etcd.restartProxies();
    await joinClusters(context, east, west);
    await peerBecomes(lab(), 'e1', 'west', 'ready');
    await peerBecomes(lab(), 'w1', 'east', 'ready');
    await expectSoon([...asks(CLIENT, far, 'answered'), ...asks(GUEST, near, 'answered')]);
  };
  const apart = async () => {
    await peerIsGone(lab(), 'e1', 'west');
    await peerIsGone(lab(), 'w1', 'east');
    await answeredBy(lab(), CLIENT, web, ['near']);
    await answeredBy(lab(), GUEST, westWeb, ['far']);
  };
  await using local = await attemptsAt(lab(), CLIENT, 'near', near);
  const left = JSON.parse(await runMesh(context, west, 'leave', 'east'));
  assert.equal(left.told.type, 'told');
  await apart();
  await joins();

  for (const operator of west.operators) await operator.kill();
  const alone = JSON.parse(await runMesh(context, east, 'leave', 'west'));
  assert.equal(alone.told.type, 'not-told');
  for (const operator of west.operators) await operator.start();
  await runMesh(context, west, 'leave', 'east');
  await apart();
  await joins();
  assert.deepEqual(lostOf(await local.stop()), []);
});

test('a peer’s store that dies is nothing within the grace; after it only what is local is left, until it comes back', async () => {
  const { etcd } = lab().cluster('west');
  await using local = await attemptsAt(lab(), CLIENT, 'near', near);
  const before = await attemptsAt(lab(), CLIENT, 'all', [...far, ...web]);
  await etcd.stop('SIGKILL');
  const row = await peerBecomes(lab(), 'e1', 'west', 'stale');
  assert.ok(row['last-contact'] !== undefined, 'its age is told');
  assert.deepEqual(lostOf(await before.stop()), [], 'within the grace');
  await answeredBy(lab(), CLIENT, web, ['near']);
  await peerBecomes(lab(), 'e1', 'west', 'withdrawn');
  await etcd.start();
  await peerBecomes(lab(), 'e1', 'west', 'ready');
  await answeredBy(lab(), CLIENT, web, ['far', 'near']);
  await expectSoon(asks(CLIENT, far, 'answered'));
  assert.deepEqual(lostOf(await local.stop()), [], 'local traffic');
});

test('a peer that claims others’ addresses and numbers, and malformed values, are refused and shown; nothing is harmed', async () => {
  const kv = await lab().cluster('west').kv();
  const entry = (ip: string, id: number, more: object = {}) =>
    JSON.stringify({
      IP: ip,
      Mask: null,
      HostIP: '192.168.82.11',
      ID: id,
      Key: 0,
      Metadata: '',
      ...more,
    });
  const [ours = ''] = near;
  const hostile: Record<string, string> = {
    [`cilium/state/ip/v1/default/${ours}`]: entry(ours, (2 << 16) + 300),
    'cilium/state/ip/v1/default/0.0.0.0/0': entry('0.0.0.0', (2 << 16) + 300, { Mask: 'AAAAAA==' }),
    'cilium/state/ip/v1/default/10.82.200.1': entry('10.82.200.1', (1 << 16) + 300),
    'cilium/state/ip/v1/default/10.82.200.2': '{"IP":',
    'cilium/state/nodes/v1/west/evil': JSON.stringify({
      Name: 'evil',
      Cluster: 'west',
      ClusterID: 2,
      IPAddresses: [{ Type: 'InternalIP', IP: '192.168.81.11' }],
      IPv4AllocCIDR: { IP: '10.81.0.0', Mask: '//8AAA==' },
    }),
    'cilium/state/identities/v1/id/66000': 'k8s:app=client;k8s:io.cilium.k8s.policy.cluster=east;',
  };
  const before = (await peersOf(lab(), 'e1')).find(({ name }) => name === 'west');
  await using local = await attemptsAt(lab(), CLIENT, 'near', near);
  for (const [key, value] of Object.entries(hostile)) await kv.put(key, value);
  const wanted = (before?.counts.rejected ?? 0) + Object.keys(hostile).length;
  await eventually('all are refused', async () => {
    const row = (await peersOf(lab(), 'e1')).find(({ name }) => name === 'west');
    return row?.state === 'ready' && (row.counts.rejected ?? 0) >= wanted ? true : undefined;
  });
  const told = JSON.stringify(await lab().agent('e1').get('/v1/tables/mesh-rejected'));
  for (const key of Object.keys(hostile)) assert.ok(told.includes(key), `${key} is shown: ${told}`);
  await expectNow([...asks(CLIENT, near, 'answered'), ...asks(CLIENT, far, 'answered')]);
  assert.deepEqual(lostOf(await local.stop()), []);
  for (const key of Object.keys(hostile)) await kv.delete(key);
});
