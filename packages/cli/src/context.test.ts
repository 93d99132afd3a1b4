import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { checkContexts, findTarget, readContexts, writeCurrent } from './context.ts';
import { CliError } from './errors.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'causeway-cli-'));
  process.env.CAUSEWAY_CONTEXTS = join(directory, 'contexts.yaml');
});
afterEach(() => {
  rmSync(directory, { recursive: true });
  delete process.env.CAUSEWAY_CONTEXTS;
});

const FILE = `# kept
current: prod
contexts:
  prod:
    etcd: {endpoints: ["https://10.0.0.1:2379"], tls: {caFile: /etc/ca.pem}}
    agents: {n1: /run/n1.sock, n2: /run/n2.sock}
  lonely: {etcd: {endpoints: ["http://[::1]:2379"]}}
`;

test('a context names a store and agents; --node narrows; the default is the current one', async () => {
  writeFileSync(process.env.CAUSEWAY_CONTEXTS!, FILE);
  assert.deepEqual(
    (await findTarget(undefined, undefined)).agents.map(({ node }) => node),
    ['n1', 'n2'],
  );
  assert.deepEqual(
    (await findTarget('prod', 'n2')).agents.map(({ node }) => node),
    ['n2'],
  );
  assert.deepEqual((await findTarget('lonely', undefined)).agents, []);
  await assert.rejects(findTarget('prod', 'n3'), { code: 'not-found', hint: 'its nodes: n1, n2' });
  await assert.rejects(findTarget('nowhere', undefined), { code: 'not-found', value: 'nowhere' });
  await writeCurrent('lonely');
  assert.equal((await readContexts()).current, 'lonely');
  assert.match(readFileSync(process.env.CAUSEWAY_CONTEXTS!, 'utf8'), /^# kept/, 'comments stay');
});

test('without a file there is this machine', async () => {
  assert.equal((await findTarget(undefined, undefined)).agents.length, 1);
});

test('a lab context that cannot be read or is not there says so', async () => {
  await assert.rejects(findTarget('lab:', undefined), { code: 'bad-usage' });
  await assert.rejects(findTarget('lab:a/b/c/d', undefined), { code: 'bad-usage' });
  await assert.rejects(findTarget('lab:no-such-lab/main', undefined), { code: 'lab-not-found' });
});

test('a wrong file is refused with field and value', () => {
  const cases: [value: unknown, field: string][] = [
    [[], '(file)'],
    [{ contexts: 1 }, 'contexts'],
    [{ contexts: { a: null } }, 'contexts.a'],
    [{ contexts: { a: {} } }, 'contexts.a.etcd.endpoints'],
    [{ contexts: { a: { etcd: { endpoints: ['ftp://x'] } } } }, 'contexts.a.etcd.endpoints'],
    [
      { contexts: { a: { etcd: { endpoints: ['http://x'] }, agents: { n: 'rel' } } } },
      'contexts.a.agents',
    ],
    [{ current: 'z', contexts: {} }, 'current'],
  ];
  for (const [value, field] of cases)
    assert.throws(
      () => checkContexts(value, 'f'),
      (error: unknown) =>
        error instanceof CliError && error.code === 'bad-input' && error.field === field,
      field,
    );
});
