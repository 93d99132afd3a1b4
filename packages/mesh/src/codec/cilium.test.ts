import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PeerWorld } from '../../testing/peer-world.ts';
import { ipKey, nodeKey, serviceKey } from '../keys.ts';
import { decodeClusterConfig, encodeClusterConfig } from './cluster-config.ts';
import { decodeIp, encodeIp } from './ip.ts';
import { decodeNode, encodeNode } from './node.ts';
import { decodeService, encodeService } from './service.ts';

/**
 * What programs of Cilium 1.19.4, built from its source and run, left in an etcd: keys and values in turn.
 * `apiserver`: its clustermesh-apiserver for a Kubernetes API server with two nodes of both families, two endpoints, a
 * shared service and one that is not shared. `kvstoremesh`: its copy of a store that an inventory of Causeway's wrote.
 */
function recorded(name: string): [key: string, value: string][] {
  const file = new URL(`../../testdata/cilium-1.19.4-${name}.txt`, import.meta.url);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return Array.from({ length: lines.length / 2 }, (_, i) => [lines[2 * i]!, lines[2 * i + 1]!]);
}

test('what clustermesh-apiserver 1.19.4 writes is what we write, byte by byte', () => {
  const seen = { 'cluster-config': 0, nodes: 0, ip: 0, services: 0 };
  for (const [key, value] of recorded('apiserver')) {
    const kind = /^cilium\/(?:state\/)?([a-z-]+)\//.exec(key)?.[1];
    switch (kind) {
      case 'cluster-config':
        assert.equal(encodeClusterConfig(decodeClusterConfig(value)), value);
        break;
      case 'nodes': {
        const node = decodeNode(value);
        assert.equal(encodeNode(node), value);
        assert.equal(nodeKey(node.cluster, node.name), key);
        break;
      }
      case 'ip': {
        const entry = decodeIp(value);
        assert.equal(encodeIp(entry), value);
        assert.equal(ipKey(entry.address), key);
        break;
      }
      case 'services': {
        const service = decodeService(value);
        assert.equal(encodeService(service), value);
        assert.equal(serviceKey(service.cluster, service.namespace, service.name), key);
        assert.deepEqual(service.zones, { '10.5.0.11': { zone: 'z1', forZones: ['z1'] } });
        break;
      }
      default:
        continue;
    }
    seen[kind]++;
  }
  assert.deepEqual(seen, { 'cluster-config': 1, nodes: 2, ip: 4, services: 1 });
});

for (const [name, cluster, id, have] of [
  ['apiserver', 'kube', 5, { nodes: 2, services: 1, identities: 1, ip: 4 }],
  ['kvstoremesh', 'outside', 37, { nodes: 1, services: 0, identities: 2, ip: 7 }],
] as const) {
  test(`a store as ${name} of Cilium 1.19.4 leaves it is read whole, and nothing of it is refused`, async () => {
    await using world = new PeerWorld();
    const store = world.store(cluster, id);
    for (const [key, value] of recorded(name)) await store.put({ key, value });
    world.keep(store);
    world.join(store);
    await world.until('ready', () => world.row(cluster)?.state === 'ready');
    assert.deepEqual(world.have(cluster), have);
    assert.deepEqual([...world.tables.rejected.rows()], []);
  });
}
