import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterId } from '@causeway/identity';
import { Address } from '@causeway/ip';
import type { NodeRow } from '@causeway/mesh';
import { Database } from '@causeway/tables';
import { clusterTables, nodeAt } from './tables.ts';

const trusted = { settled: true, whenSettled: (work: () => void) => work() } as never;
const SHARED = Address.parse('192.0.2.77');

const node = (cluster: string, name: string, labels: Record<string, string> = {}): NodeRow => ({
  name,
  cluster,
  clusterId: ClusterId(1),
  addresses: [
    { type: 'InternalIP', ip: SHARED },
    { type: 'Hostname', ip: name },
  ],
  podCIDRs: { ipv4: [], ipv6: [] },
  healthIPs: {},
  ingressIPs: {},
  source: 'kvstore',
  encryptionKey: 0,
  labels,
  annotations: undefined,
  nodeIdentity: 0,
  wireguardPublicKey: '',
  bootId: '',
});

test('of several nodes that say they have an address the own cluster’s has it, then the first', async () => {
  const stop = new AbortController();
  const { mesh, nodes } = clusterTables(
    new Database({ freeze: true }),
    trusted,
    stop.signal,
    'own',
  );
  const holder = async (change: () => unknown) => {
    change();
    await new Promise((resolve) => setImmediate(resolve));
    return nodeAt(nodes, SHARED, 'own')?.name;
  };
  const put = (row: NodeRow) => () => mesh.nodes.put(row);
  assert.equal(await holder(put(node('west', 'w'))), 'w');
  assert.equal(await holder(put(node('north', 'n'))), 'w');
  // Writing it anew makes nobody the last one.
  assert.equal(await holder(put(node('west', 'w', { a: 'b' }))), 'w');
  assert.equal(await holder(put(node('own', 'o'))), 'o');
  assert.equal(await holder(() => mesh.nodes.delete('own/o')), 'w');
  assert.equal(await holder(() => mesh.nodes.delete('west/w')), 'n');
  assert.equal(await holder(put(node('west', 'w'))), 'n');
  stop.abort();
});
