import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { RecordKind } from './record.ts';
import { StateDirectory } from './state-directory.ts';

interface Thing {
  readonly name: string;
  readonly size: number;
}

const kind: RecordKind<Thing> = {
  format: 'thing',
  version: 2,
  parse(payload) {
    const thing = payload as Thing;
    if (typeof thing.name !== 'string' || typeof thing.size !== 'number') throw new Error('shape');
    return thing;
  },
};

test('records are written, read, replaced and removed, and refused where nothing can be written', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-state-${process.pid}-`));
  try {
    const state = new StateDirectory(dir, kind);
    await Promise.all([
      state.write('a', { name: 'first', size: 1 }),
      state.write('a', { name: 'second', size: 2 }),
      state.write('b', { name: 'b', size: 3 }),
    ]);
    await state.remove('b');
    await state.remove('never-there');
    const { records, refused } = state.load();
    assert.deepEqual([...records], [['a', { name: 'second', size: 2 }]]);
    assert.deepEqual(refused, []);
    fs.mkdirSync(path.join(dir, 'c.json'));
    await assert.rejects(state.write('c', { name: 'c', size: 1 }), { code: 'state-write-failed' });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('a file that cannot be believed is set aside and says why', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-state-${process.pid}-`));
  try {
    const state = new StateDirectory(dir, kind);
    for (const name of ['good', 'short', 'edited', 'older', 'shape']) {
      await state.write(name, { name, size: 1 });
    }
    const file = (name: string) => path.join(dir, `${name}.json`);
    const text = fs.readFileSync(file('good'), 'utf8');
    fs.writeFileSync(file('short'), text.slice(0, -20));
    fs.writeFileSync(file('edited'), text.replace('good', 'evil'));
    fs.writeFileSync(file('older'), text.replace('"version":2', '"version":1'));
    fs.writeFileSync(file('empty'), '');
    fs.writeFileSync(file('other'), '{"format":"what"}');
    fs.writeFileSync(path.join(dir, 'good.json.3.tmp'), 'left by a crash');

    const { records, refused } = state.load();
    assert.deepEqual([...records.keys()].sort(), ['good', 'shape']);
    assert.deepEqual(refused.map(({ name, error }) => [name, error.code]).sort(), [
      ['edited', 'state-corrupt'],
      ['empty', 'state-truncated'],
      ['older', 'state-version'],
      ['other', 'state-corrupt'],
      ['short', 'state-truncated'],
    ]);
    assert.equal(fs.readdirSync(path.join(dir, 'refused')).length, 5);
    assert.equal(fs.existsSync(path.join(dir, 'good.json.3.tmp')), false);
    assert.deepEqual(state.load().refused, []);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('a directory in the place of a record, or a file in that of the refused, is put out of the way', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-state-${process.pid}-`));
  try {
    const state = new StateDirectory(dir, kind);
    fs.writeFileSync(path.join(dir, 'refused'), 'no directory');
    for (let round = 0; round < 2; round++) {
      fs.mkdirSync(path.join(dir, 'a.json', 'inside'), { recursive: true });
      const { refused } = state.load();
      assert.deepEqual(
        refused.map(({ name, error }) => [name, error.code]),
        [['a', 'state-corrupt']],
      );
    }
    await state.write('a', { name: 'a', size: 1 });
    {
      using staged = state.stage('a', { name: 'b', size: 2 });
      assert.ok(staged);
    }
    assert.deepEqual([...state.load().records], [['a', { name: 'a', size: 1 }]]);
    assert.deepEqual(fs.readdirSync(dir).sort(), ['a.json', 'refused']);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('a file where the directory should be, or one above it, is set aside and reported once', async () => {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), `cw-state-${process.pid}-`));
  try {
    for (const below of ['speaker', 'speaker/config']) {
      fs.rmSync(path.join(top, 'speaker'), { recursive: true, force: true });
      const file = path.join(top, below);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, 'what somebody put here');
      const state = new StateDirectory(path.join(top, 'speaker/config'), kind);
      const { records, refused } = state.load();
      assert.equal(records.size, 0);
      assert.deepEqual(
        refused.map(({ name, error }) => [name, error.code, error.field]),
        [[path.basename(file), 'state-corrupt', file]],
      );
      assert.equal(fs.readFileSync(`${file}.refused`, 'utf8'), 'what somebody put here');
      await state.write('a', { name: 'a', size: 1 });
      assert.deepEqual([...state.load().records.keys()], ['a']);
      assert.deepEqual(state.load().refused, []);
    }
  } finally {
    fs.rmSync(top, { recursive: true, force: true });
  }
});
