import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kv } from '@causeway/etcd';
import type { Address } from '@causeway/ip';
import { claimKey, encodeClaim } from '@causeway/ipam';
import { PLAN_GUARD } from '../src/address-plan/guard.ts';
import { encodePodCidr, podCidrKey, poolUseKey } from '../src/address-plan/pod-cidrs.ts';
import { ResourceError, type ResourceErrorCode } from '../src/errors.ts';
import { etcdStore } from '../src/etcd-store.ts';
import type { StoreUnderTest } from './store-suite.ts';

const familyOf = (family: string, cidrs: string[], maskSize: number) =>
  cidrs.length === 0 ? {} : { [family]: { cidrs, maskSize } };

const pool = (name: string, ...cidrs: string[]) => ({
  apiVersion: 'cilium.io/v2alpha1',
  kind: 'CiliumPodIPPool',
  metadata: { name },
  spec: {
    ...familyOf(
      'ipv4',
      cidrs.filter((each) => !each.includes(':')),
      26,
    ),
    ...familyOf(
      'ipv6',
      cidrs.filter((each) => each.includes(':')),
      120,
    ),
  },
});
const node = (name: string, ip: string, podCIDRs: string[] = []) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNode',
  metadata: { name },
  spec: { addresses: [{ type: 'InternalIP', ip }], ipam: { podCIDRs } },
});
const vips = (name: string, ...blocks: object[]) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumLoadBalancerIPPool',
  metadata: { name },
  spec: { blocks },
});
const services = (...cidrs: string[]) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name: 'kubernetes' },
  spec: { cidrs },
});
const reservation = (name: string, podName: string, ...addresses: object[]) => ({
  apiVersion: 'causeway.io/v1',
  kind: 'AddressReservation',
  metadata: { name, namespace: 'shop' },
  spec: { podName, addresses },
});
const claim = {
  address: '10.1.0.7' as Address,
  owner: { type: 'pod', namespace: 'shop', pod: 'web' },
  partner: null,
  home: 'n1',
  at: 'n1',
  holder: 'c1',
  epoch: 1,
  announced: true,
  from: null,
  behind: [],
  standby: null,
  releasedAt: null,
  ttlSeconds: 60,
  reservation: null,
} as const;
const plan = (name: string, clusters: object[], cidrs = ['10.0.0.0/8', 'fd00::/32']) => ({
  apiVersion: 'causeway.io/v1',
  kind: 'AddressPlan',
  metadata: { name },
  spec: { regions: [{ name: 'eu', vpcs: [{ name: 'core', cidrs, clusters }] }] },
});

const refused =
  (code: ResourceErrorCode, ...parts: RegExp[]) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof ResourceError, String(error));
    assert.equal(error.code, code, error.message);
    for (const part of parts) assert.match(error.message, part);
    return true;
  };

/** Who may have which ranges, for the in-memory etcd and the real one alike. */
export function addressSuite(name: string, open: () => Promise<StoreUnderTest>): void {
  const suite = (title: string, body: (kv: Kv) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      await using under = await open();
      await body(under.kv);
    });

  suite('overlaps are refused with both owners, in either order and in both families', async (kv) => {
    const store = etcdStore(kv);
    await store.apply([
      pool('a', '10.1.0.0/16', 'fd00:1::/48'),
      services('10.96.0.0/16', 'fd00:96::/108'),
    ]);
    await assert.rejects(
      store.apply([pool('b', '10.1.2.0/24')]),
      refused(
        'address-overlap',
        /10\.1\.2\.0\/24.*CiliumPodIPPool\/b/,
        /10\.1\.0\.0\/16.*CiliumPodIPPool\/a/,
      ),
    );
    await assert.rejects(
      store.apply([pool('b', 'fd00:1:0:7::/64')]),
      refused('address-overlap', /CiliumPodIPPool\/b.*CiliumPodIPPool\/a/),
    );
    await assert.rejects(
      store.apply([vips('v', { start: '10.96.0.250', stop: '10.96.1.5' })]),
      refused('address-overlap', /CiliumLoadBalancerIPPool\/v/, /ServiceCIDR\/kubernetes/),
    );
    await assert.rejects(
      store.apply([pool('both', '10.2.0.0/16'), vips('v', { cidr: '10.2.9.0/24' })]),
      refused('address-overlap', /CiliumPodIPPool\/both/, /CiliumLoadBalancerIPPool\/v/),
    );
    assert.deepEqual((await store.list('CiliumLoadBalancerIPPool')).items, []);
    await store.apply([vips('v', { cidr: '192.0.2.0/28' }), vips('w', { cidr: '192.0.2.0/24' })]);
  });

  suite('a VIP pool over a node’s address is refused, and a node inside a pool', async (kv) => {
    const store = etcdStore(kv);
    await store.apply([node('n1', '192.0.2.10', ['10.9.0.0/24'])]);
    await assert.rejects(
      store.apply([vips('v', { start: '192.0.2.8', stop: '192.0.2.12' })]),
      refused('address-overlap', /192\.0\.2\.10.*CiliumNode\/n1/),
    );
    await store.apply([vips('v', { cidr: '192.0.2.64/26' }), pool('a', '10.9.0.0/16')]);
    await assert.rejects(
      store.apply([node('n2', '192.0.2.70')]),
      refused('address-overlap', /CiliumNode\/n2/, /CiliumLoadBalancerIPPool\/v/),
    );
  });

  suite('the plan: what is inside its own entry passes, what is another cluster’s does not', async (kv) => {
    const store = etcdStore(kv);
    await kv.put(PLAN_GUARD, JSON.stringify({ cluster: 'main' }));
    await store.apply([
      plan('company', [
        { name: 'main', pods: ['10.1.0.0/16'], services: ['10.96.0.0/16'] },
        { name: 'west', pods: ['10.2.0.0/16'] },
      ]),
    ]);
    await store.apply([pool('a', '10.1.0.0/20')]);
    await assert.rejects(
      store.apply([pool('b', '10.2.0.0/20')]),
      refused(
        'address-overlap',
        /CiliumPodIPPool\/b/,
        /pods of cluster west in AddressPlan\/company/,
      ),
    );
    await assert.rejects(
      store.apply([services('10.1.16.0/20')]),
      refused('address-overlap', /ServiceCIDR\/kubernetes/),
    );
    await assert.rejects(
      store.apply([
        plan('company', [
          { name: 'main', pods: ['10.1.0.0/16'] },
          { name: 'west', pods: ['10.1.128.0/17'] },
        ]),
      ]),
      refused('address-overlap', /cluster west/, /cluster main/),
    );
  });

  suite('of two overlapping applies at once exactly one passes', async (kv) => {
    const store = etcdStore(kv);
    for (let round = 0; round < 5; round++) {
      const names = Array.from({ length: 6 }, (_, index) => `p${round}-${index}`);
      const results = await Promise.allSettled(
        names.map((each, index) =>
          store.apply([
            index % 2 === 0
              ? pool(each, `10.${round}.0.0/16`)
              : vips(each, { cidr: `10.${round}.${index}.0/24` }),
          ]),
        ),
      );
      const pools = results.filter((each, index) => index % 2 === 0 && each.status === 'fulfilled');
      const blocks = results.filter(
        (each, index) => index % 2 === 1 && each.status === 'fulfilled',
      );
      assert.ok(
        (pools.length === 1 && blocks.length === 0) || (pools.length === 0 && blocks.length === 3),
        JSON.stringify(results.map(({ status }) => status)),
      );
      for (const each of results) {
        if (each.status === 'rejected') refused('address-overlap')(each.reason);
      }
    }
  });

  suite('an address that another reservation names or a claim keeps is refused by name', async (kv) => {
    const store = etcdStore(kv);
    const taken = (...parts: RegExp[]) => refused('address-taken', ...parts);
    await store.apply([reservation('a', 'till', { ipv4: '10.1.0.5', ipv6: 'fd00::5' })]);
    const other = [{ ipv4: '10.1.0.6', ipv6: 'fd00::5' }, { ipv4: '10.1.0.5' }];
    await assert.rejects(
      store.apply([reservation('b', 'db', ...other)]),
      taken(
        /^AddressReservation shop\/b: fd00::5 is named by AddressReservation shop\/a for pod shop\/till$/m,
        /10\.1\.0\.5 is named by/,
      ),
    );
    await assert.rejects(
      store.apply([
        reservation('c', 'db', { ipv4: '10.1.0.9' }),
        reservation('d', 'web', { ipv4: '10.1.0.9' }),
      ]),
      taken(/shop\/c: .*shop\/d/, /shop\/d: .*shop\/c/),
    );
    await kv.put(claimKey(claim.address), encodeClaim(claim));
    await assert.rejects(
      store.apply([reservation('b', 'db', { ipv4: claim.address })]),
      taken(/10\.1\.0\.7.*is kept for pod shop\/web on n1/),
    );
    assert.deepEqual((await store.list('AddressReservation')).items.length, 1);
    // Who has it may be given it for good, and one may hand over to another in one step.
    await store.apply([reservation('web', 'web', { ipv4: claim.address })]);
    await store.apply([
      reservation('a', 'till', { ipv4: '10.1.0.8' }),
      reservation('b', 'db', { ipv4: '10.1.0.5' }),
    ]);
    // What it has named already is its own affair, whatever has come of it since.
    await kv.put(
      claimKey(claim.address),
      encodeClaim({ ...claim, owner: { ...claim.owner, pod: 'x' } }),
    );
    await store.apply([reservation('web', 'web', { ipv4: claim.address }, { ipv6: 'fd00::8' })]);
  });

  suite('a pool keeps what is in use: shrinking and deleting name nodes, pods and claims', async (kv) => {
    const store = etcdStore(kv);
    await store.apply([
      pool('a', '10.1.0.0/24', '10.2.0.0/24'),
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'till', namespace: 'shop' },
        status: { podIPs: [{ ip: '10.1.0.5' }] },
      },
    ]);
    await store.patchStatus(
      'Pod',
      { namespace: 'shop', name: 'till' },
      { podIPs: [{ ip: '10.1.0.5' }] },
    );
    const cidr = '10.1.0.0/26' as never;
    const record = { cidr, pool: 'a', node: 'n1', since: '', state: 'given' } as const;
    await kv.put(podCidrKey(cidr), encodePodCidr(record));
    await assert.rejects(
      store.apply([pool('a', '10.2.0.0/24')]),
      refused('in-use', /10\.1\.0\.0\/26 \(n1\)/, /shop\/till/),
    );
    await assert.rejects(store.delete('CiliumPodIPPool', { name: 'a' }), refused('in-use', /n1/));
    await kv.put(podCidrKey(cidr), 'written by somebody else');
    await assert.rejects(
      store.delete('CiliumPodIPPool', { name: 'a' }),
      refused('in-use', /10\.1\.0\.0\/26 \(a record that cannot be read\)/),
    );
    // What nobody has may go, also a part of a range.
    await store.apply([pool('a', '10.1.0.0/25')]);
    await kv.delete(podCidrKey(cidr));
    await store.delete('CiliumPodIPPool', { name: 'a' });
  });

  suite('what is given while a pool shrinks keeps it from shrinking', async (kv) => {
    await etcdStore(kv).apply([pool('a', '10.1.0.0/24', '10.2.0.0/24')]);
    const cidr = '10.1.0.0/26' as never;
    const record = { cidr, pool: 'a', node: 'late', since: '', state: 'given' } as const;
    let given = false;
    // As the operator does it, between the shrinker's look at the records and its write.
    const store = etcdStore(
      new Proxy(kv, {
        get(target, property) {
          const value = Reflect.get(target, property, target) as unknown;
          if (property !== 'txn' || typeof value !== 'function') {
            return typeof value === 'function' ? value.bind(target) : value;
          }
          return async (...args: Parameters<Kv['txn']>) => {
            if (!given && args[0].success.some(({ type }) => type === 'put')) {
              given = true;
              await kv.txn({
                compare: [],
                success: [
                  { type: 'put', key: podCidrKey(cidr), value: encodePodCidr(record) },
                  { type: 'put', key: poolUseKey('a'), value: '' },
                ],
              });
            }
            return target.txn(...args);
          };
        },
      }),
    );
    await assert.rejects(store.apply([pool('a', '10.2.0.0/24')]), refused('in-use', /late/));
  });
}
