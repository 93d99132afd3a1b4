import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import type { Resource } from '@causeway/resources';
import { CliError } from '../errors.ts';
import { ageText, columnsFor, kindOf } from './kinds.ts';
import { longestMatch } from './queries.ts';

test('kinds go by every name that people type, and an unknown one lists them', () => {
  for (const name of ['pods', 'po', 'Pod', 'POD']) assert.equal(kindOf(name).kind, 'Pod');
  assert.equal(kindOf('cnp').kind, 'CiliumNetworkPolicy');
  assert.throws(
    () => kindOf('deployments'),
    (error: unknown) => error instanceof CliError && /services\/svc/.test(error.hint ?? ''),
  );
});

test('a mistyped kind names the nearest', () => {
  assert.throws(
    () => kindOf('servces'),
    (error: unknown) =>
      error instanceof CliError && /did you mean services\?/.test(error.hint ?? ''),
  );
});

test('a service shows what the world outside reaches it by, or that it waits for that', () => {
  const column = columnsFor(kindOf('svc'), false).find(({ heading }) => heading === 'EXTERNAL-IP');
  const cell = (spec: object, status: object = {}) =>
    column!.cell({ kind: 'Service', metadata: { name: 'a' }, spec, status } as unknown as Resource);
  assert.equal(cell({ type: 'LoadBalancer' }), '<pending>');
  assert.deepEqual(cell({ type: 'ClusterIP' }), []);
  assert.deepEqual(
    cell({ type: 'LoadBalancer' }, { loadBalancer: { ingress: [{ ip: '10.52.0.1' }] } }),
    ['10.52.0.1'],
  );
});

test('a reservation shows why it has not all that it names', () => {
  const column = columnsFor(kindOf('AddressReservation'), false).find(
    ({ heading }) => heading === 'STATUS',
  );
  const cell = (status?: object) =>
    column!.cell({ kind: 'AddressReservation', spec: {}, status } as unknown as Resource);
  assert.equal(cell(), undefined);
  assert.equal(
    cell({ error: '10.9.0.1 is kept by shop/db too\nfd00::1 is kept by shop/db too' }),
    '10.9.0.1 is kept by shop/db too; fd00::1 is kept by shop/db too',
  );
});

test('an age shows its two greatest units', () => {
  const now = Date.parse('2026-01-10T00:00:00Z');
  assert.equal(ageText('2026-01-09T23:59:57Z', now), '3s');
  assert.equal(ageText('2026-01-09T22:58:00Z', now), '1h2m');
  assert.equal(ageText('2026-01-05T00:00:10Z', now), '4d23h');
  assert.equal(ageText('2026-01-10T00:00:00Z', now), '0s');
  assert.equal(ageText(undefined, now), '-');
  assert.equal(ageText('rubbish', now), '-');
});

test('the ipcache entry that serves an address is the longest that covers it', () => {
  const rows = [
    { prefix: '10.0.0.0/8', identity: 1 },
    { prefix: '10.1.0.0/16', identity: 2 },
    { prefix: '10.1.2.3', identity: 3 },
    { prefix: '10.1.2.4/32', identity: 4 },
    { prefix: 'fd00::/8', identity: 5 },
    { prefix: 'rubbish', identity: 6 },
  ];
  const identity = (text: string) => longestMatch(rows, Address.parse(text))?.identity;
  assert.deepEqual(
    ['10.1.2.3', '10.1.2.4', '10.1.9.9', '10.9.9.9', 'fd12::1', '192.0.2.1'].map(identity),
    [3, 4, 2, 1, 5, undefined],
  );
});
