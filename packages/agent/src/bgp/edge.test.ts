import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import type { EdgeView } from '../edge/role.ts';
import { advertisement, BASE, inputsOf, service } from './fixture.ts';
import type { ServiceAddress, ServiceView } from './inputs.ts';
import { planBgp } from './plan.ts';

const SERVICES = advertisement(
  'vips',
  `- advertisementType: Service
    service: {addresses: [LoadBalancerIP, ExternalIP, ClusterIP]}
    selector: {matchExpressions: [{key: x, operator: DoesNotExist}]}`,
);

type Given = [ServiceAddress['type'], string, ...('Local' | 'ready' | 'elsewhere')[]];

/** What is announced of the addresses in this place at the edge, and why not the others. */
function announced(edge: EdgeView, addresses: Given[], more: Partial<ServiceView> = {}) {
  const { wanted, announcements } = planBgp(
    inputsOf(BASE + SERVICES, {
      podCIDRs: [],
      services: [service('web', addresses, { edge, ...more })],
    }),
  );
  return {
    prefixes: wanted!.paths.map(({ prefix }) => prefix),
    reasons: announcements.filter((row) => !row.announced).map(({ reason }) => reason),
  };
}

const ALL: Given[] = [
  ['LoadBalancerIP', '198.51.100.1'],
  ['ExternalIP', '198.51.100.2'],
  ['ClusterIP', '10.96.0.1'],
];

test('edge nodes announce what clients outside use; without any, every node does', () => {
  const everything = ['10.96.0.1/32', '198.51.100.1/32', '198.51.100.2/32'];
  assert.deepEqual(announced({ role: 'none', others: [] }, ALL).prefixes, everything);
  assert.deepEqual(announced({ role: 'edge', others: ['b'] }, ALL).prefixes, everything);
  const inner = announced({ role: 'none', others: ['b', 'c'] }, ALL);
  assert.deepEqual(inner.prefixes, ['10.96.0.1/32']);
  assert.equal(inner.reasons[0], 'edge nodes announce it (b, c), and this is none');
});

test('a draining node lets go once another announces; the last one stays', () => {
  const drains = announced({ role: 'draining', others: ['b'] }, ALL);
  assert.deepEqual(drains.prefixes, ['10.96.0.1/32']);
  assert.equal(drains.reasons[0], 'the node drains, and b announces it');
  assert.equal(announced({ role: 'draining', others: [] }, ALL).prefixes.length, 3);
});

test('with external policy Local, nodes with a backend announce, wherever they stand', () => {
  const local = (edge: EdgeView, ...flags: ('ready' | 'elsewhere')[]) =>
    announced(edge, [['LoadBalancerIP', '198.51.100.1', 'Local', ...flags]]).prefixes.length;
  assert.equal(local({ role: 'none', others: ['b'] }, 'ready'), 1);
  assert.equal(local({ role: 'edge', others: [] }), 0);
  assert.equal(local({ role: 'draining', others: ['b'] }, 'ready'), 1, 'nobody else has one');
  assert.equal(local({ role: 'draining', others: [] }, 'ready', 'elsewhere'), 0);
  assert.equal(local({ role: 'excluded', others: [] }, 'ready'), 0);
});

test('a node that reaches no backend leaves the address to others', () => {
  const unreachable = '10.2.0.1:80/TCP and all others that were tried: no route';
  const { prefixes, reasons } = announced({ role: 'edge', others: ['b'] }, ALL, { unreachable });
  assert.deepEqual(prefixes, ['10.96.0.1/32']);
  assert.equal(reasons[0], `this node reaches no backend of it: ${unreachable}`);
});

test('the gateway announces its egress address, if an advertisement selects the policy', () => {
  const egress = [{ policy: 'p', labels: { team: 'shop' }, address: Address.parse('192.0.2.100') }];
  const paths = (selector: string) => {
    const entry = `- {advertisementType: EgressGateway, selector: {matchLabels: ${selector}}}`;
    const plan = planBgp(inputsOf(BASE + advertisement('egress', entry), { podCIDRs: [], egress }));
    return [plan.wanted!.paths.map(({ prefix }) => prefix), plan.announcements[0]?.reason];
  };
  assert.deepEqual(paths('{team: shop}'), [['192.0.2.100/32'], 'egress selects it']);
  assert.deepEqual(paths('{team: other}'), [
    [],
    'no CiliumBGPAdvertisement of type EgressGateway selects the policy',
  ]);
});
