import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inventory, leftBehind } from './residue.ts';

test('a directory that a test forgot is seen, and a program that was given it', async () => {
  const before = inventory();
  const directory = mkdtempSync(join(tmpdir(), `cw-residue-${process.pid}-`));
  const child = spawn('tail', ['-F', join(directory, 'nothing')], { stdio: 'ignore' });
  const closed = once(child, 'close');
  const mine = () =>
    leftBehind(before, inventory()).filter((thing) => thing.includes(`cw-residue-${process.pid}-`));
  try {
    await once(child, 'spawn');
    assert.deepEqual(mine(), [
      `file ${directory}`,
      `process ${child.pid} tail -F ${directory}/nothing`,
    ]);
  } finally {
    child.kill('SIGKILL');
    await closed;
    rmdirSync(directory);
  }
  assert.deepEqual(mine(), []);
});
