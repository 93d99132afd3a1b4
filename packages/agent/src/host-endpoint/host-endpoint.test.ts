import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostEndpoint } from '@causeway/datapath';
import { labelFilter } from '@causeway/identity';
import { Address } from '@causeway/ip';
import { Database } from '@causeway/tables';
import { checkAgentConfig } from '../config/load.ts';
import type { ConfigInput } from '../config/schema.ts';
import { namespaceTable } from '../sources/pods.ts';
import { HOST_ENDPOINT_ID, HostEndpointController } from './controller.ts';
import { lifelinesOf } from './lifelines.ts';

const store = { address: Address.parse('192.0.2.100'), port: 2379, protocol: 6 };

const lines = (config: ConfigInput, own: readonly string[] = []) =>
  lifelinesOf(
    checkAgentConfig({ node: { name: 'a' }, ...config }),
    [store],
    new Set(own.map(Address.parse)),
  ).map(
    ({ direction, peer, port, protocol }) => `${direction} ${peer ?? 'any'} ${port}/${protocol}`,
  );

test('lifelines: routing, addresses, API servers and the stores; the tunnel where there is one', () => {
  const tunnel = lines({});
  for (const each of ['ingress any 179/6', 'egress any 3784/17', 'egress any 68/17'])
    assert.ok(tunnel.includes(each), each);
  assert.ok(tunnel.includes('egress 192.0.2.100 2379/6'));
  assert.ok(tunnel.includes('egress any 6443/6') && tunnel.includes('ingress any 6443/6'));
  assert.ok(tunnel.includes('ingress any 8472/17'));
  assert.ok(!lines({ routingMode: 'native' }).includes('ingress any 8472/17'));
  assert.ok(lines({}, ['192.0.2.100']).includes('ingress any 2379/6'), 'the store is here');
  assert.ok(!tunnel.some((each) => each.includes(' 53/')), 'its address is no name');
  assert.ok(
    lines({ etcd: { endpoints: ['https://store.example:2379'] } }).includes('egress any 53/17'),
  );
  const own = lines({
    hostEndpoint: {
      enabled: true,
      apiServerPorts: [],
      lifelines: [{ direction: 'ingress', protocol: 'TCP', port: 22, address: '192.0.2.9' }],
    },
  });
  assert.ok(own.includes('ingress 192.0.2.9 22/6') && !own.includes('egress any 6443/6'));
});

test('the node takes what number its labels have, and another when they change', async () => {
  const database = new Database({ freeze: true });
  const namespaces = namespaceTable(database);
  const acquired: string[] = [];
  const released: string[] = [];
  const written: HostEndpoint[] = [];
  const announced: number[] = [];
  let refuse = true;
  await using host = new HostEndpointController({
    config: checkAgentConfig({
      cluster: { name: 'east', id: 3 },
      node: { name: 'a' },
      hostEndpoint: { enabled: true, namespace: 'shop', labels: { app: 'ledger' } },
    }),
    filter: labelFilter(),
    namespaces,
    numbers: {
      connected: true,
      known: () => undefined,
      async acquire(labels) {
        if (refuse) throw new Error('the store is away');
        acquired.push(labels.text);
        return 70_000 + acquired.length;
      },
      release: (labels) => void released.push(labels.text),
    },
    policy: {
      setHost(party, write) {
        assert.equal(party.audit, true, 'on trial until somebody says otherwise');
        write({ endpointId: party.id, policyId: 4, revision: 2, ingress: 'audit', egress: 'off' });
      },
    },
    announce: (identity) => void announced.push(identity),
    setEndpoint: (endpoint) => void written.push(endpoint),
    clock: { now: () => 0, sleep: async () => void setImmediate(() => {}) } as never,
    log: {
      info() {},
      debug() {
        refuse = false;
      },
    } as never,
  });
  host.refresh();
  assert.deepEqual(acquired, [], 'not before what no policy may cut is in the kernel');
  host.start();
  const until = async (condition: () => boolean) => {
    for (let turn = 0; !condition(); turn++) {
      assert.ok(turn < 10_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await until(() => announced.length === 1);
  assert.match(acquired[0]!, /app=ledger.*pod\.namespace=shop/s);
  assert.deepEqual(written.at(-1), {
    id: HOST_ENDPOINT_ID,
    identity: 70_001,
    policyId: 4,
    policyRevision: 2,
    ingress: 'off',
    egress: 'off',
  });
  assert.deepEqual(host.view.policy?.ingress, 'audit');
  namespaces.put({ name: 'shop', labels: { tier: 'gold' }, annotations: {} });
  await until(() => announced.length === 2);
  assert.deepEqual(announced, [70_001, 70_002]);
  assert.deepEqual(released, [acquired[0]]);
});
