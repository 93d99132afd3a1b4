import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { silentLog } from '@causeway/daemon';
import { systemClock } from '@causeway/etcd';
import { RecordingSink, Scratch, until } from '../../../testing/index.ts';
import { fileSource } from './config.ts';
import { parseFile } from './parse.ts';
import { FileSource } from './source.ts';

const yaml = `endpoints:
- name: db-1
  addresses: [192.0.2.1, 2001:db8::1]
  platform: bare-metal
  labels: {app: db, rack: 7}
  site: north
- name: db-2
  id: 0b9e
  addresses: [192.0.2.2]
  platform: vm
  nodeAddress: 198.51.100.1
  ttlSeconds: 60
`;

test('a list, objects, JSON and a table say the same', () => {
  const expected = [
    {
      id: 'db-1',
      name: 'db-1',
      addresses: ['192.0.2.1', '2001:db8::1'],
      platform: 'bare-metal',
      labels: { app: 'db', rack: '7' },
      site: 'north',
    },
    {
      id: '0b9e',
      name: 'db-2',
      addresses: ['192.0.2.2'],
      platform: 'vm',
      labels: {},
      nodeAddress: '198.51.100.1',
      ttlSeconds: 60,
    },
  ];
  assert.deepEqual(parseFile(yaml, 'yaml', 'f'), expected);
  assert.deepEqual(parseFile(JSON.stringify({ endpoints: expected }), 'yaml', 'f'), expected);
  const csv = `# who stands where\r\nname,id,addresses,platform,label:app,label:rack,site,node-address,ttl-seconds
db-1,,192.0.2.1 2001:db8::1,bare-metal,db,7,"north",,
"db-2",0b9e,192.0.2.2,vm,,,,198.51.100.1,60\n\n`;
  assert.deepEqual(
    parseFile(csv, 'csv', 'f').map(({ attributes, ...rest }) => rest),
    expected,
  );
  const manifest = `apiVersion: causeway.io/v1
kind: OutsideEndpoint
metadata: {name: db-1}
spec: {addresses: [192.0.2.1, "2001:db8::1"], platform: bare-metal, labels: {app: db, rack: "7"}, site: north}
---
apiVersion: causeway.io/v1
kind: OutsideEndpoint
metadata: {name: db-2}
spec: {addresses: [192.0.2.2], platform: vm, nodeAddress: 198.51.100.1, ttlSeconds: 60}
`;
  assert.deepEqual(
    parseFile(manifest, 'yaml', 'f').map(({ id, ...rest }) => rest),
    expected.map(({ id, ...rest }) => rest),
  );
  assert.deepEqual(parseFile('', 'yaml', 'f'), []);
  assert.deepEqual(parseFile('', 'csv', 'f'), []);
});

test('a mistake is told with file, place, field and value', () => {
  for (const [text, format, field, value, message] of [
    [
      yaml.replace('192.0.2.2', '192.0.2.999'),
      'yaml',
      'addresses[0]',
      '192.0.2.999',
      /f, endpoints\[1\]: addresses\[0\]/,
    ],
    [
      yaml.replace('platform: vm', 'platform: oven'),
      'yaml',
      'platform',
      'oven',
      /endpoints\[1\]: platform/,
    ],
    [yaml.replace('site:', 'sight:'), 'yaml', 'sight', 'north', /sight no such field/],
    [
      yaml.replace('id: 0b9e', 'id: db-1'),
      'yaml',
      'name',
      'db-1',
      /stands twice: endpoints\[0\] has it too/,
    ],
    ['endpoints: 7', 'yaml', 'endpoints', 7, /must be a list/],
    ['a: [', 'yaml', '(file)', undefined, /is not YAML/],
    ['name,adresses\nx,y', 'csv', 'adresses', 'adresses', /line 1: adresses no such column/],
    ['name,name\n', 'csv', 'name', 'name', /stands twice/],
    [
      'name,addresses,platform\nx,192.0.2.1',
      'csv',
      '(line)',
      2,
      /line 2: \(line\) has 2 cells of 3/,
    ],
    ['name,addresses,platform\n"x,192.0.2.1,vm', 'csv', '(line)', undefined, /line 2: .*quote/],
    [
      'name,addresses,platform,ttl-seconds\nx,192.0.2.1,vm,soon',
      'csv',
      'ttlSeconds',
      Number.NaN,
      /line 2: ttlSeconds/,
    ],
  ] as const) {
    assert.throws(
      () => parseFile(text, format, 'f'),
      (error: { code: string; field: string; value: unknown; message: string }) => {
        assert.deepEqual([error.code, error.field, error.value], ['bad-file', field, value]);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});

test('a directory is followed: files that come, change, break, are mended and go', async () => {
  using scratch = new Scratch();
  const directory = scratch.file('site');
  mkdirSync(directory);
  const write = (name: string, text: string) => {
    writeFileSync(scratch.file('new'), text);
    renameSync(scratch.file('new'), `${directory}/${name}`);
  };
  const csv = (name: string, address: string) => `name,addresses,platform\n${name},${address},vm\n`;
  write('a.csv', csv('a', '192.0.2.1'));
  write('b.yaml', yaml);
  write('.hidden.csv', csv('h', '192.0.2.8'));
  write('notes.txt', 'x');
  const stop = new AbortController();
  const sink = new RecordingSink();
  const config = fileSource.parse({
    type: 'file',
    name: 'site',
    path: directory,
    rescanSeconds: 0.05,
  });
  const source = new FileSource(config, {
    clock: systemClock,
    random: Math.random,
    log: silentLog,
  });
  const running = source.run(sink, stop.signal);
  const ids = () => [...sink.items.keys()].sort().join();
  await until('both files', () => ids() === '0b9e,a,db-1');
  write('a.csv', csv('a2', '192.0.2.1'));
  await until('a change', () => ids() === '0b9e,a2,db-1');
  write('c.csv', 'nonsense');
  await until('a bad new file', () => /nonsense/.test(sink.lastReport?.message ?? ''));
  write('b.yaml', 'endpoints: 7');
  write('d.csv', csv('d', '192.0.2.3'));
  await until('a good file beside bad ones', () => ids() === '0b9e,a2,d,db-1');
  write('b.yaml', 'endpoints: []');
  rmSync(`${directory}/c.csv`);
  await until('mended', () => ids() === 'a2,d' && sink.lastReport?.state === 'following');
  renameSync(directory, `${directory}.away`);
  await until('no directory', () => sink.lastReport?.state === 'failed');
  assert.equal(ids(), 'a2,d');
  renameSync(`${directory}.away`, directory);
  rmSync(`${directory}/a.csv`);
  await until('back', () => ids() === 'd');
  const { snapshots } = sink;
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(sink.snapshots, snapshots, 'looking again says nothing new');
  stop.abort();
  await running;
});

test('a large file is read aside, and its mistakes are told as those of a small one', async () => {
  using scratch = new Scratch();
  const file = scratch.file('many.yaml');
  const say = (last: string) => {
    const lines = Array.from(
      { length: 5000 },
      (_, n) => `- {name: m${n}, addresses: [10.1.${n >> 8}.${n & 255}], platform: vm}`,
    );
    writeFileSync(`${file}.new`, ['endpoints:', ...lines, last, ''].join('\n'));
    renameSync(`${file}.new`, file);
  };
  say('');
  const stop = new AbortController();
  const sink = new RecordingSink();
  const config = fileSource.parse({ type: 'file', name: 'site', path: file, rescanSeconds: 0.05 });
  const source = new FileSource(config, {
    clock: systemClock,
    random: Math.random,
    log: silentLog,
  });
  const running = source.run(sink, stop.signal);
  await until('all of it', () => sink.items.size === 5000);
  say('- {name: x, addresses: [10.2.0.256], platform: vm}');
  await until('the mistake', () =>
    /many.yaml, endpoints\[5000\]: addresses\[0\]/.test(sink.lastReport?.message ?? ''),
  );
  assert.equal(sink.items.size, 5000);
  say('- {name: x, addresses: [10.2.0.25], platform: vm}');
  await until('mended', () => sink.items.size === 5001);
  stop.abort();
  await running;
});
