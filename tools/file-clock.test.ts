import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run, test } from 'node:test';
import { FileClock } from './file-clock.ts';

const HANGING =
  "import { test } from 'node:test'; test('a', () => {}); setInterval(() => {}, 1000);";
const QUICK = "import { test } from 'node:test'; test('b', () => {});";

test('a file that hangs is ended and told, and the next one runs', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'causeway-clock-'));
  try {
    // Paths from here, as `npm test` gives them.
    const files = ['hanging.test.mjs', 'quick.test.mjs'].map((name) =>
      relative('.', join(directory, name)),
    );
    writeFileSync(files[0]!, HANGING);
    writeFileSync(files[1]!, QUICK);
    const clock = new FileClock(8000);
    // A run inside a test's process is refused by node:test; this one is another, by itself.
    delete process.env.NODE_TEST_CONTEXT;
    const stream = run({ files, concurrency: 1 });
    const ended: string[] = [];
    const passed: string[] = [];
    const failed: string[] = [];
    clock.follow(stream, (file) => ended.push(file));
    stream.on('test:pass', ({ name }) => passed.push(name));
    stream.on('test:fail', ({ name }) => failed.push(name));
    for await (const _ of stream);
    assert.deepEqual(passed, ['a', 'b']);
    assert.deepEqual(failed, [files[0]]);
    assert.match(ended.join(), /hanging\.test\.mjs$/);
    const [slowest, other] = clock.slowest(2);
    assert.match(slowest!.file, /hanging/);
    assert.match(other!.file, /quick/);
    assert.ok(slowest!.seconds >= 7.9 && slowest!.seconds > other!.seconds);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
