import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { History } from './history.ts';

const NOW = 1_800_000_000_000;
const LIMITS = { rows: 100_000, bytes: 1 << 28, days: 7 };

/** A disk of 2 MiB. */
class SmallDisk implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), `cw-bmp-disk-${process.pid}-`));

  constructor() {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', `cw-${process.pid}`, this.directory]);
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.directory]);
    rmSync(this.directory, { recursive: true });
  }
}

function fill(history: History, count: number): void {
  for (let i = 0; i < count; i++)
    history.add({
      id: history.nextEvent(),
      at: NOW + i,
      type: 'peer-down',
      data: {},
      prefixes: new Uint8Array(1000).fill(i),
    });
}

test('a full disk costs what could not be written, and says so; with room again it goes on', () => {
  using disk = new SmallDisk();
  const file = join(disk.directory, 'history.sqlite');
  const { history } = History.open(file, LIMITS, NOW);
  using _ = history;
  fill(history, 100);
  history.flush(NOW);
  assert.equal(history.rows, 100);
  fill(history, 5000);
  history.flush(NOW);
  assert.equal(history.dropped, 5000);
  assert.match(history.problem ?? '', /full|I\/O/);
  assert.equal(history.rows, 100, 'nothing of a batch that failed counts');
  assert.equal(history.events({ limit: 1000 }).length, 100, 'what is there can be read');
  fill(history, 10);
  history.flush(NOW);
  assert.equal(history.events({ limit: 1 })[0]?.id, 5110);
  assert.equal(history.problem, undefined);
});

test('a history on a full disk is not taken for a broken one at the start', () => {
  using disk = new SmallDisk();
  const file = join(disk.directory, 'history.sqlite');
  {
    using history = History.open(file, LIMITS, NOW).history;
    fill(history, 100);
    history.flush(NOW);
  }
  try {
    writeFileSync(join(disk.directory, 'ballast'), new Uint8Array(4 << 20));
  } catch {
    // What there was room for is there.
  }
  try {
    const { history, aside } = History.open(file, LIMITS, NOW);
    using _ = history;
    assert.equal(aside, undefined);
    assert.equal(history.rows, 100);
  } catch (error) {
    assert.equal((error as { code?: unknown }).code, 'history-failed');
  }
  assert.ok(!readdirSync(disk.directory).some((name) => name.includes('corrupt')));
  rmSync(join(disk.directory, 'ballast'));
  using history = History.open(file, LIMITS, NOW).history;
  assert.equal(history.rows, 100);
});
