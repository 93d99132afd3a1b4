import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { buildLab, destroyLab, type Lab, parseLabFile, until } from '../index.ts';
import { otherHierarchies } from './host/cgroup.ts';

const NAME = `t-cont-${process.pid}`;
const FILE = `
racks: [{name: rack, ipv4: 192.168.57.0/24, ipv6: "fd57::/64"}]
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.57.0.0/16, ipv6: "fd57:1::/48"}
    serviceCIDRs: [10.58.0.0/16, "fd57:58::/112"]
    nodes: [{name: n1, rack: rack}, {name: n2, rack: rack}]
    pods:
      - {name: bare, node: n1}
      - {name: real, node: n2, labels: {app: real}, runtime: containerd, serve: [{port: 80, type: http}, {port: 7, type: udp}]}
      - {name: other, node: n2, runtime: containerd}
`;
let lab: Lab;

before(async () => {
  lab = await buildLab({ file: parseLabFile(FILE, NAME), source: NAME, name: NAME });
});
after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await destroyLab(NAME, { force: true });
  for (const hierarchy of otherHierarchies())
    assert.deepEqual(
      readdirSync(hierarchy).filter((entry) => entry.includes(NAME)),
      [],
    );
});

test('containers run by containerd serve bare pods and each other, in both families', async () => {
  for (const address of await lab.addresses('main/default/real'))
    for (const from of [
      'main/default/bare',
      'main/default/other',
      'main/default/real',
      'n1',
      'n2',
    ]) {
      const http = await lab.traffic.http(from, address, 80);
      assert.deepEqual(
        [http.outcome, http.answer],
        ['answered', 'real'],
        `${from}: ${http.detail}`,
      );
      const udp = await lab.traffic.udp(from, address, 7, { say: 'x' });
      assert.deepEqual([udp.outcome, udp.answer], ['answered', 'real x'], `${from}: ${udp.detail}`);
    }
});

test('the node balances the sockets of what runs in a container', async () => {
  const store = await lab.cluster().store();
  const vip = '10.58.0.10';
  await store.apply([
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'real', namespace: 'default' },
      spec: {
        clusterIP: vip,
        clusterIPs: [vip],
        ipFamilies: ['IPv4'],
        selector: { app: 'real' },
        ports: [{ port: 8000, targetPort: 80 }],
      },
    },
  ]);
  await until(
    `service ${vip}`,
    async () => {
      const { outcome, answer, detail } = await lab.traffic.http('main/default/other', vip, 8000);
      return outcome === 'answered' && answer === 'real'
        ? undefined
        : `${outcome} ${answer} ${detail}`;
    },
    { timeoutMs: 25_000 },
  );
});

test('a container pod that is stopped leaves neither endpoint nor address', async () => {
  const [address] = await lab.addresses('main/default/other');
  await lab.removePod('main/default/other');
  const endpoints = (await lab.agent('n2').get('/v1/endpoints')) as { podName?: string }[];
  assert.deepEqual(
    endpoints.map(({ podName }) => podName),
    ['real'],
  );
  assert.notEqual((await lab.traffic.ping('main/default/bare', address!)).outcome, 'answered');
});
