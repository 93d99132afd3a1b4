import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { DaemonError } from './errors.ts';
import { lockNetwork, lockRunDirectory } from './lock.ts';

const running = (error: unknown) =>
  error instanceof DaemonError && error.code === 'already-running';

test('one program holds the network of a node, and the next one has it when it ends', async () => {
  const name = `\0causeway-test-${process.pid}`;
  const first = await lockNetwork('test', name);
  await assert.rejects(lockNetwork('test', name), running);
  await first[Symbol.asyncDispose]();
  await using _second = await lockNetwork('test', name);
});

test('a run directory has one holder of a kind; old and foreign pids in the file lock nobody out', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-lock-${process.pid}-`));
  try {
    const file = path.join(dir, 'thing.lock');
    for (const left of ['', 'garbage', '1\n', `${process.ppid}\n`, '999999999\n']) {
      fs.writeFileSync(file, left);
      using _lock = lockRunDirectory(dir, 'thing');
      assert.equal(fs.readFileSync(file, 'utf8'), `${process.pid}\n`);
      assert.throws(() => lockRunDirectory(dir, 'thing'), running);
      using _other = lockRunDirectory(dir, 'other');
    }
    fs.writeFileSync(path.join(dir, 'file'), '');
    assert.throws(() => lockRunDirectory(path.join(dir, 'file'), 'thing'), { code: 'lock-failed' });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
