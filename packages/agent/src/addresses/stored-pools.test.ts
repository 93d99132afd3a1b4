import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prefix } from '@causeway/ip';
import type { CiliumNode } from '@causeway/resources';
import { type PoolWish, withWish } from './stored-pools.ts';

const node = (pools?: NonNullable<CiliumNode['spec']['ipam']>['pools']): CiliumNode => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name: 'a' },
  spec: { ipam: { podCIDRs: ['10.9.0.0/24'], ...(pools === undefined ? {} : { pools }) } },
});
const wish = (more: Partial<PoolWish> = {}): PoolWish => ({
  requested: [],
  returned: new Set(),
  named: [],
  ...more,
});
const cidr = (text: string) => Prefix.parse(text);

test('a node that asks for nothing and never did is left as it is', () => {
  assert.equal(withWish(node(), wish()), undefined);
});

test('what is asked for is written in order, once, and all else stays', () => {
  const asked = wish({
    requested: [
      { pool: 'z', ipv4: 8, ipv6: 0 },
      { pool: 'a', ipv4: 16, ipv6: 16 },
    ],
  });
  const next = withWish(node(), asked);
  assert.deepEqual(next?.spec.ipam, {
    podCIDRs: ['10.9.0.0/24'],
    pools: {
      requested: [
        { pool: 'a', needed: { 'ipv4-addrs': 16, 'ipv6-addrs': 16 } },
        { pool: 'z', needed: { 'ipv4-addrs': 8 } },
      ],
      allocated: [],
    },
  });
  assert.equal(withWish(next!, asked), undefined, 'the same wish again is no write');
});

test('what is given back goes, with its pool when it was the last; what pods still use is named', () => {
  const before = node({
    requested: [],
    allocated: [
      { pool: 'a', cidrs: ['10.1.0.0/28', '10.1.0.16/28'] },
      { pool: 'b', cidrs: ['fd00::/120'] },
    ],
  });
  const next = withWish(
    before,
    wish({
      returned: new Set([cidr('10.1.0.16/28'), cidr('fd00::/120')]),
      named: [
        { pool: 'a', cidr: cidr('10.1.0.0/28') },
        { pool: 'a', cidr: cidr('10.1.0.32/28') },
        { pool: 'c', cidr: cidr('10.2.0.0/28') },
      ],
    }),
  );
  assert.deepEqual(next?.spec.ipam?.pools?.allocated, [
    { pool: 'a', cidrs: ['10.1.0.0/28', '10.1.0.32/28'] },
    { pool: 'c', cidrs: ['10.2.0.0/28'] },
  ]);
});
