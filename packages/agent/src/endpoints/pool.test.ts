import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import { NodeAddressPool } from './pool.ts';

test('what was given is remembered for a moment, also of a pool that nobody asks about', () => {
  let now = 0;
  const pool = new NodeAddressPool(['ipv4'], () => now, 1_000);
  pool.setCidrs([{ prefix: Prefix.parse('10.1.0.0/24') }]);
  for (let pod = 0; pod < 200; pod++) {
    const owner = { containerId: `c${pod}`, ifname: 'eth0' };
    pool.give(owner, { ipv4: { pool: null } });
    pool.release(owner);
    now += 1_000;
  }
  assert.ok(pool.remembered <= 6, `${pool.remembered} moments`);
  assert.ok(pool.recent('', 'ipv4') > 0);
  now += 60_000;
  assert.equal(pool.recent('', 'ipv4'), 0);
});
