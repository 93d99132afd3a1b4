import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildProgram } from './program.ts';

const directory = mkdtempSync(join(tmpdir(), 'causeway-cli-'));
after(() => rmSync(directory, { recursive: true }));

function causeway(...args: string[]) {
  const result = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, CAUSEWAY_CONTEXTS: join(directory, 'none.yaml'), CAUSEWAY_CONTEXT: '' },
  });
  return { code: result.status, out: result.stdout, err: result.stderr };
}

/** Milliseconds of the processors for one run, as the shell tells: others' work does not count. */
function processorTime(...args: string[]): number {
  const script = '"$@" >/dev/null; times';
  const argv = [process.execPath, join(import.meta.dirname, 'main.ts'), ...args];
  const { stdout } = spawnSync('sh', ['-c', script, 'sh', ...argv], { encoding: 'utf8' });
  const children = stdout.trim().split('\n').at(-1) ?? '';
  const parts = [...children.matchAll(/(\d+)m([\d.]+)s/g)];
  assert.equal(parts.length, 2, stdout);
  return parts.reduce(
    (sum, [, minutes, seconds]) => sum + (Number(minutes) * 60 + Number(seconds)) * 1000,
    0,
  );
}

test('help is quick, teaches, and every command in it has a description', () => {
  causeway('--help');
  const { code, out } = causeway('--help');
  assert.equal(code, 0);
  for (const words of ['Examples:', 'Exit status:', 'lab up demo', '--json', 'policy trace'])
    assert.ok(out.includes(words), words);
  const spent = processorTime('--help');
  assert.ok(spent < 1000, `${spent} ms of a processor; the bar is 300 ms on an idle machine`);
  const walk = (command: ReturnType<typeof buildProgram>): void => {
    assert.notEqual(command.description(), '', command.name());
    for (const each of command.commands) walk(each as typeof command);
  };
  walk(buildProgram());
});

test('wrong usage ends with 2 and says what to do, a missing thing with 3, no answer with 5', () => {
  assert.equal(causeway('gett').code, 2);
  assert.match(causeway('gett').err, /Did you mean get/);
  assert.equal(causeway('policy', 'trace').code, 2);
  const kind = causeway('get', 'deployments');
  assert.deepEqual([kind.code, /kinds: .*pods\/po/.test(kind.err)], [2, true]);
  assert.equal(causeway('lab', 'exec', 'nowhere', '--', 'true').code, 2);
  assert.equal(causeway('--context', 'lab:no-such-lab/main', 'status').code, 3);
  assert.equal(causeway('--context', 'nobody', 'status').code, 3);
  const file = join(directory, 'dead.yaml');
  writeFileSync(
    file,
    'current: dead\ncontexts: {dead: {etcd: {endpoints: ["http://127.0.0.1:9"]}, agents: {n1: /nowhere.sock}}}\n',
  );
  const dead = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), 'status'], {
    encoding: 'utf8',
    env: { ...process.env, CAUSEWAY_CONTEXTS: file },
  });
  assert.equal(dead.status, 5);
  assert.match(dead.stderr, /agent on n1 does not answer/);
  assert.match(dead.stderr, /is it running\?/);
  const station = causeway('bmp', 'status', '--socket', join(directory, 'none.sock'));
  assert.equal(station.code, 5);
  assert.match(station.err, /causeway bmp --config FILE runs one/);
  const inventory = causeway('inventory', 'status', '--socket', join(directory, 'none.sock'));
  assert.equal(inventory.code, 5);
  assert.match(inventory.err, /causeway inventory run --config FILE runs one/);
});

test('with --json an error is a document with code, message, field and hint', () => {
  const { code, err } = causeway('--json', 'get', 'deployments');
  assert.equal(code, 2);
  const { error } = JSON.parse(err) as { error: Record<string, unknown> };
  assert.deepEqual([error.code, error.field, error.value], ['bad-input', 'kind', 'deployments']);
  assert.equal(typeof error.hint, 'string');
});

test('a bad manifest is refused before any store is asked, with file and place', () => {
  const file = join(directory, 'bad.yaml');
  writeFileSync(file, 'kind: Pod\n  broken: [');
  const { code, err } = causeway('apply', '-f', file);
  assert.equal(code, 2);
  assert.ok(err.includes(file), err);
  assert.equal(causeway('apply', '-f', join(directory, 'absent.yaml')).code, 2);
  writeFileSync(file, '# nothing\n');
  assert.match(causeway('apply', '-f', file).err, /no objects/);
});
