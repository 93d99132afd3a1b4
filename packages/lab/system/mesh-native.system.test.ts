import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { parseManifests } from '@causeway/resources';
import { until } from '../index.ts';
import { attemptsAt, bothOf, lostOf, peerBecomes, serviceAddresses } from './mesh.ts';
import { apply, eventually, expectSoon, type Outcome, useLab } from './support.ts';

const EXAMPLES = join(import.meta.dirname, '../../../examples');
const X_WING = 'cluster1/default/x-wing';
const TIE_FIGHTER = 'cluster1/default/tie-fighter';
const TROOPER = 'cluster2/default/trooper';
const BASE_1 = 'cluster1/default/rebel-base-1';
const BASE_2 = 'cluster2/default/rebel-base-2';
const DB = 'cluster1/default/protected-db';
const WANTED = ['x-wing', 'tie-fighter', 'rebel-base-1', 'protected-db'];

let base1: string[] = [];
let base2: string[] = [];
let db: string[] = [];

/** Without what only the demonstration shows: its shop, a router that listens, a server with an agent. */
const lab = useLab(
  'mesh-native',
  {
    shipped: 'two-clusters',
    change: (file) => ({
      ...file,
      routers: file.routers.filter(({ name }) => name !== 'collector'),
      links: file.links.filter(({ between }) => !between.includes('collector')),
      clusters: file.clusters.map((cluster) => ({
        ...cluster,
        nodes: cluster.nodes.filter(({ name }) => name !== 'metal-2'),
        pods: cluster.pods.filter(({ name }) => cluster.id !== 1 || WANTED.includes(name)),
      })),
    }),
  },
  async () => {
    [base1, base2, db] = await Promise.all([
      bothOf(lab(), BASE_1),
      bothOf(lab(), BASE_2),
      bothOf(lab(), DB),
    ]);
  },
);

const example = (file: string): unknown[] =>
  parseManifests(readFileSync(join(EXAMPLES, file), 'utf8')).map(({ value }) => value);

const asks = (from: string, addresses: readonly string[], port: number, wanted: Outcome) =>
  addresses.map((address) => ({
    what: `${from} talks to ${address} port ${port}`,
    wanted,
    attempt: () => lab().traffic.tcp(from, address, port, { seconds: 1 }),
  }));

test('clusters that joined by token are peers of each other by objects, and read the inventory by its file', async () => {
  for (const [cluster, peer] of [
    ['cluster1', 'cluster2'],
    ['cluster2', 'cluster1'],
  ] as const) {
    const { items } = await (await lab().cluster(cluster).store()).list('MeshPeer');
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      [peer],
    );
  }
});

test('pods of both clusters reach each other natively, seen by their own addresses', async () => {
  await expectSoon([
    ...asks(TIE_FIGHTER, base2, 7000, 'answered'),
    ...asks(TROOPER, base1, 7000, 'answered'),
  ]);
  const own = await bothOf(lab(), TIE_FIGHTER);
  for (const address of base2) {
    const { answer } = await lab().traffic.tcp(TIE_FIGHTER, address, 7000);
    const seen = Address.parse(/\[(.*)\]/.exec(answer)?.[1] ?? '::');
    assert.ok(own.includes(seen), `the pod is seen by its own address: ${answer}`);
  }
});

test('x-wing of cluster1 may go to rebel-base of cluster2, and nobody else', async () => {
  await apply(lab(), 'cluster1', ...example('rebel-base/allow-cross-cluster.yaml'));
  await apply(lab(), 'cluster2', ...example('rebel-base/only-x-wing.yaml'));
  await expectSoon([
    ...asks(X_WING, base2, 7000, 'answered'),
    ...asks(X_WING, base1, 7000, 'timeout'),
    ...asks(TIE_FIGHTER, base2, 7000, 'timeout'),
    ...asks(TROOPER, base2, 7000, 'timeout'),
    ...asks(TROOPER, base1, 7000, 'answered'),
  ]);
});

test('an agent that is killed while the other cluster’s store is away starts with what was kept of it, and nobody notices', async () => {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'rebels',
      namespace: 'default',
      annotations: { 'service.cilium.io/global': 'true', 'service.cilium.io/affinity': 'remote' },
    },
    spec: {
      selector: { name: 'rebel-base' },
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ port: 7000 }],
    },
  };
  for (const cluster of ['cluster1', 'cluster2']) await apply(lab(), cluster, service);
  const rebels = await serviceAddresses(lab(), 'cluster1', 'rebels');
  // Who may go where hangs on labels of cluster2, and the service on its backends.
  const asBefore = () =>
    expectSoon([
      ...asks(X_WING, [...base2, ...rebels], 7000, 'answered'),
      ...asks(X_WING, base1, 7000, 'timeout'),
      ...asks(TIE_FIGHTER, base2, 7000, 'timeout'),
    ]);
  await asBefore();
  await using all = await attemptsAt(lab(), X_WING, 'all', [...base2, ...rebels]);
  const { etcd } = lab().cluster('cluster2');
  const agent = lab().agent('a1');
  await etcd.stop('SIGKILL');
  const { counts } = await peerBecomes(lab(), 'a1', 'cluster2', 'stale');
  await agent.kill();
  await agent.start();
  await until('the agent is ready without the peer', () => agent.missing(), { timeoutMs: 90_000 });
  const row = await peerBecomes(lab(), 'a1', 'cluster2', 'stale');
  assert.deepEqual({ ...row.counts, rejected: 0 }, { ...counts, rejected: 0 });
  await asBefore();
  await etcd.start();
  await peerBecomes(lab(), 'a1', 'cluster2', 'ready');
  await asBefore();
  assert.deepEqual(lostOf(await all.stop()), []);
});

test('machines outside of both reach the database by their labels, as long as they have them', async () => {
  const guarded = [
    ...example('protected-db/protected-db.yaml'),
    ...example('outside/protected-db.yaml'),
  ];
  await apply(lab(), 'cluster1', ...guarded);
  await expectSoon([
    ...asks('metal-1', db, 6379, 'answered'),
    ...asks('metal-1', db, 6380, 'timeout'),
    ...asks('vm-1', db, 6379, 'timeout'),
  ]);
  const text = readFileSync(join(EXAMPLES, 'outside/machines.yaml'), 'utf8');
  const [inventory] = lab().cluster('machines').inventories;
  const exchanged = text.replace(/app: (employee|visitor)/g, (_, role: string) =>
    role === 'employee' ? 'app: visitor' : 'app: employee',
  );
  inventory?.put('machines.yaml', exchanged);
  await expectSoon([
    ...asks('metal-1', db, 6379, 'timeout'),
    ...asks('vm-1', db, 6379, 'answered'),
  ]);
});

test('an inventory that is killed takes nothing away from the machines that it told of', async () => {
  const inventory = lab().inventory('machines/inventory-1');
  await inventory.kill();
  await expectSoon(asks('vm-1', db, 6379, 'answered'));
  await inventory.start();
  await eventually('it leads again', async () => ((await inventory.leads()) ? true : undefined));
  await expectSoon([
    ...asks('vm-1', db, 6379, 'answered'),
    ...asks('metal-1', db, 6379, 'timeout'),
  ]);
});
