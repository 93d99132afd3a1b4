import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address } from '@causeway/ip';
import fc from 'fast-check';
import type { Endpoint } from './member.ts';
import { Numbers } from './numbers.ts';
import { Publication, type Write } from './publication.ts';

const config = {
  id: 37,
  syncedCanaries: true,
  cached: false,
  maxConnectedClusters: 255,
  serviceExportsEnabled: undefined,
} as const;
const MIN = (37 << 16) + 256;

const publicationOf = (size = 100) =>
  new Publication(
    { name: 'outside', config },
    new Numbers({ min: MIN, max: MIN + size - 1, linger: 1000, rest: 5000 }),
  );

const endpoint = (labels: string, nodeAddress?: string): Endpoint => ({
  source: 'one',
  id: 'a',
  name: 'a',
  namespace: 'default',
  serviceAccount: '',
  labels,
  nodeAddress: nodeAddress as Address | undefined,
  addresses: [],
});

const LABELS = ['k8s:app=a;', 'k8s:app=b;', 'k8s:app=c;'];
const want = (address: string, given: Endpoint | undefined) => [
  { address: address as Address, endpoint: given },
];

test('what is referred to comes first, and goes last', () => {
  const publication = publicationOf();
  const first = publication.batch(want('10.0.0.1', endpoint(LABELS[0]!, '192.0.2.1')), 0);
  assert.deepEqual(
    first.before.filter(({ type }) => type === 'put').map(({ key }) => key.split('/')[2]),
    ['identities', 'nodes'],
  );
  const number = publication.numberOf(LABELS[0]!)!;
  assert.deepEqual(JSON.parse((first.entries[0] as { value: string }).value), {
    IP: '10.0.0.1',
    Mask: null,
    HostIP: '192.0.2.1',
    ID: number,
    Key: 0,
    Metadata: 'causeway-inventory:one:a',
    K8sNamespace: 'default',
    K8sPodName: 'a',
  });
  const gone = publication.batch(want('10.0.0.1', undefined), 10);
  assert.deepEqual(
    [gone.before.length, gone.entries[0]?.type, gone.after[0]?.type],
    [0, 'delete', 'delete'],
  );
  assert.match(gone.after[0]?.key ?? '', /nodes\/v1\/outside\/outside-192-0-2-1$/);
  assert.deepEqual(publication.due(1009).writes, []);
  assert.deepEqual(
    publication.due(1010).writes.map(({ type, key }) => `${type} ${key}`),
    [`put causeway/inventory/resting/${number}`, `delete cilium/state/identities/v1/id/${number}`],
  );
});

test('a number rests before it means other labels, and returns at once to its own', () => {
  const publication = publicationOf(1);
  publication.batch(want('10.0.0.1', endpoint(LABELS[0]!)), 0);
  publication.batch(want('10.0.0.1', undefined), 0);
  publication.due(1000);
  const other = publication.batch(want('10.0.0.2', endpoint(LABELS[1]!)), 2000);
  assert.equal(other.entries.length, 0);
  assert.match(
    publication.whyNot('10.0.0.2' as Address) ?? '',
    /all 1 numbers .* in use \(0\) or rest \(1\)/,
  );
  const again = publication.batch(want('10.0.0.1', endpoint(LABELS[0]!)), 3000);
  assert.equal(again.before[0]?.key, `cilium/state/identities/v1/id/${MIN}`);
  publication.batch(want('10.0.0.1', undefined), 4000);
  assert.deepEqual(publication.due(5000).retry, []);
  assert.deepEqual(publication.due(10_000).retry, ['10.0.0.2'], 'a number is free again');
  assert.equal(publication.batch(want('10.0.0.2', endpoint(LABELS[1]!)), 10_000).entries.length, 1);
  assert.equal(publication.whyNot('10.0.0.2' as Address), undefined);
});

test('nodes whose addresses look alike have names of their own', () => {
  const publication = publicationOf();
  const keys = ['192.0.2.1', '192.0.21.1', '2001:db8::1', '2001:db8:1::', '2001:db8:1:0:1::'].map(
    (node, i) =>
      publication
        .batch(want(`10.0.0.${i}`, endpoint(LABELS[0]!, node)), 0)
        .before.find(({ key }) => key.includes('/nodes/'))?.key,
  );
  assert.equal(new Set(keys).size, 5);
  for (const key of keys) assert.match(key ?? '', /\/outside-[a-z0-9-]*[a-z0-9]$/);
});

test('at every moment of any history the store refers only to what stands, and no number changes its labels unrested', () => {
  const one = fc.record({
    address: fc.constantFrom('10.0.0.1', '10.0.0.2', '2001:db8::1'),
    labels: fc.option(fc.constantFrom(...LABELS)),
    node: fc.option(fc.constantFrom('192.0.2.1', '192.0.2.2')),
  });
  const step = fc.record({
    several: fc.uniqueArray(one, { selector: ({ address }) => address, maxLength: 3 }),
    wait: fc.constantFrom(0, 400, 1500, 6000),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const publication = publicationOf(3);
      const store = new Map<string, string>();
      const meant = new Map<string, { labels: string; until: number }>();
      let now = 0;
      const apply = (writes: readonly Write[]) => {
        for (const write of writes) {
          if (write.type === 'delete') store.delete(write.key);
          else store.set(write.key, write.value);
          if (write.type === 'put' && write.key.includes('/identities/')) {
            const last = meant.get(write.key);
            assert.ok(last === undefined || last.labels === write.value || last.until <= now);
            meant.set(write.key, { labels: write.value, until: Number.POSITIVE_INFINITY });
          } else if (write.key.includes('/identities/')) {
            meant.set(write.key, { labels: meant.get(write.key)!.labels, until: now + 5000 });
          }
        }
        for (const [key, value] of store) {
          if (!key.includes('/ip/')) continue;
          const { ID, HostIP } = JSON.parse(value) as { ID: number; HostIP: string };
          assert.ok(store.has(`cilium/state/identities/v1/id/${ID}`));
          const node = `cilium/state/nodes/v1/outside/outside-${HostIP.replaceAll('.', '-')}`;
          assert.ok(HostIP === '' || store.has(node));
        }
      };
      for (const { several, wait } of steps) {
        now += wait;
        apply(publication.due(now).writes);
        const wanted = several.flatMap(({ address, labels, node }) =>
          want(address, labels === null ? undefined : endpoint(labels, node ?? undefined)),
        );
        const { before, entries, after } = publication.batch(wanted, now);
        for (const part of [before, entries, after]) apply(part);
        const standing = new Map(publication.standing());
        for (const [key, value] of store) {
          if (key.startsWith('cilium/')) assert.equal(standing.get(key), value);
        }
        for (const key of standing.keys()) assert.ok(store.has(key));
      }
    }),
    { numRuns: 300 },
  );
});
