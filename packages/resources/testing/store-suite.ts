import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kv } from '@causeway/etcd';
import { ResourceError, type ResourceErrorCode } from '../src/errors.ts';
import { type EtcdStoreOptions, etcdStore } from '../src/etcd-store.ts';
import type { Pod } from '../src/schema/core.ts';
import type { Service } from '../src/schema/service.ts';
import type { ResourceEvent, ResourceStore } from '../src/store.ts';

/** What the suite asks of a store under test: a new, empty one for each test. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly kv: Kv;
}

const CIDRS = `
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/24, "fd00:96::/112"]}
`;

const pod = (name: string, more: object = {}): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app: 'till' } },
    spec: { containers: [] },
    ...more,
  }) as Pod;

const service = (name: string, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { ports: [{ port: 80 }], selector: { app: name }, ...spec },
});

const refused =
  (code: ResourceErrorCode, part = '') =>
  (error: unknown): boolean => {
    assert.ok(error instanceof ResourceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.includes(part), error.message);
    return true;
  };

/** The resource store's contract, for the in-memory etcd and the real one alike. */
export function storeSuite(name: string, open: () => Promise<StoreUnderTest>): void {
  const suite = (
    title: string,
    body: (store: ResourceStore, kv: Kv) => Promise<void>,
    options: EtcdStoreOptions = {},
  ) =>
    test(`${name}: ${title}`, async () => {
      await using under = await open();
      let uid = 0;
      const fixed = { now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 678), uuid: () => `uid-${++uid}` };
      await body(etcdStore(under.kv, { ...fixed, ...options }), under.kv);
    });

  suite('create, get, list, update, delete', async (store) => {
    const created = await store.create(pod('a', { status: { phase: 'Running' } }));
    assert.equal(created.metadata.uid, 'uid-1');
    assert.equal(created.metadata.creationTimestamp, '2026-01-02T03:04:05Z');
    assert.equal(created.metadata.generation, 1);
    assert.deepEqual(await store.get('Pod', { namespace: 'shop', name: 'a' }), created);
    await assert.rejects(store.create(pod('a')), refused('already-exists', 'Pod shop/a'));
    const moved = await store.update({ ...created, spec: { ...created.spec, nodeName: 'n1' } });
    assert.equal(moved.metadata.generation, 2);
    assert.equal(moved.status?.phase, 'Running');
    assert.notEqual(moved.metadata.resourceVersion, created.metadata.resourceVersion);
    await assert.rejects(store.update(created), refused('conflict', 'has changed'));
    await assert.rejects(store.update(pod('a')), refused('conflict', 'must be set'));
    await store.create(pod('b', { metadata: { name: 'b', namespace: 'other' } }));
    assert.equal((await store.list('Pod')).items.length, 2);
    assert.equal((await store.list('Pod', { namespace: 'shop' })).items.length, 1);
    assert.equal((await store.list('Pod', { labels: { app: 'till' } })).items.length, 1);
    await assert.rejects(
      store.delete('Pod', { namespace: 'shop', name: 'a' }, { resourceVersion: '1' }),
      refused('conflict'),
    );
    assert.equal((await store.delete('Pod', { namespace: 'shop', name: 'a' }))?.metadata.name, 'a');
    await assert.rejects(store.get('Pod', { namespace: 'shop', name: 'a' }), refused('not-found'));
    await assert.rejects(
      store.delete('Pod', { namespace: 'shop', name: 'a' }),
      refused('not-found'),
    );
    await assert.rejects(store.update(created), refused('not-found'));
  });

  suite('status is patched beside everything else, by many at once', async (store) => {
    await store.create(pod('a'));
    const ref = { namespace: 'shop', name: 'a' };
    await store.patchStatus('Pod', ref, { phase: 'Running', podIP: '10.0.0.1' });
    await Promise.all(
      Array.from({ length: 5 }, (_, i) => store.patchStatus('Pod', ref, { [`x${i}`]: i })),
    );
    const now = await store.patchStatus('Pod', ref, { podIP: null });
    assert.deepEqual(now.status, { phase: 'Running', x0: 0, x1: 1, x2: 2, x3: 3, x4: 4 });
    assert.equal(now.metadata.generation, 1);
    await assert.rejects(
      store.patchStatus('Pod', ref, { phase: 'Odd' }),
      refused('invalid', 'status.phase'),
    );
  });

  suite('apply creates, configures and leaves alone; dry run writes nothing', async (store, kv) => {
    const manifest = `${CIDRS}
---
apiVersion: v1
kind: Service
metadata: {name: till, namespace: shop}
spec: {ipFamilyPolicy: PreferDualStack, ports: [{port: 80}], selector: {app: till}}
`;
    const dry = await store.apply(CIDRS, { dryRun: true });
    assert.deepEqual(
      dry.results.map(({ action }) => action),
      ['created'],
    );
    assert.equal((await kv.list('causeway/')).entries.length, 0);
    await store.apply(CIDRS);
    const first = await store.apply(manifest);
    assert.deepEqual(
      first.results.map(({ action }) => action),
      ['unchanged', 'created'],
    );
    assert.equal(first.atomic, true);
    const { spec } = first.results[1]!.object as Service;
    assert.equal(spec.clusterIPs?.length, 2);
    assert.deepEqual(spec.ipFamilies, ['IPv4', 'IPv6']);
    const again = await store.apply(manifest);
    assert.deepEqual(
      again.results.map(({ action }) => action),
      ['unchanged', 'unchanged'],
    );
    await store.patchStatus('Service', { namespace: 'shop', name: 'till' }, { loadBalancer: {} });
    const changed = await store.apply(manifest.replace('port: 80', 'port: 81'));
    assert.deepEqual(
      changed.results.map(({ action }) => action),
      ['unchanged', 'configured'],
    );
    const after = changed.results[1]?.object as Service;
    assert.deepEqual(after.spec.clusterIPs, spec.clusterIPs);
    assert.deepEqual(after.status, { loadBalancer: {} });
    assert.equal(after.metadata.generation, 2);
    assert.equal(after.metadata.uid, (first.results[1]!.object as Service).metadata.uid);
  });

  suite('nothing is half applied', async (store, kv) => {
    const bad = [service('ok'), service('bad', { ports: [{ port: 0 }] })];
    await store.apply(CIDRS);
    await assert.rejects(store.apply(bad), refused('invalid', 'spec.ports[0].port'));
    const taken = [service('one'), service('two', { clusterIP: '10.97.0.1' })];
    await assert.rejects(store.apply(taken), refused('invalid', '10.96.0.0/24'));
    await assert.rejects(store.apply([service('a'), service('a')]), refused('invalid', 'twice'));
    assert.equal((await kv.list('causeway/registry/core/')).entries.length, 0);
    assert.equal((await kv.list('causeway/allocations/service-ips/')).entries.length, 0);
  });

  suite('cluster IPs: honoured, refused with the owner, released', async (store, kv) => {
    await store.apply(CIDRS);
    await store.apply([service('a', { clusterIP: '10.96.0.10' })]);
    await assert.rejects(
      store.apply([service('b', { clusterIP: '10.96.0.10' })]),
      refused('address-taken', 'Service shop/a'),
    );
    await assert.rejects(
      store.apply([
        service('b', { clusterIP: '10.96.0.11' }),
        service('c', { clusterIP: '10.96.0.11' }),
      ]),
      refused('address-taken'),
    );
    await store.delete('Service', { namespace: 'shop', name: 'a' });
    assert.equal((await kv.list('causeway/allocations/service-ips/')).entries.length, 0);
    const { results } = await store.apply([service('b', { clusterIP: '10.96.0.10' })]);
    assert.equal(results[0]?.action, 'created');
    const dual = await store.apply([service('b', { ipFamilyPolicy: 'RequireDualStack' })]);
    assert.equal((dual.results[0]!.object as Service).spec.clusterIPs?.length, 2);
    await store.apply([service('b', { ipFamilyPolicy: 'SingleStack' })]);
    assert.equal((await kv.list('causeway/allocations/service-ips/')).entries.length, 1);
    await assert.rejects(
      store.apply([service('b', { clusterIP: '10.96.0.99' })]),
      refused('immutable', 'must stay 10.96.0.10'),
    );
  });

  suite('many clients at once never share an address', async (_, kv) => {
    const stores = Array.from({ length: 8 }, () =>
      etcdStore(kv, { serviceCidrs: ['10.0.0.0/26' as never], random: () => 0 }),
    );
    const done = await Promise.all(
      stores.map((store, i) => store.apply([service(`a${i}`), service(`b${i}`), service(`c${i}`)])),
    );
    const ips = done.flatMap(({ results }) =>
      results.map(({ object }) => (object as Service).spec.clusterIP),
    );
    assert.equal(new Set(ips).size, 24);
    await assert.rejects(
      stores[0]!.apply(Array.from({ length: 40 }, (__, i) => service(`z${i}`))),
      refused('exhausted', '10.0.0.0/26'),
    );
  });

  suite('more objects than one transaction holds', async (store) => {
    const pods = Array.from({ length: 300 }, (_, i) => pod(`p${i}`));
    const { atomic, results } = await store.apply(pods);
    assert.equal(atomic, false);
    assert.ok(results.every(({ action }) => action === 'created'));
    assert.equal((await store.list('Pod')).items.length, 300);
  });

  suite('values that do not parse are reported, skipped, replaced and deleted', async (store, kv) => {
    const at = (name: string): string => `causeway/registry/core/pods/shop/${name}`;
    await store.create(pod('good'));
    await kv.put(at('text'), 'not json');
    await kv.put(at('newer'), JSON.stringify({ ...pod('newer'), apiVersion: 'v9' }));
    await kv.put(at('other'), JSON.stringify(pod('another')));
    const { items, rejected } = await store.list('Pod');
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      ['good'],
    );
    assert.deepEqual(
      rejected.map(({ name }) => name),
      ['newer', 'other', 'text'],
    );
    assert.match(rejected[0]!.reason, /v9/);
    assert.match(rejected[1]!.reason, /another/);
    await assert.rejects(
      store.get('Pod', { namespace: 'shop', name: 'text' }),
      refused('invalid', 'not JSON'),
    );
    await store.apply([pod('text')]);
    assert.equal(await store.delete('Pod', { namespace: 'shop', name: 'newer' }), undefined);
    assert.equal((await store.list('Pod')).rejected.length, 1);
  });

  suite('watch: list, changes, rejections, deletions', async (store, kv) => {
    await store.create(pod('a'));
    await using watch = store.watch('Pod');
    const seen: string[] = [];
    const text = (event: ResourceEvent<Pod>): string => {
      if (event.type === 'put') return `put ${event.object.metadata.name}`;
      if (event.type === 'delete') return `delete ${event.namespace}/${event.name}`;
      if (event.type === 'rejected') return `rejected ${event.rejected.name}`;
      return event.type;
    };
    const until = async (last: string): Promise<void> => {
      for await (const batch of watch.batches()) {
        seen.push(...batch.map(text));
        if (seen.at(-1) === last) return;
      }
    };
    await until('synced');
    assert.deepEqual(seen, ['snapshot', 'put a', 'synced']);
    await store.create(pod('b'));
    await until('put b');
    await kv.put('causeway/registry/core/pods/shop/c', '{}');
    await until('rejected c');
    await store.delete('Pod', { namespace: 'shop', name: 'a' });
    await until('delete shop/a');
  });

  suite('an object that is too large is refused before the store sees it', async (store) => {
    const labels = { note: 'x'.repeat(1024 * 1024) };
    await assert.rejects(
      store.create(pod('big', { spec: { containers: [], note: labels.note } })),
      refused('too-large', 'Pod shop/big'),
    );
  });
}
