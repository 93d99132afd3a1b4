import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Datapath, HostEndpoint } from '@causeway/datapath';
import { Address } from '@causeway/ip';
import { HostRows } from './host-rows.ts';

interface Row {
  readonly isProtected: boolean;
  readonly endpoint?: HostEndpoint;
}

const enforced: HostEndpoint = {
  id: 65_536,
  identity: 70_001,
  policyId: 4,
  policyRevision: 2,
  ingress: 'enforced',
  egress: 'enforced',
};
const address = Address.parse('192.0.2.1');

/** Rows as an earlier run left them. */
function world() {
  const rows = new Map<Address, Row>([[address, { isProtected: false, endpoint: enforced }]]);
  const datapath = {
    *nodeAddresses() {
      for (const [at, row] of [...rows]) yield { address: at, ...row };
    },
    putNodeAddress: (at: Address, row: Row) => void rows.set(at, row),
    deleteNodeAddress: (at: Address) => void rows.delete(at),
  };
  return { rows, host: new HostRows(() => datapath as unknown as Datapath, true) };
}

test('what an earlier run enforced stays in force until it is put on trial, and known as what it was', () => {
  const { rows, host } = world();
  host.setAddresses([address]);
  assert.deepEqual(rows.get(address)?.endpoint, enforced);
  host.putOnTrial();
  assert.deepEqual(rows.get(address)?.endpoint, { ...enforced, ingress: 'off', egress: 'off' });
  host.setEndpoint({ ...enforced, policyRevision: 3 });
  assert.equal(rows.get(address)?.endpoint?.ingress, 'enforced');
});

test('on trial before the addresses are known: no row goes, and the first writing says it', () => {
  const { rows, host } = world();
  host.putOnTrial();
  assert.deepEqual([...rows.keys()], [address]);
  host.setAddresses([address]);
  assert.equal(rows.get(address)?.endpoint?.egress, 'off');
});
