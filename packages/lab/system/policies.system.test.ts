import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { apply, counted, type Expectation, expectSoon, type Outcome, useLab } from './support.ts';

const lab = useLab(
  'pol',
  `racks:
  - {name: rack, ipv4: 192.168.39.0/24, ipv6: "fd7c::/64"}
  - {name: street, ipv4: 172.27.0.0/24, ipv6: "fd7d::/64"}
routers: [{name: gateway, racks: [rack, street]}]
hosts:
  - {name: outside, rack: street, addresses: {ipv4: 172.27.0.10, ipv6: "fd7d::10"}, serve: [{port: 80, type: http}]}
  - {name: excepted, rack: street, addresses: {ipv4: 172.27.0.200, ipv6: "fd7d::c8"}, serve: [{port: 80, type: http}]}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.42.0.0/16, ipv6: "fd7e:1::/48"}
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: client, node: n1, labels: {app: client}}
      - {name: stranger, node: n1, labels: {app: stranger}}
      - {name: near, node: n1, labels: {app: server}, serve: [{name: web, port: 80, type: http}, {port: 8005, type: http}, {port: 8011, type: http}, {port: 7, type: udp}]}
      - {name: far, node: n2, labels: {app: server}, serve: [{name: web, port: 80, type: http}, {port: 8005, type: http}, {port: 8011, type: http}, {port: 7, type: udp}]}
`,
);

const place = (name: string) =>
  ['client', 'stranger', 'near', 'far'].includes(name) ? `main/default/${name}` : name;

/** `from` asks `to` over both families. */
async function http(from: string, to: string, wanted: Outcome, port = 80): Promise<Expectation[]> {
  return (await lab().addresses(place(to))).map((address) => ({
    what: `${from} asks ${to} at ${address} port ${port}`,
    wanted,
    attempt: () => lab().traffic.http(place(from), address, port, { seconds: 1 }),
  }));
}
async function ping(from: string, to: string, wanted: Outcome): Promise<Expectation[]> {
  return (await lab().addresses(place(to))).map((address) => ({
    what: `${from} pings ${to} at ${address}`,
    wanted,
    attempt: () => lab().traffic.ping(place(from), address),
  }));
}
const onServers = async (make: (to: string) => Promise<Expectation[]>): Promise<Expectation[]> =>
  (await Promise.all(['near', 'far'].map(make))).flat();

const policy = (app: string, spec: object, annotations: Record<string, string> = {}) =>
  apply(lab(), 'main', {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: `test-${app}`, namespace: 'default', annotations },
    spec: { endpointSelector: { matchLabels: { app } }, ...spec },
  });
const from = (app: string) => ({ fromEndpoints: [{ matchLabels: { app } }] });
const ports = (...list: object[]) => ({ toPorts: [{ ports: list }] });

afterEach(async () => {
  const store = await lab().cluster().store();
  const { items } = await store.list('CiliumNetworkPolicy');
  for (const { metadata } of items)
    await store.delete('CiliumNetworkPolicy', { namespace: 'default', name: metadata.name });
});

test('one may, others may not, the node always may; without the policy all may again', async () => {
  await policy('server', { ingress: [from('client')] });
  await expectSoon([
    ...(await onServers((to) => http('client', to, 'answered'))),
    ...(await onServers((to) => http('stranger', to, 'timeout'))),
    ...(await http('n1', 'near', 'answered')),
    ...(await http('n2', 'near', 'timeout')),
  ]);
  const store = await lab().cluster().store();
  await store.delete('CiliumNetworkPolicy', { namespace: 'default', name: 'test-server' });
  await expectSoon(await onServers((to) => http('stranger', to, 'answered')));
});

test('a deny rule goes before every allow', async () => {
  await policy('server', {
    ingress: [{ fromEntities: ['cluster'] }],
    ingressDeny: [from('stranger')],
  });
  await expectSoon([
    ...(await onServers((to) => http('client', to, 'answered'))),
    ...(await onServers((to) => http('stranger', to, 'timeout'))),
  ]);
});

test('entities: other nodes, and the world on the way out', async () => {
  await policy('server', { ingress: [{ fromEntities: ['remote-node'] }] });
  await policy('client', { egress: [{ toEntities: ['world'] }] });
  await expectSoon([
    ...(await http('n2', 'near', 'answered')),
    ...(await http('stranger', 'near', 'timeout')),
    ...(await http('client', 'outside', 'answered')),
    ...(await http('client', 'far', 'timeout')),
  ]);
});

test('CIDRs less a part of them', async () => {
  await policy('client', {
    egress: [
      {
        toCIDRSet: [
          { cidr: '172.27.0.0/24', except: ['172.27.0.128/25'] },
          { cidr: 'fd7d::/64', except: ['fd7d::80/121'] },
        ],
      },
    ],
  });
  await expectSoon([
    ...(await http('client', 'outside', 'answered')),
    ...(await http('client', 'excepted', 'timeout')),
    ...(await http('stranger', 'excepted', 'answered')),
  ]);
});

test('ports by number, by range and by name, and protocols apart', async () => {
  await policy('server', {
    ingress: [
      { ...from('client'), ...ports({ port: '8000', endPort: 8010, protocol: 'TCP' }) },
      { ...from('stranger'), ...ports({ port: 'web', protocol: 'TCP' }) },
    ],
  });
  await expectSoon([
    ...(await onServers((to) => http('client', to, 'answered', 8005))),
    ...(await onServers((to) => http('client', to, 'timeout', 8011))),
    ...(await onServers((to) => http('client', to, 'timeout', 80))),
    ...(await onServers((to) => http('stranger', to, 'answered', 80))),
    ...(await onServers((to) => ping('stranger', to, 'timeout'))),
  ]);
  await policy('server', {
    ingress: [{ ...from('client'), ...ports({ port: '7', protocol: 'UDP' }) }],
  });
  await expectSoon([
    ...(await onServers((to) => http('client', to, 'timeout', 8005))),
    ...(await lab().addresses(place('far'))).map((address) => ({
      what: `client sends to ${address}`,
      wanted: 'answered' as const,
      attempt: () => lab().traffic.udp(place('client'), address, 7, { seconds: 1 }),
    })),
  ]);
});

test('ICMP by type, in both families', async () => {
  await policy('server', {
    ingress: [
      {
        ...from('client'),
        icmps: [
          {
            fields: [
              { family: 'IPv4', type: 8 },
              { family: 'IPv6', type: 128 },
            ],
          },
        ],
      },
    ],
  });
  await expectSoon([
    ...(await onServers((to) => ping('client', to, 'answered'))),
    ...(await onServers((to) => http('client', to, 'timeout'))),
    ...(await onServers((to) => ping('stranger', to, 'timeout'))),
  ]);
});

test('an endpoint in audit lets pass and counts what it would drop', async () => {
  await policy('server', { ingress: [from('client')] });
  await expectSoon(await http('stranger', 'far', 'timeout'));
  const rows = (await lab().agent('n2').get('/v1/endpoints')) as { id: number }[];
  const before = await counted(lab(), 'n2', 'policy-audit');
  const answer = await lab()
    .agent('n2')
    .ask('PATCH', `/v1/endpoints/${rows[0]!.id}`, { policyAudit: true });
  assert.equal(answer.status, 200);
  await expectSoon(await http('stranger', 'far', 'answered'));
  assert.ok((await counted(lab(), 'n2', 'policy-audit')) > before, 'would-be drops are counted');
  await lab().agent('n2').ask('PATCH', `/v1/endpoints/${rows[0]!.id}`, { policyAudit: false });
  await expectSoon(await http('stranger', 'far', 'timeout'));
});
