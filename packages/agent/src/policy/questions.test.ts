import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { ClusterId, identityLayout, LabelSet, label, podLabels } from '@causeway/identity';
import { MeshReader } from '@causeway/mesh';
import { PolicyEngine, type Trace } from '@causeway/policy';
import { Database } from '@causeway/tables';
import { NodeBackend } from '../backend.ts';
import { type ClusterTables, clusterTables } from '../cluster/tables.ts';
import { type EndpointRow, endpointTable } from '../endpoints/table.ts';
import { protectedTable } from '../ipcache/protected.ts';
import { IpcacheResolver } from '../ipcache/resolve.ts';
import { cidrIdentityTable } from './cidr-identities.ts';
import { PolicyFeed } from './feed.ts';
import { policyTables } from './tables.ts';

const trusted = { settled: true, whenSettled: (work: () => void) => work() } as never;

const [WEB, DB] = [2452533, 2478119];
const DB_LABELS = [
  'k8s:app=db',
  'k8s:causeway.io/platform=bare-metal',
  'k8s:causeway.io/site=north',
  'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop',
  'k8s:io.cilium.k8s.policy.cluster=outside',
  'k8s:io.kubernetes.pod.namespace=shop',
];

/** A database on bare metal and a VM behind a node, to the letter as an inventory writes them (its instance.test.ts). */
const INVENTORY: Readonly<Record<string, string>> = {
  [`cilium/state/identities/v1/id/${WEB}`]:
    'k8s:app=web;k8s:causeway.io/platform=vm;k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=default;k8s:io.cilium.k8s.policy.cluster=outside;k8s:io.kubernetes.pod.namespace=default;',
  [`cilium/state/identities/v1/id/${DB}`]: `${DB_LABELS.join(';')};`,
  'cilium/state/ip/v1/default/192.0.2.10': `{"IP":"192.0.2.10","Mask":null,"HostIP":"","ID":${DB},"Key":0,"Metadata":"causeway-inventory:objects:db-1","K8sNamespace":"shop","K8sPodName":"db-1"}`,
  'cilium/state/ip/v1/default/192.0.2.20': `{"IP":"192.0.2.20","Mask":null,"HostIP":"192.0.2.99","ID":${WEB},"Key":0,"Metadata":"causeway-inventory:objects:vm-1","K8sNamespace":"default","K8sPodName":"vm-1"}`,
  'cilium/state/ip/v1/default/2001:db8::10': `{"IP":"2001:db8::10","Mask":null,"HostIP":"","ID":${DB},"Key":0,"Metadata":"causeway-inventory:objects:db-1","K8sNamespace":"shop","K8sPodName":"db-1"}`,
};

const inOutside = (labels: Record<string, string>, namespace: string) => ({
  matchLabels: {
    ...labels,
    'io.cilium.k8s.policy.cluster': 'outside',
    'io.kubernetes.pod.namespace': namespace,
  },
});
const port = (number: string) => [{ ports: [{ port: number, protocol: 'TCP' }] }];

/** The till may ask the database outside, and is asked by bare-metal machines of the north. */
const TILL_POLICY = {
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'till', namespace: 'shop' },
  spec: {
    endpointSelector: { matchLabels: { app: 'till' } },
    egress: [{ toEndpoints: [inOutside({ app: 'db' }, 'shop')], toPorts: port('5432') }],
    ingress: [
      { fromEndpoints: [inOutside({ 'causeway.io/site': 'north' }, 'shop')], toPorts: port('80') },
    ],
  },
};

interface WhatIfAnswer {
  readonly changes: readonly Record<'from' | 'to' | 'port', string>[];
}

/** What an agent of cluster own knows that has a till and reads the inventory's store; no kernel. */
class Agent implements AsyncDisposable {
  readonly kv: Kv;
  readonly cluster: ClusterTables;
  readonly backend: NodeBackend;
  readonly engine: PolicyEngine;
  /** The node as an endpoint. */
  host: number | undefined;
  readonly #etcd = memoryEtcd({ clock: systemClock });
  readonly #stop = new AbortController();
  readonly #reader: MeshReader;
  readonly #feed: PolicyFeed;

  constructor() {
    this.kv = this.#etcd.connect();
    const database = new Database({ freeze: true });
    this.cluster = clusterTables(database, trusted, this.#stop.signal, 'own');
    const { cluster } = this;
    const engine = new PolicyEngine({ cluster: 'own', families: ['ipv4', 'ipv6'] });
    this.engine = engine;
    const policies = policyTables(database);
    const endpoints = endpointTable(database);
    this.#feed = new PolicyFeed({
      engine,
      controller: { synced: true, schedule() {} } as never,
      policies,
      cluster,
      trust: trusted,
      hasHost: false,
      log: silentLog,
    });
    const labels = podLabels({ cluster: 'own', namespace: 'shop', labels: { app: 'till' } });
    engine.setIdentity(70_000, labels);
    engine.setEndpoint({ id: 17, identity: 70_000, labels, namedPorts: [], audit: false });
    const record = { id: 17, podNamespace: 'shop', podName: 'till-0', addresses: {} };
    endpoints.put({ record, state: 'ready' } as unknown as EndpointRow);
    policies.ciliumPolicies.put(TILL_POLICY as never);
    this.#reader = new MeshReader({
      kv: this.kv,
      cluster: { name: 'outside', id: ClusterId(37) },
      layout: identityLayout(255),
      tables: cluster.mesh,
    });
    const ipcache = new IpcacheResolver({
      cluster: 'own',
      node: 'a',
      mode: 'native',
      ways: { tunnels: () => false },
      underlayFamily: 'ipv4',
      tables: cluster,
      cidrs: cidrIdentityTable(database),
      nodeIdentities: { of: (_, __, base) => base },
      protectedSockets: protectedTable(database),
    });
    const node = { name: 'a', endpoint: () => this.host };
    const sources = { cluster: 'own' } as never;
    const questions = { node, engine, endpoints, cluster, labels: sources, ipcache };
    this.backend = new NodeBackend({ questions } as never);
  }

  ask(from: string | object, to: string | object, number: number): Trace {
    this.#feed.catchUp();
    return this.backend.trace({ from, to, port: number } as never) as Trace;
  }

  async learn(rows: Readonly<Record<string, string>>): Promise<void> {
    for (const [key, value] of Object.entries(rows)) await this.kv.put(key, value);
    const { identities, ipEntries } = this.cluster;
    await until('the rows are read', () => identities.size === 2 && ipEntries.size === 3);
    assert.equal(this.cluster.mesh.rejected.size, 0);
  }

  async whatIf(manifest: object): Promise<WhatIfAnswer> {
    this.#feed.catchUp();
    return (await this.backend.whatIf([manifest])) as WhatIfAnswer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#feed[Symbol.dispose]();
    await this.#reader[Symbol.asyncDispose]();
    this.#stop.abort();
    await this.#etcd[Symbol.asyncDispose]();
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const TILL = 'shop/till-0';

test('trace knows the machines of an inventory by address of either family, by identity and by labels', async () => {
  await using agent = new Agent();
  await agent.learn(INVENTORY);
  const database = ['192.0.2.10', '2001:db8::10', { identity: DB }, DB_LABELS.join()];
  for (const machine of database) {
    const out = agent.ask(TILL, machine, 5432);
    assert.match(out.to, /^app=db,.*causeway\.io\/site=north in shop$/);
    assert.deepEqual([out.verdict, out.egress.by], ['allow', 'rule'], out.text);
    assert.match(out.egress.rules[0]?.name ?? '', /^CiliumNetworkPolicy shop\/till egress\[0\]/);
    assert.equal(out.ingress.by, 'not-ours', 'no policy here binds a machine of another cluster');
    assert.equal(agent.ask(TILL, machine, 22).verdict, 'deny');
    assert.equal(agent.ask(machine, TILL, 80).ingress.by, 'rule');
    assert.equal(agent.ask(machine, TILL, 80).verdict, 'allow');
  }
  const vm = agent.ask('192.0.2.20', TILL, 80);
  assert.match(vm.from, /^app=web,causeway\.io\/platform=vm in default$/);
  assert.deepEqual([vm.verdict, vm.ingress.by], ['deny', 'default-deny']);
  const [miss] = vm.ingress.nearMisses;
  assert.ok(
    miss?.unmet.some((each) => 'key' in each && each.key === 'causeway.io/site'),
    `the label that it lacks is named: ${JSON.stringify(miss)}`,
  );
});

test('an address that is no machine of the inventory, or no longer one, is an address of the world', async () => {
  await using agent = new Agent();
  await agent.learn(INVENTORY);
  for (const stranger of ['192.0.2.11', '2001:db8::11'])
    assert.deepEqual(
      [agent.ask(TILL, stranger, 5432).verdict, agent.ask(TILL, stranger, 5432).to],
      ['deny', stranger],
    );
  await agent.kv.delete('cilium/state/ip/v1/default/192.0.2.10');
  await until('the entry has gone', () => agent.cluster.ipEntries.size === 2);
  const gone = agent.ask(TILL, '192.0.2.10', 5432);
  assert.deepEqual([gone.verdict, gone.to], ['deny', '192.0.2.10']);
  assert.equal(agent.ask(TILL, '2001:db8::10', 5432).verdict, 'allow');
});

test('what-if names the machines of an inventory that a change lets in or shuts out', async () => {
  await using agent = new Agent();
  await agent.learn(INVENTORY);
  const { spec } = TILL_POLICY;
  const ingress = [
    {
      fromEndpoints: [inOutside({ 'causeway.io/platform': 'vm' }, 'default')],
      toPorts: port('80'),
    },
  ];
  const { changes } = await agent.whatIf({ ...TILL_POLICY, spec: { ...spec, ingress } });
  assert.ok(changes.every(({ to }) => to === 'app=till in shop'));
  assert.deepEqual(changes.map(({ from, port }) => `${from.split(',')[0]}, ${port}`).sort(), [
    'app=db, TCP 80: allow → deny (default deny of ingress)',
    'app=web, TCP 80: deny → allow (CiliumNetworkPolicy shop/till ingress[0].toPorts[0])',
  ]);
  assert.equal(agent.ask('192.0.2.10', TILL, 80).verdict, 'allow', 'a question changes nothing');
});

test('a node that is an endpoint and its own pods: both judge what it is sent, the pods alone what it sends', async () => {
  await using agent = new Agent();
  const labels = podLabels({ cluster: 'own', namespace: 'shop', labels: { app: 'ledger' } });
  agent.host = 65_536;
  agent.engine.setIdentity(70_001, labels);
  const nodeLabels = LabelSet.of([label('reserved', 'host')]);
  const node = { id: agent.host, identity: 70_001, labels, nodeLabels };
  agent.engine.setEndpoint({ ...node, namedPorts: [], audit: false });
  agent.engine.apply({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumClusterwideNetworkPolicy',
    metadata: { name: 'host-fw' },
    spec: {
      nodeSelector: {},
      ingress: [{ fromEndpoints: [{ matchLabels: { app: 'till' } }], toPorts: port('22') }],
      egress: [{ toEntities: ['none'] }],
    },
  });
  assert.equal(agent.ask(TILL, 'node', 22).ingress.verdict, 'allow');
  assert.equal(agent.ask(TILL, 'node', 23).ingress.verdict, 'deny');
  assert.equal(
    agent.ask(TILL, 'node', 22).egress.verdict,
    'deny',
    'the till may reach its database',
  );
  agent.engine.apply({
    ...TILL_POLICY,
    metadata: { name: 'to-host', namespace: 'shop' },
    spec: { ...TILL_POLICY.spec, ingress: undefined, egress: [{ toEntities: ['host'] }] },
  });
  assert.equal(agent.ask(TILL, 'node', 22).verdict, 'allow', 'to its pods it is the host');
  assert.equal(agent.ask('node', TILL, 80).verdict, 'allow');
  assert.equal(agent.ask('node', '203.0.113.1', 80).verdict, 'deny');
});
