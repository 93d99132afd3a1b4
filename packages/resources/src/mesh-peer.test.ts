import assert from 'node:assert/strict';
import { test } from 'node:test';
import { validateObject } from './validate.ts';

const check = (name: string, spec: unknown) =>
  validateObject({
    where: 'document 1',
    value: { apiVersion: 'causeway.io/v1', kind: 'MeshPeer', metadata: { name }, spec },
  });

const endpoints = ['https://192.0.2.1:2379'];

test('a peer is a name, endpoints and, with TLS, a Secret', () => {
  const specs = [
    { endpoints },
    { id: 511, endpoints: ['https://[2001:db8::1]:2379', 'https://etcd.east.example:443'] },
    { endpoints, secretName: 'mesh-east', serverName: 'etcd.east.example', suspended: true },
  ];
  for (const spec of specs) {
    assert.equal(check('east', spec).type, 'valid', JSON.stringify(spec));
  }
});

test('what cannot be a peer is refused by its field', () => {
  const bad: [string, unknown, string][] = [
    ['East', { endpoints }, 'metadata.name'],
    ['default', { endpoints }, 'metadata.name'],
    ['a'.repeat(33), { endpoints }, 'metadata.name'],
    ['east', { endpoints: [] }, 'spec.endpoints'],
    ['east', { endpoints: ['192.0.2.1:2379'] }, 'spec.endpoints[0]'],
    ['east', { endpoints: ['https://192.0.2.1:2379/v3'] }, 'spec.endpoints[0]'],
    ['east', { endpoints, id: 0 }, 'spec.id'],
    ['east', { endpoints, id: 512 }, 'spec.id'],
    ['east', { endpoints, secretName: '../east' }, 'spec.secretName'],
    ['east', { endpoints, serverName: 'a b' }, 'spec.serverName'],
    ['east', { endpoints, insecure: true }, 'spec.insecure'],
  ];
  for (const [name, spec, path] of bad) {
    const made = check(name, spec);
    assert.ok(made.type === 'refused', JSON.stringify(spec));
    assert.deepEqual(
      made.error.issues.map((issue) => issue.path),
      [path],
    );
  }
});
