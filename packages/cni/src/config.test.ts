import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './config.ts';
import { CniError } from './errors.ts';
import { parsePrevResult } from './result.ts';

const base = { cniVersion: '1.0.0', name: 'pods', type: 'causeway-cni' };
const read = (more: object) => parseConfig(JSON.stringify({ ...base, ...more }));
const refused = (run: () => unknown, code: number, named: string) =>
  assert.throws(
    run,
    (error) => error instanceof CniError && error.code === code && error.message.includes(named),
    named,
  );

test('the least configuration has every default', () => {
  assert.deepEqual(read({ somebody: { elses: 'key' } }), {
    cniVersion: '1.0.0',
    name: 'pods',
    agentSocket: '/run/causeway/agent.sock',
    agentWaitSeconds: 5,
    chained: false,
  });
});

test('each field that is wrong is named with its value', () => {
  for (const [field, value] of [
    ['name', undefined],
    ['name', '../x'],
    ['name', 7],
    ['agentSocket', 'agent.sock'],
    ['agentSocket', `/${'a'.repeat(107)}`],
    ['agentSocket', ['/a']],
    ['agentWaitSeconds', -1],
    ['agentWaitSeconds', '5'],
    ['agentWaitSeconds', 61],
    ['mtu', 1279],
    ['mtu', 1500.5],
    ['mtu', '1500'],
    ['mtu', 65_536],
    ['log', 'here'],
    ['chained', 'true'],
    ['prevResult', []],
    ['dns', 'fd00::53'],
    ['cni.dev/valid-attachments', {}],
  ] as const) {
    refused(() => read({ [field]: value }), 7, field);
  }
});

test('what is no JSON object is refused with code 6, a version that is no text too', () => {
  for (const text of ['', '{', 'null', '[]', '"x"', '7']) {
    refused(() => parseConfig(text), 6, 'network configuration');
  }
  refused(() => read({ cniVersion: 1 }), 6, 'cniVersion');
  refused(() => parseConfig('['.repeat(100_000)), 6, 'JSON');
});

test('a prevResult that is wrong is refused with its field', () => {
  for (const [field, value] of [
    ['interfaces', { interfaces: 'x' }],
    ['interfaces[0]', { interfaces: [7] }],
    ['interfaces[0].name', { interfaces: [{}] }],
    ['interfaces[0].sandbox', { interfaces: [{ name: 'a', sandbox: 1 }] }],
    ['ips[0].address', { ips: [{ address: '10.0.0.1' }] }],
    ['ips[0].interface', { ips: [{ address: '10.0.0.1/24', interface: 0 }] }],
    ['ips[0].gateway', { ips: [{ address: '10.0.0.1/24', gateway: 1 }] }],
    ['routes[0].dst', { routes: [{}] }],
  ] as const) {
    refused(() => parsePrevResult(value), 7, `prevResult.${field}`);
  }
});
