/* Nodes that policies tell apart by label: from the tables to the kernel's rows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { LabelSet, label, podLabels } from '@causeway/identity';
import { Address, Prefix } from '@causeway/ip';
import { rawEntry } from '@causeway/mesh';
import { PolicyEngine } from '@causeway/policy';
import { Database, flush, VirtualClock } from '@causeway/tables';
import { clusterTables, type NodeRow } from '../cluster/tables.ts';
import { protectedTable } from '../ipcache/protected.ts';
import { ipcacheReconcilers } from '../ipcache/reconcilers.ts';
import { IpcacheResolver } from '../ipcache/resolve.ts';
import { FakeDatapath } from '../testing/fake-datapath.ts';
import { cidrIdentityTable } from './cidr-identities.ts';
import { NodeIdentities } from './node-identities.ts';

const trusted = { settled: true, whenSettled: (work: () => void) => work() } as never;
const REMOTE = 6;
const SHOP = { cluster: 'east', namespace: 'shop' };

const fromNodes = (matchLabels: Record<string, string>) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { name: 'nodes', namespace: 'shop' },
  spec: { endpointSelector: {}, ingress: [{ fromNodes: [{ matchLabels }] }] },
});

/** As an agent has it, but for the kernel; `policy` and `node` come in as their tables would tell of them. */
async function world(found: ReadonlyMap<string, number> = new Map()) {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const database = new Database({ freeze: true });
  const tables = clusterTables(database, trusted, stop.signal, 'east');
  const cidrs = cidrIdentityTable(database);
  const protectedSockets = protectedTable(database);
  const labels = podLabels({ ...SHOP, labels: { app: 'till' } });
  const engine = new PolicyEngine({ cluster: 'east', families: ['ipv4', 'ipv6'] });
  engine.setIdentity(70_000, labels);
  engine.setEndpoint({ id: 1, identity: 70_000, labels, namedPorts: [], audit: false });
  const nodes = new NodeIdentities({ engine, found, clock, random: () => 0.5, log: silentLog });
  const resolver = new IpcacheResolver({
    cluster: 'east',
    node: 'a',
    mode: 'native',
    ways: { tunnels: () => false },
    underlayFamily: 'ipv4',
    tables,
    cidrs,
    nodeIdentities: nodes,
    protectedSockets,
  });
  const datapath = new FakeDatapath();
  for (const [prefix, identity] of found)
    datapath.ipcacheRows.set(prefix as Prefix, {
      identity,
      tunnelEndpoint: undefined,
      noMasquerade: true,
      isProtected: false,
      isNode: true,
    });
  const { reconcilers, rewriteNodes } = ipcacheReconcilers({
    tables,
    cidrs,
    protectedSockets,
    resolver,
    maps: datapath.ipcache,
    tunnels: false,
    trust: trusted,
    clock,
    random: () => 0.5,
  });
  const rowOf = (address: string) => datapath.ipcacheRows.get(Prefix.parseLoose(address))?.identity;
  /** Rows of identities that the engine had not been asked to compile when they were written. */
  const tooEarly: number[] = [];
  const compiled = new Set<number>();
  const flushPolicies = () => {
    nodes.prepare();
    engine.flush();
    for (const id of engine.identities.keys()) compiled.add(id);
  };
  const { putAll } = datapath.ipcache;
  datapath.ipcache.putAll = (rows) => {
    for (const [, { identity }] of rows) if (!compiled.has(identity)) tooEarly.push(identity);
    return putAll(rows);
  };
  let rounds = 0;
  const rewrite: typeof rewriteNodes = (rows) => {
    rounds++;
    return rewriteNodes(rows);
  };
  nodes.link({ others: () => resolver.others(), rewrite, flush: flushPolicies });
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) {
      await flush();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  /** Time goes on, and what takes turns of the event loop gets them. */
  const pass = async (ms: number) => {
    for (let step = 0; step < ms; step += 500) {
      await clock.advance(500);
      await settle();
    }
  };
  return {
    clock,
    pass,
    engine,
    tables,
    rowOf,
    tooEarly,
    rounds: () => rounds,
    settle,
    flushPolicies,
    node: (name: string, address: string, labels: Record<string, string>, cluster = 'east') =>
      tables.nodes.put({
        cluster,
        name,
        addresses: [{ type: 'InternalIP', address: Address.parse(address) }],
        podCIDRs: [],
        labels,
      } satisfies NodeRow),
    allowed: (identity: number) =>
      engine.trace({ from: { identity }, to: { endpoint: 1 }, protocol: 'TCP', port: 80 })
        .verdict === 'allow',
    async [Symbol.asyncDispose]() {
      stop.abort();
      nodes[Symbol.dispose]();
      for (const each of reconcilers) await each[Symbol.asyncDispose]();
      resolver[Symbol.dispose]();
    },
  };
}

test('by kind while a policy asks for it, live with the labels, and as before when none does', async () => {
  await using w = await world();
  w.node('b', '192.0.2.2', { role: 'control', host: 'b' });
  w.node('c', '2001:db8::3', { role: 'worker', host: 'c' });
  w.node('d', '192.0.2.4', { role: 'worker', host: 'd' });
  w.flushPolicies();
  await w.settle();
  assert.deepEqual([w.rowOf('192.0.2.2'), w.rowOf('2001:db8::3')], [REMOTE, REMOTE]);

  assert.ok(w.engine.apply(fromNodes({ role: 'control' })).ok);
  w.flushPolicies();
  await w.settle();
  const control = w.rowOf('192.0.2.2')!;
  const worker = w.rowOf('2001:db8::3')!;
  assert.deepEqual([control >>> 24, worker >>> 24, w.rowOf('192.0.2.4')], [2, 2, worker]);
  assert.deepEqual([w.allowed(control), w.allowed(worker)], [true, false]);

  w.node('c', '2001:db8::3', { role: 'control', host: 'c' });
  await w.settle();
  assert.equal(w.rowOf('2001:db8::3'), control);
  w.node('d', '192.0.2.4', { role: 'spare', host: 'd' });
  await w.settle();
  const spare = w.rowOf('192.0.2.4')!;
  assert.ok(spare !== worker && !w.allowed(spare));
  await w.pass(6_000);
  assert.ok(!w.engine.identities.has(worker), 'nobody has it any more');
  assert.ok(w.engine.identities.has(control));

  w.engine.deletePolicy({ kind: 'CiliumNetworkPolicy', namespace: 'shop', name: 'nodes' });
  w.flushPolicies();
  await w.settle();
  for (const address of ['192.0.2.2', '2001:db8::3', '192.0.2.4'])
    assert.equal(w.rowOf(address), REMOTE);
  await w.pass(6_000);
  assert.ok(!w.engine.identities.has(control) && !w.engine.identities.has(spare));
  assert.deepEqual(w.tooEarly, [], 'no address had an identity before its policies were there');
});

test('after a restart what the kernel has holds until policies are known, and is the same then', async () => {
  const numbers = new Map<string, number>();
  {
    await using w = await world();
    w.node('b', '192.0.2.2', { role: 'control' });
    w.engine.apply(fromNodes({ role: 'control' }));
    w.flushPolicies();
    await w.settle();
    numbers.set('192.0.2.2/32', w.rowOf('192.0.2.2')!);
  }
  await using w = await world(numbers);
  w.node('b', '192.0.2.2', { role: 'control' });
  await w.settle();
  assert.equal(w.rowOf('192.0.2.2'), numbers.get('192.0.2.2/32'), 'no policy has been read');
  w.engine.apply(fromNodes({ role: 'control' }));
  w.flushPolicies();
  await w.settle();
  assert.equal(w.rowOf('192.0.2.2'), numbers.get('192.0.2.2/32'));
  assert.ok(w.allowed(w.rowOf('192.0.2.2')!));
});

test('after a restart without such policies the kernel forgets what the last run told apart', async () => {
  await using w = await world(new Map([['192.0.2.2/32', 0x0200_0007]]));
  w.node('b', '192.0.2.2', { role: 'control' });
  w.flushPolicies();
  await w.settle();
  assert.equal(w.rowOf('192.0.2.2'), REMOTE);
});

test('a node that is an endpoint has both: its own labels, and those of its Node', async () => {
  await using w = await world();
  const own = podLabels({ ...SHOP, labels: { app: 'ledger' } });
  w.node('b', '192.0.2.2', { role: 'control' });
  w.tables.ipEntries.put(
    'east',
    rawEntry('192.0.2.2', { identity: 70_001, host: Address.parse('192.0.2.2') }),
  );
  w.engine.apply(fromNodes({ role: 'control' }));
  w.flushPolicies();
  await w.settle();
  assert.equal(w.rowOf('192.0.2.2'), 70_001, 'nobody has said yet what that number means');
  w.engine.setIdentity(70_001, LabelSet.of([...own, label('reserved', 'remote-node')]));
  w.flushPolicies();
  await w.pass(1_000);
  const identity = w.rowOf('192.0.2.2')!;
  assert.equal(identity >>> 24, 2);
  const { labels } = w.engine.identities.get(identity)!;
  assert.deepEqual([labels.get('app')?.value, labels.get('role')?.source], ['ledger', 'node']);
  assert.ok(w.allowed(identity));
});

test('what the engine refuses at first is tried again as a whole', async () => {
  await using w = await world();
  w.node('b', '192.0.2.2', { role: 'control' });
  w.node('c', '2001:db8::3', { role: 'worker' });
  w.flushPolicies();
  await w.settle();
  let refused = 0;
  const { setIdentity } = w.engine;
  w.engine.setIdentity = (identity, labels) => {
    if (labels.get('role')?.value === 'worker' && ++refused < 3) throw new Error('no room');
    setIdentity.call(w.engine, identity, labels);
  };
  w.engine.apply(fromNodes({ role: 'control' }));
  w.flushPolicies();
  await w.settle();
  assert.deepEqual([w.rowOf('192.0.2.2'), w.rowOf('2001:db8::3')], [REMOTE, REMOTE]);
  await w.pass(10_000);
  const control = w.rowOf('192.0.2.2')!;
  const worker = w.rowOf('2001:db8::3')!;
  assert.deepEqual([control >>> 24, worker >>> 24, refused], [2, 2, 3]);
  assert.deepEqual([w.allowed(control), w.allowed(worker)], [true, false]);
  assert.deepEqual(w.tooEarly, []);
});

test('identities of labels that change all the time go, and all nodes are not written at each change', async () => {
  await using w = await world();
  w.node('b', '192.0.2.2', { role: '0' });
  w.engine.apply(fromNodes({ role: 'control' }));
  w.flushPolicies();
  await w.settle();
  const before = w.rounds();
  const changes = 120;
  let most = 0;
  for (let change = 1; change <= changes; change++) {
    w.node('b', '192.0.2.2', { role: String(change) });
    await w.settle();
    assert.equal(w.rowOf('192.0.2.2')! >>> 24, 2);
    await w.clock.advance(100);
    most = Math.max(most, w.engine.identities.size);
  }
  assert.ok(most < 80, `${most} identities at once`);
  assert.ok(w.rounds() - before <= changes / 4, `${w.rounds() - before} rounds`);
  await w.pass(7_000);
  const left = [...w.engine.identities.keys()].filter((identity) => identity >>> 24 === 2);
  assert.deepEqual(left, [w.rowOf('192.0.2.2')]);
  assert.deepEqual(w.tooEarly, []);
  assert.equal(w.clock.sleeping, 0);
});

test('new policies do not wait for identities that are about to go', async () => {
  await using w = await world();
  w.node('b', '192.0.2.2', { role: 'control', zone: 'x' });
  w.engine.apply(fromNodes({ role: 'control' }));
  w.flushPolicies();
  await w.settle();
  w.node('b', '192.0.2.2', { role: 'worker', zone: 'x' });
  await w.settle();
  await w.pass(1_000);
  w.engine.apply(fromNodes({ zone: 'x' }));
  w.flushPolicies();
  await w.settle();
  await w.pass(1_000);
  assert.ok(w.allowed(w.rowOf('192.0.2.2')!), 'long before the old one goes');
});
