import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Balancer, type MapOperation } from '../index.ts';
import { maglevTable } from './maglev.ts';
import { SlotTables } from './slot-tables.ts';

/** Backends of a service whose tables are remembered: 8,191 slots. */
const MOST = 80;
const LEAST = 50;
const CHUNKS = Math.ceil(8191 / 64);

const balancer = (): Balancer => {
  const made = new Balancer({ node: 'n1', defaultAlgorithm: 'maglev', resolveSelectors: false });
  const service = made.applyService({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'n' },
    spec: { clusterIPs: ['10.96.0.1'], ports: [{ port: 80, targetPort: 8080 }] },
  });
  assert.ok(service.ok);
  made.markSynced();
  return made;
};

const serve = (to: Balancer, hosts: Iterable<number>): void => {
  const slice = to.applyEndpointSlice({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 's', namespace: 'n', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ port: 8080 }],
    endpoints: Array.from(hosts, (host) => ({
      addresses: [`10.0.0.${host}`],
      conditions: { ready: true },
    })),
  });
  assert.ok(slice.ok);
};

test('property: the edits make the written table the new one, and nothing else is written', () => {
  const table = fc
    .uniqueArray(fc.integer({ min: 1, max: 999 }), { minLength: LEAST, maxLength: MOST })
    .map((ids) =>
      maglevTable(
        ids.map((id) => ({ key: `b${id}` })),
        8191,
      ).map((at) => ids[at]!),
    );
  fc.assert(
    fc.property(table, table, (before, after) => {
      const written = before.slice();
      const edits = new SlotTables('new', after, undefined).editsOf(
        new SlotTables('old', before, undefined),
      );
      for (const { chunk, backendIds } of edits ?? assert.fail('no edits')) {
        const place = written.subarray(chunk * 64, (chunk + 1) * 64);
        const put = backendIds.subarray(0, place.length);
        assert.notDeepEqual(place, put);
        place.set(put);
      }
      assert.deepEqual(written, after);
    }),
    { numRuns: 30 },
  );
});

test('tables that are small, forgotten or of another size are written whole', () => {
  const tables = (slots: number, local?: number) =>
    new SlotTables('x', new Uint32Array(slots), local ? new Uint32Array(local) : undefined);
  assert.deepEqual(tables(8191).editsOf(tables(8191)), []);
  assert.equal(tables(16381).editsOf(tables(8191)), undefined);
  assert.equal(tables(8191, 251).editsOf(tables(8191)), undefined);
  assert.equal(tables(2039).editsOf(tables(2039)), undefined);
  assert.equal(tables(0).editsOf(tables(251).kept()), undefined);
  assert.equal(tables(251).kept().main.length, 0);
});

test('of a large table only the chunks are written that differ, under the same generation', () => {
  const edited = balancer();
  const all = Array.from({ length: MOST }, (_, i) => i + 1);
  serve(edited, all);
  const generations = (operations: readonly MapOperation[]) => [
    ...new Set(operations.flatMap((each) => (each.type === 'slots-put' ? [each.generation] : []))),
  ];
  const before = generations(edited.flush());
  serve(edited, all.slice(1));
  const operations = edited.flush();
  const puts = operations.filter(({ type }) => type === 'slots-put');
  assert.ok(puts.length > 0 && puts.length < CHUNKS, `${puts.length} of ${CHUNKS} chunks`);
  assert.ok(operations.every(({ type }) => type !== 'slots-delete'));
  assert.deepEqual(generations(operations), before);
  const order = operations.map(({ type }) => type);
  assert.ok(
    order.lastIndexOf('slots-put') < order.indexOf('backend-delete'),
    'who is gone goes last',
  );
});
