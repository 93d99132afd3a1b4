import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded, VirtualNetwork } from '../testing/index.ts';
import type { PolicyLibrary } from './policy/types.ts';
import type { Asn } from './types.ts';
import { RouterId } from './types.ts';

const asn = (value: number) => value as Asn;
const open: PolicyLibrary = { policies: { all: { statements: [{ then: 'accept' }] } } };
const both = [
  { family: 'ipv4-unicast', import: 'all', export: 'all' },
  { family: 'ipv6-unicast', import: 'all', export: 'all' },
] as const;

function pair(policies = open) {
  const network = new VirtualNetwork({ random: seeded(1) });
  const a = network.add('a', '192.0.2.1', {
    asn: asn(65001),
    routerId: RouterId.parse('192.0.2.1'),
    policies,
  });
  const b = network.add('b', '192.0.2.2', {
    asn: asn(65002),
    routerId: RouterId.parse('192.0.2.2'),
    policies,
  });
  return { network, a, b };
}

test('two external speakers tell each other what their owners originate', () => {
  const { network, a, b } = pair();
  network.connect(a, b, { asn: asn(65002), families: both }, { asn: asn(65001), families: both });
  network.run(5_000);
  assert.equal(a.speaker.peer('b')?.state, 'established');
  a.speaker.setPaths(
    'agent',
    [{ prefix: '10.0.0.0/24', communities: ['65001:7'], med: 5 }, { prefix: '10.0.1.0/24' }],
    network.now,
  );
  network.run(1_000);
  const { rows } = b.speaker.routes({ view: 'loc' });
  assert.deepEqual(
    rows.map(({ prefix, nextHop, attributes, best }) => [
      prefix,
      nextHop,
      attributes.asPath,
      attributes.communities,
      attributes.med,
      best,
    ]),
    [
      [
        '10.0.0.0/24',
        '192.0.2.1',
        [{ type: 'sequence', asns: [65001] }],
        [65001 * 65536 + 7],
        5,
        true,
      ],
      [
        '10.0.1.0/24',
        '192.0.2.1',
        [{ type: 'sequence', asns: [65001] }],
        undefined,
        undefined,
        true,
      ],
    ],
  );
  assert.deepEqual(
    a.speaker.routes({ view: 'advertised', peer: 'b' }).rows.map(({ prefix }) => prefix),
    ['10.0.0.0/24', '10.0.1.0/24'],
  );
  assert.equal(a.speaker.peer('b')?.families[0]?.advertised, 2);
  assert.equal(a.speaker.why('10.0.0.0/24')?.exports[0]?.outcome, 'sent');
  a.speaker.setPaths('agent', [{ prefix: '10.0.1.0/24' }], network.now);
  network.run(1_000);
  assert.deepEqual(
    b.speaker.routes({ view: 'loc' }).rows.map(({ prefix }) => prefix),
    ['10.0.1.0/24'],
  );
  network.cut(a, b);
  network.run(100);
  assert.deepEqual(b.speaker.routes({ view: 'loc' }).rows, []);
  assert.deepEqual(a.speaker.routes({ view: 'advertised', peer: 'b' }).rows, []);
  assert.equal(a.speaker.why('10.0.1.0/24')?.exports[0]?.outcome, 'session-down');
});
