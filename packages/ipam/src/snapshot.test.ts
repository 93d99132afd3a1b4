import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { IpamError } from './errors.ts';
import { NodeIpam } from './ipam.ts';
import { parseSnapshot } from './snapshot.ts';

function sample() {
  const ipam = new NodeIpam({
    cidrs: [{ prefix: Prefix.parse('10.0.1.0/24') }, { prefix: Prefix.parse('fd00:1::/64') }],
    quarantineMs: 1_000,
  });
  for (const containerId of ['a', 'b', 'c']) {
    ipam.allocate({ containerId, ifname: 'eth0' }, { ipv4: 'any', ipv6: 'any' }, 500);
  }
  ipam.release({ containerId: 'b', ifname: 'eth0' }, 600);
  return ipam;
}

test('a snapshot means the same under another clock', () => {
  const before = sample().snapshot(700);
  const after = NodeIpam.fromSnapshot({ quarantineMs: 1_000 }, before, -5_000_000);
  assert.deepEqual(after.snapshot(-5_000_000), before);
  assert.deepEqual(
    before.quarantine.map((one) => one.remainingMs),
    [900, 900],
  );
});

test('what is wrong in a snapshot is named', () => {
  const cases: [path: string, change: (s: ReturnType<typeof copy>) => void, code?: string][] = [
    ['version', (s) => Object.assign(s, { version: 2 }), 'snapshot-version'],
    ['version', (s) => Object.assign(s, { version: '1' }), 'snapshot-version'],
    ['leases', (s) => Object.assign(s, { leases: {} })],
    ['cidrs[0].prefix', (s) => Object.assign(s.cidrs[0]!, { prefix: '10.0.1.1/24' })],
    ['cidrs[1].state', (s) => Object.assign(s.cidrs[1]!, { state: 'gone' })],
    ['leases[1].owner', (s) => Object.assign(s.leases[1]!, { owner: s.leases[0]!.owner })],
    ['leases[1].ipv4', (s) => Object.assign(s.leases[1]!, { ipv4: s.leases[0]!.ipv4 })],
    ['leases[0].ipv6.address', (s) => Object.assign(s.leases[0]!, { ipv6: s.leases[0]!.ipv4 })],
    ['leases[0].owner', (s) => Object.assign(s.leases[0]!, { owner: { containerId: '../x' } })],
    ['quarantine[0].remainingMs', (s) => Object.assign(s.quarantine[0]!, { remainingMs: -1 })],
    ['quarantine[0].address', (s) => Object.assign(s.quarantine[0]!, s.leases[0]!.ipv4)],
  ];
  function copy() {
    return JSON.parse(JSON.stringify(sample().snapshot(700))) as ReturnType<NodeIpam['snapshot']>;
  }
  for (const [field, change, code = 'snapshot-invalid'] of cases) {
    const value = copy();
    change(value);
    assert.throws(
      () => parseSnapshot(value),
      (error) => error instanceof IpamError && error.code === code && error.field === field,
      field,
    );
  }
});

test('any JSON is read or refused with our error', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        parseSnapshot(value);
      } catch (error) {
        assert.ok(error instanceof IpamError);
      }
    }),
  );
});
