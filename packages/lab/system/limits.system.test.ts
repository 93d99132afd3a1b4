import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../index.ts';
import { attach, barePod, cni, detach } from './bare-pods.ts';
import { apply, eventually, expectNow, expectSoon, statusOf, useLab } from './support.ts';

const CLIENT = 'main/default/client';
const STRANGER = 'main/default/stranger';
const LIMITS = { endpoints: 16, ipcache: 40, policy: 64 };

const lab = useLab(
  'full',
  `racks:
  - {name: rack, ipv4: 192.168.34.0/24, ipv6: "fd36::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.34.0.0/16, ipv6: "fd36:1::/48"}
    agent: {limits: ${JSON.stringify(LIMITS)}}
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: client, node: n1, labels: {app: client}}
      - {name: stranger, node: n1, labels: {app: stranger}}
      - {name: server, node: n2, labels: {app: server}, serve: [{port: 80, type: http}]}
`,
  async () => {
    await apply(lab(), 'main', policy('server', { app: 'client' }, [80]));
    await expectSoon(await inForce());
  },
);

const policy = (name: string, from: Record<string, string>, ports: readonly number[]) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'default' },
  spec: {
    podSelector: { matchLabels: { app: 'server' } },
    ingress: [
      {
        from: [{ podSelector: { matchLabels: from } }],
        ports: ports.map((port) => ({ protocol: 'TCP', port })),
      },
    ],
  },
});

/** The policy of the beginning: the client gets an answer, the stranger none. */
async function inForce() {
  return (await lab().addresses('main/default/server')).flatMap((address) => [
    {
      what: `client asks ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.http(CLIENT, address, 80, { seconds: 1 }),
    },
    {
      what: `stranger asks ${address}`,
      wanted: 'timeout' as const,
      attempt: () => lab().traffic.http(STRANGER, address, 80, { seconds: 1 }),
    },
  ]);
}

/** The first row of health that names a full map with its limit. */
const saysFull = (node: string, map: string, limit: number) =>
  eventually(`${node} says that ${map} is full`, async () => {
    const { reconcilers } = await statusOf(lab(), node);
    return reconcilers.find(
      ({ healthy, detail }) =>
        !healthy && detail.includes(map) && detail.includes('full') && detail.includes(`${limit}`),
    );
  });

const healthy = (node: string) =>
  until(
    `health of ${node}`,
    async () => {
      const { reconcilers } = await statusOf(lab(), node);
      const ill = reconcilers.find((each) => !each.healthy);
      return ill === undefined ? undefined : `${ill.name}: ${ill.detail}`;
    },
    { timeoutMs: 20_000 },
  );

test('a full node refuses a pod by naming the limit, and takes one when another goes', async () => {
  const pods = await Promise.all(
    Array.from({ length: LIMITS.endpoints - 1 }, (_, i) => barePod(lab(), 'n1', `many-${i}`)),
  );
  const [last, ...rest] = pods;
  const added = await Promise.all(rest.map((pod) => attach(lab(), pod)));
  assert.equal(new Set(added.flat()).size, added.flat().length);
  const { code, stdout } = await cni(lab(), 'ADD', last!);
  assert.notEqual(code, 0);
  assert.match(stdout, /limits\.endpoints/);
  assert.match(stdout, /16/);
  await expectNow(await inForce());
  await detach(lab(), rest[0]!);
  await attach(lab(), last!);
  await Promise.all([...rest.slice(1), last!].map((pod) => detach(lab(), pod)));
  const left = (await lab().agent('n1').get('/v1/endpoints')) as unknown[];
  assert.equal(left.length, 2);
});

test('a full ipcache is named with its limit, keeps what it has, and fills up when there is room', async () => {
  const store = await lab().cluster().store();
  const cidrs = Array.from({ length: 60 }, (_, i) => `198.51.100.${i}/32`);
  await store.apply([
    {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNetworkPolicy',
      metadata: { name: 'many', namespace: 'default' },
      spec: {
        endpointSelector: { matchLabels: { app: 'stranger' } },
        ingress: [{ fromCIDR: cidrs }],
      },
    },
  ]);
  await saysFull('n1', 'ipcache', LIMITS.ipcache);
  await expectNow(await inForce());
  await store.delete('CiliumNetworkPolicy', { namespace: 'default', name: 'many' });
  await healthy('n1');
  await expectNow(await inForce());
  await store.apply([
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'after-ipcache', namespace: 'default', labels: { app: 'client' } },
      spec: { nodeName: 'n1', containers: [{ name: 'main' }] },
    },
  ]);
  const pod = await barePod(lab(), 'n1', 'after-ipcache');
  const [address] = await attach(lab(), pod);
  await expectSoon([
    {
      what: 'a pod that comes later is known on the other node',
      wanted: 'answered',
      attempt: () => lab().traffic.ping('main/default/server', address!),
    },
  ]);
  await detach(lab(), pod);
});

test('a full policy map is named with its limit, keeps what is in force, and goes on when the policy shrinks', async () => {
  const store = await lab().cluster().store();
  const many = Array.from({ length: 200 }, (_, i) => 10_000 + 2 * i);
  await store.apply([policy('many', { app: 'stranger' }, many)]);
  await saysFull('n2', 'policy', LIMITS.policy);
  await expectNow(await inForce());
  const pod = await barePod(lab(), 'n2', 'while-full');
  const { code, stdout } = await cni(lab(), 'ADD', pod);
  // Its own set needs room too: taken or refused, never half there.
  if (code === 0) await detach(lab(), pod);
  else assert.match(stdout, /policy.*full|full.*policy/);
  await store.apply([policy('many', { app: 'stranger' }, [80])]);
  await healthy('n2');
  await expectSoon(
    (await lab().addresses('main/default/server')).map((address) => ({
      what: `the smaller policy lets the stranger in over ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.http(STRANGER, address, 80, { seconds: 1 }),
    })),
  );
  await store.apply([policy('many', { app: 'stranger' }, many)]);
  await saysFull('n2', 'policy', LIMITS.policy);
  await store.delete('NetworkPolicy', { namespace: 'default', name: 'many' });
  await healthy('n2');
  await expectSoon(await inForce());
  await attach(lab(), pod);
  await detach(lab(), pod);
});
