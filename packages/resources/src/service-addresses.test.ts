import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { ResourceError } from './errors.ts';
import type { Service } from './schema/service.ts';
import { pickAddress, planService } from './service-addresses.ts';
import { validateObject } from './validate.ts';

const dual = [Prefix.parse('10.96.0.0/24'), Prefix.parse('fd00:96::/112')];
const onlyV4 = dual.slice(0, 1);

function service(spec: object): Service {
  const value = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'till', namespace: 'shop' },
    spec: { ports: [{ port: 80 }], ...spec },
  };
  const result = validateObject({ where: 'test', value });
  if (result.type === 'refused') throw result.error;
  return result.object as Service;
}

const stored = (...ips: string[]): Service =>
  service({
    clusterIP: ips[0],
    clusterIPs: ips,
    ipFamilies: ips.map((ip) => (ip.includes(':') ? 'IPv6' : 'IPv4')),
  });

const wishes = (spec: object, before: Service | undefined, cidrs: Prefix[]) =>
  planService(service(spec), before, cidrs).wishes.map((wish) =>
    wish.type === 'any' ? wish.family : `${wish.type} ${wish.address}`,
  );

test('families and policies', () => {
  const prefer = { ipFamilyPolicy: 'PreferDualStack' };
  const require = { ipFamilyPolicy: 'RequireDualStack' };
  assert.deepEqual(wishes({}, undefined, dual), ['ipv4']);
  assert.deepEqual(wishes({}, undefined, dual.toReversed()), ['ipv6']);
  assert.deepEqual(wishes({ ipFamilies: ['IPv6'] }, undefined, dual), ['ipv6']);
  assert.deepEqual(wishes(prefer, undefined, dual), ['ipv4', 'ipv6']);
  assert.deepEqual(wishes(prefer, undefined, onlyV4), ['ipv4']);
  assert.deepEqual(wishes(require, undefined, dual), ['ipv4', 'ipv6']);
  assert.deepEqual(wishes({ ipFamilies: ['IPv6', 'IPv4'] }, undefined, dual), ['ipv6', 'ipv4']);
  assert.deepEqual(wishes({ clusterIP: '10.96.0.7', ...prefer }, undefined, dual), [
    'explicit 10.96.0.7',
    'ipv6',
  ]);
  assert.deepEqual(wishes({ clusterIP: 'None' }, undefined, dual), []);
  assert.deepEqual(wishes({ type: 'ExternalName', externalName: 'a.b' }, undefined, dual), []);
});

test('what is stored stays; a second family comes and goes', () => {
  const one = stored('10.96.0.5');
  const two = stored('10.96.0.5', 'fd00:96::5');
  assert.deepEqual(wishes({}, one, dual), ['kept 10.96.0.5']);
  assert.deepEqual(wishes({ ipFamilyPolicy: 'RequireDualStack' }, one, dual), [
    'kept 10.96.0.5',
    'ipv6',
  ]);
  const down = planService(service({ ipFamilyPolicy: 'SingleStack' }), two, dual);
  assert.deepEqual(down.released, ['fd00:96::5']);
  assert.deepEqual(down.finish([Address.parse('10.96.0.5')]).spec.clusterIPs, ['10.96.0.5']);
  const external = planService(service({ type: 'ExternalName', externalName: 'a.b' }), two, dual);
  assert.deepEqual(external.released, ['10.96.0.5', 'fd00:96::5']);
  assert.equal(external.finish([]).spec.clusterIP, undefined);
});

test('refusals', () => {
  const cases: [object, Service | undefined, Prefix[], string, string][] = [
    [{}, undefined, [], 'invalid', 'spec.clusterIP'],
    [{ ipFamilyPolicy: 'RequireDualStack' }, undefined, onlyV4, 'invalid', 'spec.ipFamilyPolicy'],
    [{ clusterIP: '10.97.0.1' }, undefined, dual, 'invalid', 'spec.clusterIP'],
    [{ clusterIP: '10.96.0.0' }, undefined, dual, 'invalid', 'spec.clusterIP'],
    [{ clusterIP: '10.96.0.255' }, undefined, dual, 'invalid', 'spec.clusterIP'],
    [{ clusterIP: 'fd00:96::' }, undefined, dual, 'invalid', 'spec.clusterIP'],
    [{ clusterIP: '10.96.0.9' }, stored('10.96.0.5'), dual, 'immutable', 'spec.clusterIPs[0]'],
    [{ clusterIP: 'None' }, stored('10.96.0.5'), dual, 'immutable', 'spec.clusterIP'],
    [{ ipFamilies: ['IPv6'] }, stored('10.96.0.5'), dual, 'immutable', 'spec.ipFamilies[0]'],
  ];
  for (const [spec, before, cidrs, code, path] of cases) {
    assert.throws(
      () => planService(service(spec), before, cidrs),
      (e) => e instanceof ResourceError && e.code === code && e.issues[0]?.path === path,
      JSON.stringify(spec),
    );
  }
});

test('picking: every usable address is given once, then exhausted', () => {
  const cidrs = [Prefix.parse('10.0.0.0/29'), Prefix.parse('10.0.1.0/30')];
  const used = new Set<string>();
  for (let i = 0; i < 8; i++) {
    const address = pickAddress('ipv4', cidrs, used, () => 0.9, 'Service a');
    assert.ok(!used.has(address));
    used.add(address);
  }
  assert.deepEqual([...used].sort(), [
    '10.0.0.1',
    '10.0.0.2',
    '10.0.0.3',
    '10.0.0.4',
    '10.0.0.5',
    '10.0.0.6',
    '10.0.1.1',
    '10.0.1.2',
  ]);
  assert.throws(
    () => pickAddress('ipv4', cidrs, used, () => 0, 'Service a'),
    (e) => e instanceof ResourceError && e.code === 'exhausted',
  );
  assert.ok(
    pickAddress('ipv6', [Prefix.parse('fd00::/64')], used, () => 0.999999, 'x').startsWith(
      'fd00::',
    ),
  );
});
