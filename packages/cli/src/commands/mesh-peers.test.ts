import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printed } from '../../testing/printed.ts';
import { list, status, why } from './mesh-peers.ts';

const PEER = {
  name: 'east',
  source: 'file',
  id: 7,
  endpoint: 'https://192.0.2.1:2379',
  state: 'stale',
  reason: 'no connection',
  losses: 2,
  ageSeconds: 300,
  counts: { nodes: 3, ip: 40, identities: 5, services: 2, 'service-backends': 0, rejected: 1 },
};
const ANSWERS: Readonly<Record<string, unknown>> = {
  '/v1/mesh': {
    cluster: 'own',
    id: 1,
    access: 'direct',
    graceSeconds: 900,
    peers: [PEER],
    keep: { directory: '/var/lib/causeway/peers', bytes: 3_500_000 },
    problems: ['west (file): endpoints must name at least one endpoint'],
  },
  '/v1/mesh/why?what=10.7.0.9': {
    type: 'address',
    address: '10.7.0.9',
    claims: [
      {
        cluster: 'east',
        wins: true,
        identity: 459052,
        labels: ['k8s:app=till'],
        pod: 'shop/till',
        hostIP: '192.0.7.1',
        peer: { state: 'stale', ageSeconds: 300 },
      },
    ],
    nodes: [{ cluster: 'east', name: 'n1', as: 'pod CIDR 10.7.0.0/24' }],
    refused: [
      { cluster: 'west', key: 'cilium/state/ip/v1/default/10.7.0.9', reason: 'it overlaps' },
    ],
  },
  '/v1/mesh/why?what=east': {
    type: 'peer',
    peer: PEER,
    ageSeconds: 300,
    problems: [],
    refused: [],
  },
};

const AGENTS = ['n1', 'n2'].map((node) => ({ node, get: async (path: string) => ANSWERS[path] }));

test('mesh status, peers and why in words, and as JSON', async () => {
  assert.match(
    await printed(AGENTS, status),
    /n2 +own +1 +direct +1 +0 +3 MiB in \/var\/lib\/causeway\/peers/,
  );
  assert.match(
    await printed(AGENTS, status),
    /n1: east: stale, last in contact 5 min ago: no connection/,
  );
  assert.match(
    await printed(AGENTS, status),
    /n2: west \(file\): endpoints must name at least one/,
  );
  assert.match(await printed(AGENTS, list), /n1 +east +7 +stale +5 min +3 +40 +5 +2 +1 /);
  const address = await printed(AGENTS, (invocation) => why(invocation, ['10.7.0.9']));
  assert.match(
    address,
    /^10\.7\.0\.9 is of cluster east: identity 459052 \(k8s:app=till\), pod shop\/till, behind 192\.0\.7\.1; the peer is stale for 5 min$/m,
  );
  assert.match(
    address,
    /^refused: west says cilium\/state\/ip\/v1\/default\/10\.7\.0\.9: it overlaps$/m,
  );
  assert.equal(
    address.match(/is of cluster east/g)?.length,
    1,
    'what nodes say alike is said once',
  );
  assert.match(
    await printed(AGENTS, (i) => why(i, ['east'])),
    /^east \(id 7\) at https:.*described by its file: stale/,
  );
  assert.equal(JSON.parse(await printed(AGENTS, status, true)).length, 2);
});
