import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hintsOf, MOST_BYTES } from './notifications.ts';

const id = '3c043000-9bfd-44fa-b1fc-be39d582a363';

/** As oslo.messaging 14 writes it, seen from Neutron 21 and Nova 26. */
const envelope = (event_type: string, payload: unknown): Buffer =>
  Buffer.from(
    JSON.stringify({
      'oslo.version': '2.0',
      'oslo.message': JSON.stringify({
        message_id: 'm',
        publisher_id: 'network.host',
        event_type,
        priority: 'INFO',
        payload,
      }),
    }),
  );

test('hints at what a notification is about, once it is done', () => {
  const port = [{ type: 'port', id }];
  const server = [{ type: 'server', id }];
  const cases: readonly [string, unknown, unknown[]][] = [
    ['port.create.end', { port: { id, name: 'x' } }, port],
    [
      'port.create.end',
      { ports: [{ id }, { id: 'other' }] },
      [...port, { type: 'port', id: 'other' }],
    ],
    ['port.update.start', { port: { name: 'x' }, id }, []],
    ['port.update.end', { port: { id } }, port],
    ['port.delete.end', { port_id: id, port: { id } }, port],
    ['port.delete.end', { port_id: id }, port],
    ['port.update.end', {}, [{ type: 'ports' }]],
    ['tag.update.end', { parent_resource: 'ports', parent_resource_id: id, tags: ['a'] }, port],
    ['tag.delete_all.end', { parent_resource: 'ports', parent_resource_id: id }, port],
    ['tag.create.end', { parent_resource: 'networks', parent_resource_id: id }, []],
    ['subnet.delete.end', { subnet_id: id }, [{ type: 'ports' }]],
    ['router.create.end', { router: { id } }, []],
    ['compute.instance.update', { instance_id: id, metadata: {} }, server],
    ['compute.instance.delete.end', { instance_id: id }, server],
    ['compute.instance.delete.start', { instance_id: id }, []],
    [
      'instance.update',
      { 'nova_object.name': 'InstanceUpdatePayload', 'nova_object.data': { uuid: id } },
      server,
    ],
    ['compute.instance.update', { instance_id: '../../v3/users' }, []],
    ['port.delete.end', { port_id: 'x?y' }, [{ type: 'ports' }]],
  ];
  for (const [event, payload, hints] of cases)
    assert.deepEqual(hintsOf(envelope(event, payload)), hints, event);
});

test('reads messages without the envelope too', () => {
  const body = { event_type: 'port.create.end', payload: { port: { id } } };
  assert.deepEqual(hintsOf(Buffer.from(JSON.stringify(body))), [{ type: 'port', id }]);
});

test('takes a message that is too large as a hint that something happened', () => {
  assert.deepEqual(hintsOf(Buffer.alloc(MOST_BYTES + 1)), [{ type: 'ports' }]);
});

test('never fails, whatever is sent', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
      hintsOf(Buffer.from(text));
    }),
  );
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), (event, payload) => {
      for (const name of [event, `port.${event}`, `tag.${event}`, `instance.${event}`])
        for (const hint of hintsOf(envelope(name, payload)))
          if (hint.type !== 'ports') assert.match(hint.id, /^[\w-]+$/);
    }),
  );
});
