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
 * What programs of Cilium 1.17 (1.17.0-dev) and 1.19.4, built from their source and run, left in an etcd: keys and values
 * in turn. `apiserver`: clustermesh-apiserver for two nodes of both families, two endpoints, a shared service and one that
 * is not shared; 1.19.4 had them from a Kubernetes API server, 1.17 from Cilium's own stand-in for one. `kvstoremesh`: its
 * copy of a store of Causeway's, of which some services are left out here: an inventory's (1.19.4), agents' (1.17).
 */
function recorded(version: string, name: string): [key: string, value: string][] {
  const file = new URL(`../../testdata/cilium-${version}-${name}.txt`, import.meta.url);
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return Array.from({ length: lines.length / 2 }, (_, i) => [lines[2 * i]!, lines[2 * i + 1]!]);
}

for (const [version, zones] of [
  // It does not know of zones yet.
  ['1.17', {}],
  ['1.19.4', { '10.5.0.11': { zone: 'z1', forZones: ['z1'] } }],
] as const) {
  test(`what clustermesh-apiserver ${version} writes is what we write, byte by byte`, () => {
    const seen = { 'cluster-config': 0, nodes: 0, ip: 0, services: 0 };
    for (const [key, value] of recorded(version, 'apiserver')) {
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
          // 1.17 writes a field that 1.19 and we leave out where it is empty.
          assert.equal(encodeService(service), value.replace('"hostnames":{},', ''));
          assert.equal(serviceKey(service.cluster, service.namespace, service.name), key);
          assert.deepEqual(service.zones, zones);
          break;
        }
        default:
          continue;
      }
      seen[kind]++;
    }
    assert.deepEqual(seen, { 'cluster-config': 1, nodes: 2, ip: 4, services: 1 });
  });
}

for (const [version, name, cluster, id, have] of [
  ['1.17', 'apiserver', 'kube', 5, { nodes: 2, services: 1, identities: 1, ip: 4 }],
  ['1.17', 'kvstoremesh', 'cla', 3, { nodes: 2, services: 1, identities: 1, ip: 4 }],
  ['1.19.4', 'apiserver', 'kube', 5, { nodes: 2, services: 1, identities: 1, ip: 4 }],
  ['1.19.4', 'kvstoremesh', 'outside', 37, { nodes: 1, services: 0, identities: 2, ip: 7 }],
] as const) {
  test(`a store as ${name} of Cilium ${version} leaves it is read whole, and nothing of it is refused`, async () => {
    await using world = new PeerWorld();
    const store = world.store(cluster, id);
    for (const [key, value] of recorded(version, name)) await store.put({ key, value });
    world.keep(store);
    world.join(store);
    await world.until('ready', () => world.row(cluster)?.state === 'ready');
    assert.deepEqual(world.have(cluster), have);
    assert.deepEqual([...world.tables.rejected.rows()], []);
  });
}
