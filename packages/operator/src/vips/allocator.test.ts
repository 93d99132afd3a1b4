import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kv, memoryEtcd, systemClock } from '@causeway/etcd';
import { etcdStore } from '@causeway/resources';
import { startOperator, until } from '../../testing/world.ts';
import { decodeVip, VIPS, vipOfKey } from './records.ts';

const vipPool = (name: string, blocks: object[], more: object = {}) => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumLoadBalancerIPPool',
  metadata: { name },
  spec: { blocks, ...more },
});
const service = (name: string, annotations: object = {}, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop', annotations },
  spec: { type: 'LoadBalancer', ports: [{ port: 443 }], ...spec },
});
const CIDRS = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name: 'kubernetes' },
  spec: { cidrs: ['10.96.0.0/24', 'fd00:96::/112'] },
};

async function world(run: (kv: Kv) => Promise<void>): Promise<void> {
  await using etcd = memoryEtcd({ clock: systemClock });
  await using kv = etcd.connect();
  await etcdStore(kv).apply([CIDRS]);
  await using _operator = startOperator(kv);
  await run(kv);
}

async function addresses(kv: Kv, name: string): Promise<string[]> {
  const { status } = await etcdStore(kv).get('Service', { namespace: 'shop', name });
  return (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? '');
}

async function condition(kv: Kv, name: string): Promise<string> {
  const { status } = await etcdStore(kv).get('Service', { namespace: 'shop', name });
  const found = status?.conditions?.find(({ type }) => type === 'cilium.io/IPAMRequestSatisfied');
  return `${found?.status} ${found?.reason} ${found?.message}`;
}

const claims = async (kv: Kv) =>
  Object.fromEntries(
    (await kv.list(VIPS)).entries.map((entry) => {
      const claim = decodeVip(entry);
      return [claim?.address, claim?.services];
    }),
  );

test('services are given addresses in their families; an edited pool renumbers nobody; counts are told', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    await store.apply([
      vipPool('front', [{ cidr: '192.0.2.0/28' }, { start: '2001:db8::10', stop: '2001:db8::1f' }]),
      service('till', {}, { ipFamilyPolicy: 'RequireDualStack' }),
    ]);
    await until('both families', async () => (await addresses(kv, 'till')).length === 2);
    const [ipv4, ipv6] = await addresses(kv, 'till');
    assert.match(ipv4!, /^192\.0\.2\.\d+$/);
    assert.match(ipv6!, /^2001:db8::1/);
    assert.deepEqual(await claims(kv), { [ipv4!]: ['shop/till'], [ipv6!]: ['shop/till'] });
    await store.apply([
      vipPool('front', [
        { cidr: '198.51.100.0/28' },
        { cidr: `${ipv4}/32` },
        { cidr: '2001:db8::/120' },
      ]),
      service('more'),
    ]);
    await until('more is served', async () => (await addresses(kv, 'more')).length === 1);
    assert.deepEqual(await addresses(kv, 'till'), [ipv4, ipv6]);
    await until('the pool tells its counts', async () => {
      const { status } = await store.get('CiliumLoadBalancerIPPool', { name: 'front' });
      const used = status?.conditions?.find(({ type }) => type === 'cilium.io/IPsUsed');
      return used?.message === '3';
    });
    assert.match(await condition(kv, 'till'), /^True satisfied/);
  }));

test('requested and shared addresses; who is refused is told why, and served when it can be', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    const ips = { 'lbipam.cilium.io/ips': '192.0.2.7' };
    const sharing = { ...ips, 'lbipam.cilium.io/sharing-key': 'one' };
    await store.apply([
      vipPool('front', [{ cidr: '192.0.2.0/28' }]),
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumNode',
        metadata: { name: 'api' },
        spec: { addresses: [{ type: 'InternalIP', ip: '203.0.113.9' }] },
      },
      service('a', sharing),
      service('b', sharing, { ports: [{ port: 80 }] }),
    ]);
    await until('both have it', async () =>
      [await addresses(kv, 'a'), await addresses(kv, 'b')].every(([ip]) => ip === '192.0.2.7'),
    );
    assert.deepEqual(await claims(kv), { '192.0.2.7': ['shop/a', 'shop/b'] });
    await store.apply([service('c', ips)]);
    await until('c is told', async () => (await condition(kv, 'c')).startsWith('False'));
    assert.match(await condition(kv, 'c'), /192\.0\.2\.7.*shop\/a/);
    await store.delete('Service', { namespace: 'shop', name: 'a' });
    await store.delete('Service', { namespace: 'shop', name: 'b' });
    await until('c has it', async () => (await addresses(kv, 'c'))[0] === '192.0.2.7');
    // A node's address is no VIP, not even when a service asks for it by name.
    await store.apply([service('d', { 'lbipam.cilium.io/ips': '203.0.113.9' })]);
    await until('d is told', async () => (await condition(kv, 'd')).startsWith('False'));
    assert.deepEqual(await addresses(kv, 'd'), []);
  }));

test('a service that no longer wants an address loses it, in its status before its record', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    await store.apply([vipPool('front', [{ cidr: '192.0.2.1/32' }]), service('a')]);
    await until('a has it', async () => (await addresses(kv, 'a')).length === 1);
    const seen: string[] = [];
    await using watch = kv.watch('causeway/');
    const done = (async () => {
      for await (const event of watch) {
        if (event.type === 'delete' && event.key.startsWith(VIPS)) return seen.push('record');
        if (event.type === 'put' && event.entry.key.endsWith('/shop/a')) {
          const { status } = JSON.parse(event.entry.text) as {
            status?: { loadBalancer?: { ingress?: unknown[] } };
          };
          if (status?.loadBalancer?.ingress?.length === 0) seen.push('status');
        }
      }
      return undefined;
    })();
    await store.apply([service('a', {}, { type: 'ClusterIP' })]);
    await done;
    assert.deepEqual(seen, ['status', 'record']);
    assert.deepEqual(await claims(kv), {});
  }));

test('a record that cannot be read keeps its own address from use and no other', () =>
  world(async (kv) => {
    await kv.put(`${VIPS}203.0.113.1`, 'nobody knows');
    await etcdStore(kv).apply([vipPool('odd', [{ cidr: '203.0.113.0/29' }]), service('lamp')]);
    await until('it is served', async () => (await addresses(kv, 'lamp')).length === 1);
    assert.deepEqual(await addresses(kv, 'lamp'), ['203.0.113.2']);
    assert.equal((await kv.get(`${VIPS}203.0.113.1`))?.text, 'nobody knows');
    assert.equal(vipOfKey(`${VIPS}203.0.113.01`), undefined);
  }));

test('an address that a status goes on showing, for nobody can write it, stays recorded', () =>
  world(async (kv) => {
    const store = etcdStore(kv);
    await store.apply([vipPool('front', [{ cidr: '192.0.2.1/32' }]), service('a')]);
    await until('a has it', async () => (await addresses(kv, 'a')).length === 1);
    const key = 'causeway/registry/core/services/shop/a';
    assert.notEqual(await kv.get(key), undefined);
    await kv.put(key, '{"kind":"Service","spec":{"ports":"of a later version"}}');
    await store.delete('CiliumLoadBalancerIPPool', { name: 'front' });
    const side = [{ cidr: '192.0.2.2/32' }, { cidr: '192.0.2.3/32' }];
    await store.apply([vipPool('side', side), service('b')]);
    await until('b is served', async () => (await addresses(kv, 'b')).length === 1);
    assert.deepEqual((await claims(kv))['192.0.2.1'], ['shop/a']);
    await kv.delete(key);
    await until('the record goes with the service', async () => {
      return (
        Object.values(await claims(kv))
          .flat()
          .join() === 'shop/b'
      );
    });
  }));
