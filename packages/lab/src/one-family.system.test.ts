// Clusters that know one address family only, on racks that have no other: nothing may lean on the one that is missing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { buildLab, destroyLab, type Lab, parseLabFile, until } from '../index.ts';

const NAME = `t-fam-${process.pid}`;
const FILE = `
racks:
  - {name: four, ipv4: 192.168.58.0/24}
  - {name: six, ipv6: "fd58::/64"}
clusters:
  - name: old
    id: 1
    families: [ipv4]
    podCIDRs: {ipv4: 10.59.0.0/16}
    serviceCIDRs: [10.60.0.0/16]
    nodes: [{name: o1, rack: four}, {name: o2, rack: four}]
    pods:
      - {name: client, node: o1}
      - {name: server, node: o2, labels: {app: server}, serve: [{port: 80, type: http}]}
  - name: new
    id: 2
    families: [ipv6]
    routing: {mode: tunnel, underlayFamily: ipv6}
    podCIDRs: {ipv6: "fd59::/48"}
    serviceCIDRs: ["fd60::/112"]
    nodes: [{name: s1, rack: six}, {name: s2, rack: six}]
    pods:
      - {name: client, node: s1}
      - {name: server, node: s2, labels: {app: server}, serve: [{port: 80, type: http}]}
`;
let lab: Lab;

before(async () => {
  lab = await buildLab({ file: parseLabFile(FILE, NAME), source: NAME, name: NAME });
});
after(async () => {
  await lab?.[Symbol.asyncDispose]();
  await destroyLab(NAME, { force: true });
});

for (const [cluster, family] of [
  ['old', 'ipv4'],
  ['new', 'ipv6'],
] as const) {
  test(`a cluster of ${family} alone: pods have one address, and reach pods and services by it`, async () => {
    const addresses = await lab.addresses(`${cluster}/default/server`);
    assert.equal(addresses.length, 1);
    assert.equal(addresses[0]!.includes(':'), family === 'ipv6');
    const direct = await lab.traffic.http(`${cluster}/default/client`, addresses[0]!, 80);
    assert.deepEqual([direct.outcome, direct.answer], ['answered', 'server'], direct.detail);
    const store = await lab.cluster(cluster).store();
    await store.apply([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'server', namespace: 'default' },
        spec: { selector: { app: 'server' }, ports: [{ port: 8000, targetPort: 80 }] },
      },
    ]);
    const { spec } = await store.get('Service', { namespace: 'default', name: 'server' });
    const [vip] = spec.clusterIPs ?? [];
    assert.equal(vip?.includes(':'), family === 'ipv6');
    await until(
      `service ${vip}`,
      async () => {
        const { outcome, detail } = await lab.traffic.http(`${cluster}/default/client`, vip!, 8000);
        return outcome === 'answered' ? undefined : detail;
      },
      { timeoutMs: 25_000 },
    );
    const node = lab.cluster(cluster).agents[0]!.node.name;
    assert.equal((await lab.traffic.http(node, addresses[0]!, 80)).outcome, 'answered');
  });
}
