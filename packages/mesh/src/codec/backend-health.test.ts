import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MeshError } from '../errors.ts';
import {
  decodeHealth,
  encodeHealth,
  HEALTH_PREFIX,
  type HealthReport,
  healthKey,
  MAX_REPORTED,
} from './backend-health.ts';

const line = { service: 'shop/web', backend: '10.1.0.1:80/TCP', reason: 'refused' };
const refused = (key: string, value: unknown) =>
  assert.throws(() => decodeHealth(key, JSON.stringify(value)), MeshError);

test('reports are bounded, and lines must be whole', () => {
  const key = healthKey('a');
  const many = (count: number) => ({ failing: Array.from({ length: count }, () => line), more: 0 });
  assert.equal(decodeHealth(key, JSON.stringify(many(MAX_REPORTED))).failing.length, MAX_REPORTED);
  refused(key, many(MAX_REPORTED + 1));
  refused(HEALTH_PREFIX, many(1));
  refused(key, { failing: [{ ...line, reason: '' }], more: 0 });
  refused(key, { failing: [{ ...line, backend: 'x'.repeat(65) }], more: 0 });
  refused(key, { failing: [], more: -1 });
});

test('property: what is encoded decodes to itself', () => {
  const text = (most: number) => fc.string({ minLength: 1, maxLength: most });
  const report: fc.Arbitrary<HealthReport> = fc.record(
    {
      node: fc.constant('a'),
      failing: fc.array(
        fc.record(
          { service: text(400), backend: text(64), reason: text(200) },
          { noNullPrototype: true },
        ),
        { maxLength: 3 },
      ),
      more: fc.nat(),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(report, (each) =>
      assert.deepEqual(decodeHealth(healthKey('a'), encodeHealth(each)), each),
    ),
  );
});
