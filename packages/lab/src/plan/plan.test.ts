import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { LabError } from '../errors.ts';
import { loadLab, shippedLabs } from '../file/load.ts';
import { parseLabFile } from '../file/parse.ts';
import { planLab } from './plan.ts';

const plan = (yaml: string) => planLab(parseLabFile(yaml, 'test.yaml'));
const cluster = (more: string) =>
  `clusters: [{name: c, id: 1, families: [ipv4], podCIDRs: {ipv4: 10.1.0.0/16}, ${more}}]`;

test('every shipped lab has a plan in which no address and no place stands twice', () => {
  for (const name of shippedLabs()) {
    const { places, cables, clusters } = planLab(loadLab(name).file);
    const addresses = places.flatMap((place) =>
      place.devices.flatMap((device) => device.addresses),
    );
    const texts = addresses.map(({ address }) => address);
    assert.equal(new Set(texts).size, texts.length, name);
    assert.equal(new Set(places.map(({ place }) => place)).size, places.length, name);
    const ends = cables.flatMap(({ a, b }) => [`${a.place}:${a.device}`, `${b.place}:${b.device}`]);
    assert.equal(new Set(ends).size, ends.length, name);
    for (const { nodes, settings, operators } of clusters) {
      const planned = settings.ipam === 'static';
      assert.ok(nodes.every((node) => node.podCIDRs.length > 0 === planned));
      assert.equal(operators.length, settings.operators);
    }
  }
});

test('nodes get addresses in order, fixed ones are passed over, each node its part of the pod CIDR', () => {
  const { places, clusters } = plan(`
racks: [{name: r, ipv4: 10.9.0.0/24}]
routers: [{name: gw, racks: [r]}]
hosts: [{name: h, rack: r, addresses: {ipv4: 10.9.0.12}}]
${cluster('nodes: [{name: n, rack: r, count: 3}]')}`);
  const of = (name: string) =>
    places.find(({ place }) => place === name)?.devices[0]?.addresses[0]?.address;
  assert.deepEqual(['gw', 'n1', 'n2', 'n3', 'h', 'c/etcd'].map(of), [
    '10.9.0.1',
    '10.9.0.11',
    '10.9.0.13',
    '10.9.0.14',
    '10.9.0.12',
    '10.9.0.15',
  ]);
  assert.deepEqual(
    clusters[0]?.nodes.map((node) => node.podCIDRs),
    [['10.1.0.0/24'], ['10.1.1.0/24'], ['10.1.2.0/24']],
  );
});

test('routers know the way to every prefix, by all shortest ways', () => {
  const { places } = plan(`
racks: [{name: left, ipv4: 10.9.1.0/24}, {name: right, ipv4: 10.9.2.0/24}]
routers: [{name: l, racks: [left]}, {name: r, racks: [right]}, {name: s1}, {name: s2}]
links:
  - {between: [l, s1], ipv4: 10.255.0.0/30}
  - {between: [l, s2], ipv4: 10.255.0.4/30}
  - {between: [s1, r], ipv4: 10.255.0.8/30}
  - {between: [s2, r], ipv4: 10.255.0.12/30}
${cluster('nodes: [{name: n, rack: left}]')}`);
  const routes = (name: string) =>
    new Map(
      places
        .find(({ place }) => place === name)
        ?.routes.map(({ destination, via }) => [destination, via]),
    );
  assert.deepEqual(routes('l').get(Prefix.parse('10.9.2.0/24')), ['10.255.0.2', '10.255.0.6']);
  assert.deepEqual(routes('s1').get(Prefix.parse('10.9.1.0/24')), ['10.255.0.1']);
  assert.equal(routes('l').has(Prefix.parse('10.9.1.0/24')), false, 'connected');
  assert.deepEqual(routes('n').get('default'), ['10.9.1.1']);
});

test('in native mode routers are told the pod CIDRs, through the node that holds them', () => {
  const { places, clusters } = planLab(loadLab('native').file);
  const routes = places.find(({ place }) => place === 'gateway')?.routes ?? [];
  for (const node of clusters[0]!.nodes)
    for (const podCIDR of node.podCIDRs) {
      const route = routes.find(({ destination }) => destination === podCIDR);
      assert.equal(route?.via.length, 1);
      assert.ok(node.addresses.includes(route!.via[0]!));
      assert.equal(Address.family(route!.via[0]!), Prefix.family(podCIDR));
    }
});

test('a rack with too few addresses is refused with its name and who was left over', () => {
  assert.throws(
    () =>
      plan(`
racks: [{name: small, ipv4: 10.9.0.0/29}]
${cluster('nodes: [{name: n, rack: small, count: 8}]')}`),
    (error: unknown) =>
      error instanceof LabError &&
      error.code === 'lab-file-invalid' &&
      /small.*10\.9\.0\.0\/29.*n7/.test(error.message),
  );
});

test('pods go round the nodes unless they say where', () => {
  const { clusters } = plan(`
racks: [{name: r, ipv4: 10.9.0.0/24}]
${cluster('nodes: [{name: n, rack: r, count: 2}], pods: [{name: p, count: 3}, {name: q, node: n1}, {name: z}]')}`);
  assert.deepEqual(
    clusters[0]?.pods.map((pod) => `${pod.name}@${pod.node}`),
    ['p-1@n1', 'p-2@n2', 'p-3@n1', 'q@n1', 'z@n2'],
  );
});

test('operators stand beside the store, pods of a StatefulSet count from 0, pools leave nodes without CIDRs', () => {
  const { clusters, places } = plan(`
racks: [{name: r, ipv4: 10.9.0.0/24}]
${cluster(`ipam: pools, operators: 2, nodes: [{name: n, rack: r}],
  pods: [{name: db, statefulSet: true, count: 2}, {name: web, count: 2}]`)}`);
  const [{ nodes, operators, pods } = { nodes: [], operators: [], pods: [] }] = clusters;
  assert.deepEqual(nodes[0]?.podCIDRs, []);
  assert.deepEqual(operators, [
    { place: 'c/operator-1', addresses: ['10.9.0.13'] },
    { place: 'c/operator-2', addresses: ['10.9.0.14'] },
  ]);
  assert.deepEqual(
    places.filter(({ kind }) => kind === 'operator').map(({ place }) => place),
    operators.map(({ place }) => place),
  );
  assert.deepEqual(
    pods.map(({ name, statefulSet }) => [name, statefulSet?.ordinal]),
    [
      ['db-0', 0],
      ['db-1', 1],
      ['web-1', undefined],
      ['web-2', undefined],
    ],
  );
});

test('clusters of a mesh read each other, or as pairs say, and an inventory reads nobody', () => {
  const lab = (mesh: string) =>
    plan(`
racks: [{name: r, ipv4: 10.9.0.0/24}]
mesh: ${mesh}
clusters:
  - {name: a, id: 1, families: [ipv4], podCIDRs: {ipv4: 10.1.0.0/16}, nodes: [{name: a1, rack: r}]}
  - {name: b, id: 2, families: [ipv4], podCIDRs: {ipv4: 10.2.0.0/16}, nodes: [{name: b1, rack: r}]}
  - {name: yard, id: 3, etcd: {rack: r}, inventory: {instances: 2}}`).clusters;
  const all = lab('{}');
  assert.deepEqual(
    all.map(({ mesh }) => [mesh?.reads, mesh?.readBy]),
    [
      [['b', 'yard'], ['b']],
      [['a', 'yard'], ['a']],
      [[], ['a', 'b']],
    ],
  );
  assert.deepEqual(
    all[2]?.inventories.map(({ place }) => place),
    ['yard/inventory-1', 'yard/inventory-2'],
  );
  assert.deepEqual(
    lab('{pairs: [[a, yard]]}').map(({ mesh }) => mesh?.reads),
    [['yard'], [], []],
  );
});
