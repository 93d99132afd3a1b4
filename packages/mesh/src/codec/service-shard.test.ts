import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { MeshError } from '../errors.ts';
import {
  decodeServiceShard,
  encodeServiceShard,
  type ServiceShardValue,
  SHARD_SIZE,
} from './service-shard.ts';

const http = { http: { protocol: 'TCP', port: 8080 } } as const;
const shard: ServiceShardValue = {
  cluster: 'east',
  clusterId: 37,
  namespace: 'shop',
  name: 'till',
  shard: 0,
  expected: 3,
  backends: [
    {
      address: Address.parse('10.77.4.9'),
      ports: http,
      state: 'active',
      weight: 100,
      zone: '',
      target: 'till-1',
    },
    {
      address: Address.parse('fd00::9'),
      ports: { '': { protocol: 'UDP', port: 53 } },
      state: 'terminating',
      weight: 0,
      zone: 'z1',
      target: '',
    },
  ],
};
const text =
  '{"cluster":"east","clusterID":37,"namespace":"shop","name":"till","shard":0,"expected":3,' +
  '"portSets":[{"http":{"Protocol":"TCP","Port":8080}},{"":{"Protocol":"UDP","Port":53}}],' +
  '"backends":[{"ip":"10.77.4.9","target":"till-1"},' +
  '{"ip":"fd00::9","ports":1,"state":"terminating","weight":0,"zone":"z1"}]}';

test('a shard is written and read as this text', () => {
  assert.equal(encodeServiceShard(shard), text);
  assert.deepEqual(decodeServiceShard(text), shard);
});

test('what does not fit is refused by field and value', () => {
  const without = (change: object) => JSON.stringify({ ...JSON.parse(text), ...change });
  const backend = (change: object) => without({ backends: [{ ip: '10.0.0.1', ...change }] });
  const wrong: readonly (readonly [string, string])[] = [
    [without({ cluster: '' }), 'cluster'],
    [without({ shard: 4096 }), 'shard'],
    [without({ shard: -1 }), 'shard'],
    [without({ expected: 1.5 }), 'expected'],
    [without({ backends: Array(SHARD_SIZE + 1).fill({}) }), 'backends'],
    [without({ backends: [{ ip: '10.0.0.1' }, { ip: '10.0.0.1' }] }), 'backends[1].ip'],
    [
      without({ portSets: [{ x: { Protocol: 'ICMP', Port: 1 } }] }),
      'portSets[0].ports[x].Protocol',
    ],
    [without({ portSets: [{ x: null }] }), 'portSets[0].ports[x]'],
    [backend({ ip: 'till' }), 'backends[0].ip'],
    [backend({ ports: 7 }), 'backends[0].ports'],
    [backend({ state: 'sleeping' }), 'backends[0].state'],
    [backend({ weight: 101 }), 'backends[0].weight'],
  ];
  for (const [value, field] of wrong) {
    assert.throws(
      () => decodeServiceShard(value),
      (error) => error instanceof MeshError && error.code === 'bad-value' && error.field === field,
      field,
    );
  }
});

const address = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Address.fromBytes(bytes));
const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const ports = fc.dictionary(
  fc.oneof(word, fc.constant('')),
  fc.record(
    { protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'), port: fc.nat(65_535) },
    { noNullPrototype: true },
  ),
  { maxKeys: 2, noNullPrototype: true },
);
const value: fc.Arbitrary<ServiceShardValue> = fc.record(
  {
    cluster: word,
    clusterId: fc.nat(511),
    namespace: word,
    name: word,
    shard: fc.nat(4095),
    expected: fc.nat(100_000),
    backends: fc.uniqueArray(
      fc.record(
        {
          address,
          ports,
          state: fc.constantFrom('active', 'not-ready', 'failing', 'terminating', 'draining'),
          weight: fc.nat(100),
          zone: fc.string({ maxLength: 4 }),
          target: fc.string({ maxLength: 4 }),
        },
        { noNullPrototype: true },
      ),
      { maxLength: 5, selector: (each) => each.address },
    ),
  },
  { noNullPrototype: true },
);

test('property: what is encoded decodes to itself, and has one text', () => {
  fc.assert(
    fc.property(value, (shard) => {
      const text = encodeServiceShard(shard);
      assert.deepEqual(decodeServiceShard(text), shard);
      assert.equal(encodeServiceShard(decodeServiceShard(text)), text);
    }),
  );
});

test('property: no bytes crash the decoder', () => {
  const mutated = fc.tuple(fc.nat(), fc.string({ maxLength: 3 })).map(([at, extra]) => {
    const cut = at % (text.length + 1);
    return text.slice(0, cut) + extra + text.slice(cut + extra.length);
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), mutated), (bytes) => {
      try {
        decodeServiceShard(bytes);
      } catch (error) {
        assert.ok(error instanceof MeshError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});
