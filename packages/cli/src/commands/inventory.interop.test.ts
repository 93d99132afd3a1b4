import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { connectKv, type Kv } from '@causeway/etcd';
import { EtcdProcess } from '@causeway/etcd/testing';
import type { DryRun, InstanceStatus, MemberView, WhyView } from '@causeway/inventory';
import { keysOf, Reader, Scratch, until } from '@causeway/inventory/testing';

const binary = join(import.meta.dirname, '../../bin/causeway');
const scratch = new Scratch();
const children: ChildProcess[] = [];
let etcd: EtcdProcess;
let kv: Kv;

const config = (name: string): string => scratch.file(`${name}.yaml`);
const socket = (name: string): string => scratch.file(`${name}/inventory.sock`);

async function causeway(...words: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(binary, ['inventory', ...words], {
    maxBuffer: 1 << 26,
  });
  return stdout;
}

const json = async <T>(...words: string[]): Promise<T> =>
  JSON.parse(await causeway(...words, '--json')) as T;

const ask = <T>(name: string, ...words: string[]): Promise<T> =>
  json<T>(...words, '--socket', socket(name));

async function refusal(...words: string[]): Promise<{ code: number; text: string }> {
  try {
    await causeway(...words);
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    return { code, text: stderr };
  }
  throw new Error(`${words.join(' ')} was taken`);
}

function machines(file: string, names: readonly string[], app = 'web'): void {
  const rows = names.map((name) => `${name},10.9.0.${Number(name.slice(1))},vm,${app}`);
  writeFileSync(`${file}.new`, ['name,addresses,platform,label:app', ...rows, ''].join('\n'));
  renameSync(`${file}.new`, file);
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `m${i + 1}`);

function start(name: string): ChildProcess {
  const child = spawn(binary, ['inventory', 'run', '--config', config(name)], { stdio: 'ignore' });
  children.push(child);
  return child;
}

const status = (name: string) => ask<InstanceStatus>(name, 'status');
const leads = async (name: string): Promise<boolean> => {
  try {
    const { leader, ready } = await status(name);
    return leader && ready;
  } catch {
    return false;
  }
};

before(async () => {
  etcd = await EtcdProcess.start();
  kv = connectKv({ endpoints: [etcd.endpoint], deadline: 60_000 });
  for (const name of ['one', 'two']) {
    mkdirSync(scratch.file(name));
    writeFileSync(
      config(name),
      `cluster: {name: outside, id: 37}
name: ${name}
runDir: ${scratch.file(name)}
etcd: {endpoints: ["${etcd.endpoint}"]}
election: {ttlSeconds: 2}
addresses: {deny: [10.9.9.0/24]}
sources:
- {type: file, name: north, path: ${scratch.file('north.csv')}, rescanSeconds: 0.2, site: north}
- {type: file, name: south, path: ${scratch.file('south.csv')}, rescanSeconds: 0.2}
`,
    );
  }
  machines(scratch.file('north.csv'), many(30));
  machines(scratch.file('south.csv'), ['m31'], 'db');
});

after(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await kv[Symbol.asyncDispose]();
  await etcd[Symbol.asyncDispose]();
  scratch[Symbol.dispose]();
});

test('two processes on a real etcd: what is asked, what is withheld, and a killed leader that nobody misses', async () => {
  const plan = await json<DryRun>('diff', '--config', config('one'));
  assert.deepEqual(
    [plan.complete, plan.changes.length, plan.changes[0]?.action, plan.identities.add.length],
    [true, 31, 'add', 2],
  );
  assert.equal((await kv.list('cilium/')).entries.length, 0, 'a dry run writes nothing');

  await using reader = new Reader(kv);
  const first = start('one');
  await until('one leads', () => leads('one'));
  await until('readers have all', () => reader.entries === 31);
  await until('the handshake is possible', () => reader.handshake());
  start('two');
  await until('two follows', async () => {
    try {
      return (await status('two')).leaderName === 'one';
    } catch {
      return false;
    }
  });

  machines(scratch.file('south.csv'), ['m30', 'm31'], 'db');
  await until('an address is contested', async () => (await status('one')).counts?.conflicts === 1);
  const why = await ask<WhyView>('one', 'why', '10.9.0.30');
  assert.deepEqual([why.holder?.source, why.waiting[0]?.source], ['north', 'south']);
  assert.match(
    await causeway('conflicts', '--socket', socket('one')),
    /10\.9\.0\.30 +m30 \(north\) +m30 \(south\)/,
  );
  const rows = await ask<MemberView[]>('one', 'list', '--source', 'south');
  assert.deepEqual(rows.map(({ name }) => name).sort(), ['m30', 'm31']);
  assert.match(
    await causeway('list', '-l', 'app=db', '--socket', socket('one')),
    /m31 +south +10\.9\.0\.31 +vm/,
  );
  const follower = await refusal('list', '--socket', socket('two'));
  assert.deepEqual([follower.code, /ask one, which does/.test(follower.text)], [4, true]);
  assert.match((await refusal('why', 'x', '--socket', socket('one'))).text, /address/);
  assert.equal((await refusal('accept', 'north', '--socket', socket('one'))).code, 4);
  assert.equal((await refusal('accept', 'west', '--socket', socket('one'))).code, 3);
  writeFileSync(scratch.file('bad.yaml'), 'cluster: {name: outside, id: 0}\n');
  const bad = await refusal('run', '--config', scratch.file('bad.yaml'));
  assert.deepEqual([bad.code, /cluster\.id.*1 to 511/.test(bad.text)], [2, true]);

  // So long that it is read after the other source's list: its mistake is then the last word that is said.
  writeFileSync(scratch.file('typo.csv'), `name,adresses\n${'m1,10.9.0.1\n'.repeat(30_000)}`);
  const trial = readFileSync(config('one'), 'utf8').replaceAll('north.csv', 'typo.csv');
  writeFileSync(scratch.file('trial.yaml'), trial);
  const half = await refusal('diff', '--config', scratch.file('trial.yaml'), '--wait', '600');
  assert.equal(half.code, 1, 'a trial that not every source has answered is none');
  assert.match(half.text, /waiting for source /);

  machines(scratch.file('north.csv'), []);
  await until('the empty list is withheld', async () => {
    const { sources } = await status('one');
    return sources.find(({ name }) => name === 'north')?.withheld?.count === 30;
  });
  await until(
    'what is doubted gives way to who is there',
    () => reader.label('10.9.0.30', 'app') === 'db',
  );
  assert.match(await causeway('status', '--socket', socket('one')), /north .*30 of 30/);
  const before = await keysOf(kv, 'cilium/state/');
  const gone = reader.gone.length;

  first.kill('SIGKILL');
  await once(first, 'exit');
  await until('two leads', async () => (await status('two')).leader);
  await until('it withholds too', async () =>
    (await status('two')).sources.some(({ withheld }) => withheld !== undefined),
  );
  assert.deepEqual(await keysOf(kv, 'cilium/state/'), before);
  assert.equal(reader.gone.length, gone, 'nobody saw a key go');

  machines(scratch.file('north.csv'), many(29));
  await until('they are back', () => leads('two'));
  machines(scratch.file('north.csv'), many(5));
  await until('withheld again', async () =>
    (await status('two')).sources.some(({ withheld }) => withheld?.count === 24),
  );
  assert.match(
    await causeway('accept', 'north', '--socket', socket('two')),
    /24 endpoints of north/,
  );
  await until('they are gone', () => reader.entries === 7);
  assert.deepEqual(reader.rejected, []);
});
