import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectKv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';

const directory = mkdtempSync(join(tmpdir(), `causeway-cli-${process.pid}-`));
const contexts = join(directory, 'contexts.yaml');
const manifests = join(directory, 'manifests');
const manifest = join(manifests, 'objects.yaml');
let etcd: EtcdProcess;

before(async () => {
  etcd = await EtcdProcess.start();
  const here = `{etcd: {endpoints: ["${etcd.endpoint}"]}}`;
  writeFileSync(contexts, `current: here\ncontexts: {here: ${here}}\n`);
  await using kv = connectKv({ endpoints: [etcd.endpoint], deadline: 60_000 });
  await kv.get('causeway/');
});

after(async () => {
  await etcd?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

function causeway(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, '../main.ts'), ...args],
    {
      encoding: 'utf8',
      input,
      env: { ...process.env, CAUSEWAY_CONTEXTS: contexts, CAUSEWAY_CONTEXT: '' },
    },
  );
  return { code: status, out: stdout, err: stderr };
}

const OBJECTS = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, labels: {team: a}}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow, namespace: other, labels: {team: b}}
spec: {podSelector: {}, policyTypes: [Egress]}
`;

test('apply says created, unchanged and configured; a dry run writes nothing', () => {
  mkdirSync(manifests);
  writeFileSync(manifest, OBJECTS);
  const dry = causeway(['apply', '--dry-run', '-f', manifest]);
  assert.equal(dry.code, 0, dry.err);
  assert.match(dry.out, /NetworkPolicy default\/deny created \(dry run\)/);
  assert.match(causeway(['get', 'netpol', '-A']).out, /^no networkpolicies/);
  assert.match(
    causeway(['apply', '-f', manifest]).out,
    /default\/deny created\n.*other\/allow created\n$/,
  );
  assert.match(causeway(['apply', '-f', manifests]).out, /default\/deny unchanged/);
  const changed = causeway(['apply', '-f', '-'], OBJECTS.replace('app: web', 'app: db'));
  assert.match(changed.out, /default\/deny configured\n.*other\/allow unchanged/);
});

test('get lists, filters by label and namespace, and prints what can be applied again', () => {
  assert.match(
    causeway(['get', 'netpol']).out,
    /^NAME +POD-SELECTOR +TYPES +AGE\ndeny +app=db +Ingress +\d+s\n$/,
  );
  assert.match(
    causeway(['get', 'netpol', '-A', '-l', 'team in (b)']).out,
    /^NAMESPACE.*\nother +allow +\(all\)/,
  );
  assert.match(causeway(['get', 'netpol', '-n', 'other', '-o', 'wide']).out, /team=b/);
  const yaml = causeway(['get', 'netpol', '-A', '-o', 'yaml']);
  assert.match(causeway(['apply', '-f', '-'], yaml.out).out, /unchanged\n.*unchanged\n$/);
  const list = JSON.parse(causeway(['get', 'netpol', '-A', '--json']).out) as { items: unknown[] };
  assert.equal(list.items.length, 2);
  const one = JSON.parse(causeway(['get', 'netpol', 'deny', '-o', 'json']).out) as { kind: string };
  assert.equal(one.kind, 'NetworkPolicy');
});

test('passwords are shown to nobody who does not ask for them', () => {
  const secret =
    'apiVersion: v1\nkind: Secret\nmetadata: {name: rack}\nstringData: {password: correct-horse}\n';
  const base64 = Buffer.from('correct-horse').toString('base64');
  const hidden = new RegExp(`correct-horse|${base64}`);
  assert.doesNotMatch(causeway(['apply', '--json', '-f', '-'], secret).out, hidden);
  for (const more of [
    ['-o', 'yaml'],
    ['rack', '-o', 'json'],
  ])
    assert.doesNotMatch(causeway(['get', 'secrets', ...more]).out, hidden);
  assert.doesNotMatch(causeway(['describe', 'secret', 'rack']).out, hidden);
  assert.match(causeway(['get', 'secrets']).out, /KEYS[^\n]*\nrack +password/);
  assert.match(
    causeway(['get', 'secret', 'rack', '-o', 'yaml', '--show-secrets']).out,
    new RegExp(base64),
  );
});

test('one bad object keeps all from being written, and the error names field and value', () => {
  const bad = `${OBJECTS.replaceAll('name: ', 'name: new-')}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: wrong}
spec: {podSelector: {}, policyTypes: [Sideways]}
`;
  const { code, err } = causeway(['apply', '-f', '-'], bad);
  assert.equal(code, 2);
  assert.match(err, /wrong/);
  assert.match(err, /policyTypes/);
  assert.match(err, /Sideways/);
  assert.doesNotMatch(causeway(['get', 'netpol', '-A']).out, /new-/);
});

test('what is not there ends with 3, also at delete unless told otherwise', () => {
  assert.equal(causeway(['get', 'netpol', 'absent']).code, 3);
  assert.equal(causeway(['delete', 'netpol', 'absent']).code, 3);
  assert.equal(causeway(['delete', 'netpol', 'absent', '--ignore-not-found']).code, 0);
  const mixed = causeway(['delete', 'netpol', 'absent', 'deny']);
  assert.equal(mixed.code, 3);
  assert.match(mixed.out, /default\/deny deleted/, 'the others are deleted all the same');
  assert.match(
    causeway(['delete', '-f', manifest, '--ignore-not-found']).out,
    /^NetworkPolicy other\/allow deleted\n$/,
  );
  assert.equal(causeway(['delete', 'netpol']).code, 2);
});
