import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterId } from '@causeway/identity';
import { Prefix } from '@causeway/ip';
import type { NodeRow } from '../rows.ts';
import { Ranges } from './ranges.ts';

const node = (name: string, cidr: string, labels: NodeRow['labels'] = {}): NodeRow => ({
  name,
  cluster: 'east',
  clusterId: ClusterId(7),
  addresses: [{ type: 'InternalIP', ip: '192.0.7.1' }],
  podCIDRs: { ipv4: [Prefix.parse(cidr)], ipv6: [] },
  healthIPs: {},
  ingressIPs: {},
  source: 'local',
  encryptionKey: 0,
  labels,
  annotations: undefined,
  nodeIdentity: 0,
  wireguardPublicKey: '',
  bootId: '',
});

test('a node that is told again keeps what it took of the Internet, until it goes', () => {
  const ranges = new Ranges();
  const guard = ranges.guard('east');
  const tell = (row: NodeRow) => {
    const reason = guard.node(row);
    if (reason === undefined) ranges.setNode(row);
    return reason;
  };
  assert.equal(tell(node('n1', '8.8.0.0/16')), undefined);
  assert.match(tell(node('n2', '9.9.0.0/16')) ?? '', /more of the Internet's addresses/);
  assert.equal(tell(node('n1', '8.8.0.0/16', { zone: 'b' })), undefined);
  assert.match(tell(node('n2', '9.9.0.0/16')) ?? '', /more of the Internet's addresses/);
  const west = ranges.guard('west');
  const theirs = { ...node('n1', '8.8.1.0/24'), cluster: 'west' };
  assert.match(west.node(theirs) ?? '', /8\.8\.0\.0\/16, which cluster east had first/);
  // Another range of the same node frees the old one.
  assert.equal(tell(node('n1', '8.9.0.0/16')), undefined);
  assert.equal(west.node(theirs), undefined);
  ranges.removeNode('east', 'n1');
  assert.equal(tell(node('n2', '9.9.0.0/16')), undefined);
});
