import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { rawEntry } from '@causeway/mesh';
import { Database, flush, VirtualClock } from '@causeway/tables';
import { clusterTables } from '../cluster/tables.ts';
import { cidrIdentityTable } from '../policy/cidr-identities.ts';
import { FakeDatapath } from '../testing/fake-datapath.ts';
import { protectedTable } from './protected.ts';
import { ipcacheReconcilers } from './reconcilers.ts';
import { IpcacheResolver } from './resolve.ts';

const P = (text: string) => Prefix.parse(text);

async function world(tunnels: (name: string) => boolean = () => false) {
  const clock = new VirtualClock();
  const waiting: (() => void)[] = [];
  const trust = {
    settled: true,
    whenSettled(work: () => void) {
      if (this.settled) work();
      else waiting.push(work);
    },
    settle() {
      this.settled = true;
      for (const work of waiting.splice(0)) work();
    },
  };
  const stop = new AbortController();
  const database = new Database({ freeze: true });
  const tables = clusterTables(database, trust as never, stop.signal, 'east');
  const cidrs = cidrIdentityTable(database);
  const protectedSockets = protectedTable(database);
  const resolver = new IpcacheResolver({
    cluster: 'east',
    node: 'a',
    mode: 'hybrid',
    ways: { tunnels: ({ name }) => tunnels(name) },
    underlayFamily: 'ipv4',
    tables,
    cidrs,
    nodeIdentities: { of: (_, __, base) => base },
    protectedSockets,
  });
  const datapath = new FakeDatapath();
  datapath.ipcacheRows.set(P('10.9.9.9/32'), {
    identity: 1,
    tunnelEndpoint: undefined,
    noMasquerade: false,
    isProtected: false,
    isNode: false,
  });
  const initial = tables.ipEntries.source('test');
  const { reconcilers, rewriteNodes } = ipcacheReconcilers({
    tables,
    cidrs,
    protectedSockets,
    resolver,
    maps: datapath.ipcache,
    tunnels: true,
    trust: trust as never,
    clock,
    random: () => 0.5,
  });
  return {
    clock,
    trust,
    tables,
    protectedSockets,
    datapath,
    initial,
    rewriteNodes,
    entries: reconcilers[0]!,
    put: (address: string, identity: number, host?: string, cluster = 'east') =>
      tables.ipEntries.put(
        cluster,
        rawEntry(address, { identity, host: host === undefined ? undefined : Address.parse(host) }),
      ),
    node: (name: string, address: string) =>
      tables.nodes.put({
        cluster: 'east',
        name,
        addresses: [{ type: 'InternalIP', address: Address.parse(address) }],
        podCIDRs: [],
        labels: {},
      }),
    row: (prefix: string) => datapath.ipcacheRows.get(P(prefix)),
    async [Symbol.asyncDispose]() {
      stop.abort();
      resolver[Symbol.dispose]();
      await Promise.all(reconcilers.map((each) => each[Symbol.asyncDispose]()));
    },
  };
}

test('entries are in the kernel in the turn after; what another run left goes once all is read', async () => {
  await using w = await world();
  w.put('10.0.0.1', 300, '192.0.2.2');
  w.put('fd00::/64', 301);
  w.protectedSockets.put({ address: Address.parse('10.0.0.1'), port: 2379, protocol: 6 });
  await flush();
  const tunnelEndpoint = Address.parse('192.0.2.2');
  assert.deepEqual(w.row('10.0.0.1/32'), {
    identity: 300,
    tunnelEndpoint,
    noMasquerade: false,
    isProtected: true,
    isNode: false,
  });
  assert.equal(w.row('fd00::/64')?.identity, 301);
  assert.equal(w.row('10.9.9.9/32')?.identity, 1);
  w.initial.done();
  w.tables.mesh.nodes.source('test').done();
  await new Promise((resolve) => setImmediate(resolve));
  await flush();
  assert.equal(w.row('10.9.9.9/32'), undefined);
  assert.ok(w.entries.done);
});

test('an entry that went stays until absence is believed, and the next claim takes its place at once', async () => {
  await using w = await world();
  w.put('10.0.0.1', 300);
  w.put('10.0.0.2', 300);
  w.put('10.0.0.2', 900, undefined, 'west');
  await flush();
  w.trust.settled = false;
  w.tables.ipEntries.delete('east', '10.0.0.1');
  w.tables.ipEntries.delete('east', '10.0.0.2');
  await flush();
  assert.equal(w.row('10.0.0.1/32')?.identity, 300);
  assert.equal(w.row('10.0.0.2/32')?.identity, 900);
  w.trust.settle();
  assert.equal(w.row('10.0.0.1/32'), undefined);
});

test('what is behind a node follows what becomes known of it, and the way that is chosen to it', async () => {
  let tunnelled = true;
  await using w = await world(() => tunnelled);
  w.put('10.0.0.1', 300, '2001:db8::2');
  w.put('10.0.0.3', 300, '192.0.2.9');
  await flush();
  assert.equal(w.row('10.0.0.1/32')?.tunnelEndpoint, undefined, 'no tunnel over the other family');
  w.tables.nodes.put({
    cluster: 'east',
    name: 'b',
    addresses: ['192.0.2.2', '2001:db8::2'].map((text) => ({
      type: 'InternalIP',
      address: Address.parse(text),
    })),
    podCIDRs: [],
    labels: {},
  });
  await flush();
  assert.equal(w.row('10.0.0.1/32')?.tunnelEndpoint, '192.0.2.2');
  assert.equal(w.row('10.0.0.1/32')?.noMasquerade, true);
  tunnelled = false;
  await w.rewriteNodes([...w.tables.nodes.rows()]);
  assert.equal(w.row('10.0.0.1/32')?.tunnelEndpoint, undefined);
  assert.equal(w.row('10.0.0.3/32')?.tunnelEndpoint, '192.0.2.9', 'not a node that we know');
});

test('an address of a node is told as one by whatever identity it has, and whichever comes first', async () => {
  await using w = await world();
  const node = (podCIDRs: readonly Prefix[] = []) =>
    w.tables.nodes.put({
      cluster: 'east',
      name: 'b',
      addresses: ['192.0.2.2', '2001:db8::2'].map((text) => ({
        type: 'InternalIP',
        address: Address.parse(text),
      })),
      podCIDRs,
      labels: {},
    });
  w.put('192.0.2.2', 300, '192.0.2.2');
  await flush();
  assert.equal(w.row('192.0.2.2/32')?.isNode, false);
  node();
  await flush();
  w.put('2001:db8::2', 300, '192.0.2.2');
  w.put('10.0.0.1', 300, '192.0.2.2');
  await flush();
  for (const address of ['192.0.2.2/32', '2001:db8::2/128']) {
    assert.deepEqual([w.row(address)?.identity, w.row(address)?.isNode], [300, true], address);
  }
  assert.equal(w.row('10.0.0.1/32')?.isNode, false);
  w.tables.nodes.delete('east/b');
  await flush();
  assert.equal(w.row('192.0.2.2/32')?.isNode, false);
});

test('a row that the kernel refuses is tried again, and the others stand', async () => {
  await using w = await world();
  const { ipcache } = w.datapath;
  const write = ipcache.putHosts.bind(ipcache);
  let full = true;
  ipcache.putHosts = (batch) => {
    const errors = write(batch);
    if (!full) return errors;
    w.datapath.ipcacheRows.delete(P('10.0.0.2/32'));
    return Array.from({ length: batch.count }, (_, row) =>
      batch.address(row) === '10.0.0.2' ? new Error('map ipcache is full') : undefined,
    );
  };
  w.put('10.0.0.1', 300);
  w.put('10.0.0.2', 300);
  await flush();
  assert.equal(w.row('10.0.0.1/32')?.identity, 300);
  assert.equal(w.entries.metrics().errors, 1);
  const [failure] = w.entries.failures();
  assert.equal(failure?.key, '10.0.0.2/32');
  full = false;
  await w.clock.advance(60_000);
  assert.equal(w.row('10.0.0.2/32')?.identity, 300);
  assert.equal(w.entries.metrics().errors, 0);
});
