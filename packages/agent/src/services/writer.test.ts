import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { Address } from '@causeway/ip';
import { Balancer, type MapOperation } from '@causeway/loadbalancing';
import { VirtualClock } from '@causeway/tables';
import fc from 'fast-check';
import { ServiceWriter } from './writer.ts';

/** The service maps with room for so many rows each; deletes always succeed. */
class Maps {
  readonly rows = new Map<string, MapOperation>();
  readonly room: { services: number; slots: number };

  constructor(room: Partial<Maps['room']> = {}) {
    this.room = { services: 1000, slots: 1000, ...room };
  }

  of(type: string): MapOperation[] {
    return [...this.rows.values()].filter((row) => row.type === type);
  }

  apply = (operation: MapOperation): void => {
    const { key, type } = placeOf(operation);
    if (type === 'delete') {
      this.rows.delete(key);
      return;
    }
    const full = (kind: MapOperation['type'], room: number) =>
      operation.type === kind && !this.rows.has(key) && this.of(kind).length >= room;
    if (full('service-put', this.room.services) || full('slots-put', this.room.slots))
      throw new Error('map-full');
    this.rows.set(key, operation);
  };
}

function placeOf(operation: MapOperation): { key: string; type: 'put' | 'delete' } {
  const type = operation.type.endsWith('-delete') ? 'delete' : 'put';
  switch (operation.type) {
    case 'backend-put':
    case 'backend-delete':
      return { type, key: `backend ${operation.backendId}` };
    case 'slots-put':
    case 'slots-delete':
      return {
        type,
        key: `slots ${operation.serviceId} ${operation.generation} ${operation.table} ${operation.chunk}`,
      };
    case 'reverse-put':
    case 'reverse-delete':
      return { type, key: `reverse ${operation.serviceId}` };
    case 'source-range-put':
    case 'source-range-delete':
      return { type, key: `range ${operation.serviceId} ${operation.prefix}` };
    case 'service-put':
    case 'service-delete':
      return { type, key: `service ${operation.key.address}` };
    default:
      return operation satisfies never;
  }
}

function setUp(room: Partial<Maps['room']>) {
  const clock = new VirtualClock();
  const maps = new Maps(room);
  const writer = new ServiceWriter({ apply: maps.apply, clock, random: () => 0.5, log: silentLog });
  const balancer = new Balancer({
    node: 'n1',
    defaultAlgorithm: 'random',
    resolveSelectors: false,
  });
  return {
    clock,
    maps,
    writer,
    flush: () => balancer.flush(),
    push: () => writer.push(balancer.flush()),
    service(number: number) {
      const parsed = balancer.applyService({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: `s${number}`, namespace: 'default' },
        spec: { clusterIPs: [`10.96.0.${number}`], ports: [{ port: 80 }] },
      });
      assert.ok(parsed.ok);
    },
    remove: (number: number) =>
      balancer.deleteService({ namespace: 'default', name: `s${number}` }),
    /** The service is served by the pod addresses 10.0.0.<each>. */
    serve(number: number, pods: readonly number[]) {
      const parsed = balancer.applyEndpointSlice({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `s${number}`,
          namespace: 'default',
          labels: { 'kubernetes.io/service-name': `s${number}` },
        },
        addressType: 'IPv4',
        endpoints: pods.map((pod) => ({
          addresses: [`10.0.0.${pod}`],
          conditions: { ready: true },
        })),
        ports: [{ port: 8080 }],
      });
      assert.ok(parsed.ok);
    },
    addresses: () =>
      maps
        .of('service-put')
        .map((row) => row.type === 'service-put' && row.key.address)
        .sort(),
  };
}

const ip = (number: number) => Address.parse(`10.96.0.${number}`);

test('a service without room waits; others come, change and go, and it takes the room they leave', () => {
  const t = setUp({ services: 2 });
  for (const number of [1, 2, 3]) t.service(number);
  t.push();
  assert.deepEqual(t.addresses(), [ip(1), ip(2)]);
  assert.equal(t.writer.waiting, 1);
  assert.match(String(t.writer.error), /map-full/);
  t.serve(2, [7]);
  t.push();
  assert.equal(t.maps.of('slots-put').length, 1, 'the others are served');
  t.remove(1);
  t.push();
  assert.deepEqual(t.addresses(), [ip(2), ip(3)]);
  assert.ok(t.writer.idle);
  assert.equal(t.writer.error, undefined);
});

test('what waits is tried again by itself, and nothing waits for a service that is gone', async () => {
  const t = setUp({ services: 1 });
  t.service(1);
  t.service(2);
  t.push();
  t.maps.room.services = 2;
  await t.clock.advance(10_000);
  assert.deepEqual(t.addresses(), [ip(1), ip(2)]);
  t.service(3);
  t.push();
  assert.equal(t.writer.waiting, 1);
  t.remove(3);
  t.push();
  assert.ok(t.writer.idle);
  await t.clock.advance(60_000);
  assert.deepEqual(t.addresses(), [ip(1), ip(2)]);
  assert.equal(t.clock.sleeping, 0);
});

test('a service whose new slots find no room keeps its old ones, however often it changes', () => {
  const t = setUp({ slots: 1 });
  t.service(1);
  t.serve(1, [1]);
  t.push();
  const generation = () =>
    t.maps.of('service-put').map((row) => row.type === 'service-put' && row.row.generation);
  assert.deepEqual(generation(), [1]);
  for (let pod = 2; pod < 30; pod++) {
    t.serve(1, [1, pod]);
    t.push();
    assert.deepEqual(generation(), [1]);
    assert.equal(t.maps.of('slots-put').length, 1);
  }
  assert.equal(t.writer.waiting, 1);
  t.maps.room.slots = 2;
  t.serve(1, [1]);
  t.push();
  t.service(2);
  t.push();
  t.remove(2);
  t.push();
  assert.ok(t.writer.idle);
  const [row] = t.maps.of('service-put');
  const [slots] = t.maps.of('slots-put');
  assert.ok(row?.type === 'service-put' && slots?.type === 'slots-put');
  assert.equal(slots.generation, row.row.generation, 'the new slots stand, the old ones are gone');
  assert.equal(t.maps.of('slots-put').length, 1);
});

test('after any history in too little room, room is all that is missing', async () => {
  const step = fc.oneof(
    fc.record({ type: fc.constant('add' as const), service: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ type: fc.constant('remove' as const), service: fc.integer({ min: 1, max: 6 }) }),
    fc.record({
      type: fc.constant('serve' as const),
      service: fc.integer({ min: 1, max: 6 }),
      pods: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }),
    }),
    fc.record({ type: fc.constant('push' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 3 }),
      async (steps, services, slots) => {
        const t = setUp({ services, slots });
        const roomy = new Maps();
        const push = () => {
          const operations = t.flush();
          for (const operation of operations) roomy.apply(operation);
          t.writer.push(operations);
        };
        for (const each of steps) {
          if (each.type === 'add') t.service(each.service);
          else if (each.type === 'remove') t.remove(each.service);
          else if (each.type === 'serve') t.serve(each.service, each.pods);
          else push();
          // What the kernel has is whole: slots of the generation that the row names.
          for (const row of t.maps.of('service-put')) {
            if (row.type !== 'service-put' || row.row.slots === 0) continue;
            const { serviceId, generation } = row.row;
            assert.ok(t.maps.rows.has(`slots ${serviceId} ${generation} main 0`));
          }
        }
        push();
        t.maps.room.services = t.maps.room.slots = 1000;
        await t.clock.advance(60_000);
        assert.ok(t.writer.idle);
        assert.deepEqual(new Map([...t.maps.rows].sort()), new Map([...roomy.rows].sort()));
      },
    ),
    { numRuns: 300 },
  );
});
