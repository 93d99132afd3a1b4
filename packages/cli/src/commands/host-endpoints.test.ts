import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliError } from '../errors.ts';
import { endpointsOf } from './host-endpoints.ts';

const POD = { id: 7, podNamespace: 'shop', podName: 'web-0', identity: 70_000, state: 'ready' };

const agent = (host: () => unknown) => ({
  node: 'n1',
  async get(path: string) {
    return path === '/v1/endpoints' ? [POD] : host();
  },
});

test('a node that is an endpoint is listed with its pods, in their form', async () => {
  const rows = await endpointsOf(
    agent(() => ({
      id: 65_536,
      identity: 70_001,
      labels: ['k8s:app=ledger'],
      addresses: ['192.0.2.2', '2001:db8::2', '192.0.2.3'],
      policy: { policyId: 1, revision: 2, ingress: 'audit', egress: 'off' },
      audit: true,
    })),
  );
  assert.deepEqual(rows, [
    {
      id: 65_536,
      isNode: true,
      addresses: { ipv4: '192.0.2.2', ipv6: '2001:db8::2' },
      identity: 70_001,
      labels: ['k8s:app=ledger'],
      state: 'ready',
      policy: { ingress: true, egress: false, audit: true },
    },
    POD,
  ]);
});

test('one that is none is not, and another error is told', async () => {
  const none = new CliError('not-found', 'no host endpoint here', {
    field: 'hostEndpoint.enabled',
  });
  const refuse = (error: Error) => () => {
    throw error;
  };
  assert.deepEqual(await endpointsOf(agent(refuse(none))), [POD]);
  await assert.rejects(endpointsOf(agent(refuse(new Error('gone')))), /gone/);
});
