import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { parseConfig } from './config.ts';
import { DaemonError } from './errors.ts';

const schema = z.strictObject({
  port: z.int().min(1).max(65535).default(179),
  mode: z.enum(['none', 'all']).default('none'),
  bits: z.union([z.literal(255), z.literal(511)]).default(255),
  inner: z
    .strictObject({ hold: z.int().default(90), names: z.array(z.string()).default([]) })
    .prefault({}),
  peers: z
    .array(
      z.strictObject({
        name: z.string(),
        peer: z.union([
          z.strictObject({ address: z.string().regex(/^[0-9.]+$/, 'must be an address') }),
          z.strictObject({ interface: z.string() }),
        ]),
      }),
    )
    .default([]),
  sets: z.record(z.string(), z.strictObject({ prefixes: z.array(z.string()) })).default({}),
});

function refused(text: string): DaemonError {
  try {
    parseConfig(text, schema, 'test.yaml');
  } catch (error) {
    assert.ok(error instanceof DaemonError);
    assert.equal(error.code, 'bad-config');
    return error;
  }
  return assert.fail(`accepted: ${text}`);
}

test('YAML and JSON give a whole configuration', () => {
  assert.deepEqual(parseConfig('', schema), {
    port: 179,
    mode: 'none',
    bits: 255,
    inner: { hold: 90, names: [] },
    peers: [],
    sets: {},
  });
  assert.equal(parseConfig('{"port": 180}', schema).port, 180);
});

test('every refusal names field, value and what is allowed', () => {
  const cases: [yaml: string, field: string, value: unknown, text: RegExp][] = [
    ['prot: 1', 'prot', 1, /no such setting; did you mean port/],
    ['inner: {holt: 3}', 'inner.holt', 3, /did you mean hold/],
    ['inner: {colour: red}', 'inner.colour', 'red', /known here: hold, names/],
    ['port: 70000', 'port', 70000, /70000 is refused.*65535/],
    ['mode: some', 'mode', 'some', /must be one of none, all/],
    ['bits: 300', 'bits', 300, /must be one of 255, 511/],
    ['peers: [{name: a, peer: {address: x}}]', 'peers.0.peer.address', 'x', /must be an address/],
    [
      'peers: [{name: a, peer: {adress: 1.1.1.1}}]',
      'peers.0.peer.adress',
      '1.1.1.1',
      /no such setting/,
    ],
    ['peers: [{name: a}]', 'peers.0.peer', undefined, /peers\.0\.peer: is missing/],
    [
      'peers: [{nme: a, peer: {interface: x}}]',
      'peers.0.nme',
      'a',
      /did you mean name.*peers\.0\.name: is missing/s,
    ],
    ['sets: {a: {prefix: []}}', 'sets.a.prefix', [], /did you mean prefixes/],
    ['[1, 2]', '(file)', [1, 2], /object/],
  ];
  for (const [yaml, field, value, text] of cases) {
    const error = refused(yaml);
    assert.equal(error.field, field, `${yaml}: ${error.message}`);
    assert.deepEqual(error.value, value, yaml);
    assert.match(error.message, text);
    assert.match(error.message, /^test\.yaml: /);
  }
});

test('text that is no YAML, too large or a bomb of aliases is refused', () => {
  assert.match(refused('a: [').message, /not YAML/);
  assert.match(refused(`# ${'x'.repeat(1_100_000)}`).message, /larger/);
  let bomb = 'a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n';
  for (let i = 1; i < 9; i++)
    bomb += `a${i}: &a${i} [${Array(10)
      .fill(`*a${i - 1}`)
      .join(',')}]\n`;
  refused(bomb);
});

test('no refusal repeats a secret, nor what stands under a mistyped name of one', () => {
  const secrets = z.strictObject({ password: z.string().min(20).optional() });
  for (const key of ['password', 'passwd', 'Password', 'clientSecret', 'pasword']) {
    assert.throws(
      () => parseConfig(JSON.stringify({ [key]: 'hunter2' }), secrets),
      (error: DaemonError) =>
        !`${error.message} ${JSON.stringify(error.value)}`.includes('hunter2'),
      key,
    );
  }
});
