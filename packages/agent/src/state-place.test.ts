import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { outlivingPlace } from './state-place.ts';

function places() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `cw-place-${process.pid}-`));
  const runDir = path.join(directory, 'run');
  const stateDir = path.join(directory, 'var/lib');
  const former = path.join(runDir, 'state/peers');
  const put = (at: string, text: string) => {
    fs.mkdirSync(at, { recursive: true });
    fs.writeFileSync(path.join(at, 'east'), text);
  };
  const warned: unknown[] = [];
  return {
    stateDir,
    former,
    put,
    warned,
    place: () => outlivingPlace({ runDir, stateDir }, 'peers', (error) => warned.push(error)),
    [Symbol.dispose]: () => fs.rmSync(directory, { recursive: true }),
  };
}

test('state that nobody kept before is kept in the state directory, which nothing makes yet', () => {
  using t = places();
  assert.equal(t.place(), path.join(t.stateDir, 'peers'));
  assert.equal(fs.existsSync(t.stateDir), false);
});

test('what an older version kept in the run directory is brought over, and is the one that counts', () => {
  using t = places();
  t.put(path.join(t.stateDir, 'peers'), 'before the older version ran again');
  t.put(path.join(t.stateDir, 'peers.new'), 'half brought over');
  t.put(t.former, 'the last');
  const place = t.place();
  assert.equal(fs.readFileSync(path.join(place, 'east'), 'utf8'), 'the last');
  assert.equal(fs.existsSync(t.former), false);
  assert.deepEqual(fs.readdirSync(t.stateDir), ['peers']);
  assert.equal(t.place(), place);
  assert.deepEqual(t.warned, []);
});

test('what cannot be brought over goes on where it is', () => {
  using t = places();
  t.put(t.former, 'the last');
  fs.writeFileSync(path.dirname(t.stateDir), 'no directory');
  assert.equal(t.place(), t.former);
  assert.equal(fs.readFileSync(path.join(t.former, 'east'), 'utf8'), 'the last');
  assert.equal(t.warned.length, 1);
});

test('what is kept in the run directory by choice stays there', () => {
  using t = places();
  t.put(t.former, 'the last');
  const warned: unknown[] = [];
  const runDir = path.join(t.former, '../..');
  const stateDir = path.join(runDir, 'state');
  const place = outlivingPlace({ runDir, stateDir }, 'peers', (error) => warned.push(error));
  assert.equal(place, t.former);
  assert.equal(fs.readFileSync(path.join(place, 'east'), 'utf8'), 'the last');
  assert.deepEqual(warned, []);
});
