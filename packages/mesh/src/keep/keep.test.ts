import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PeerWorld } from '../../testing/peer-world.ts';
import { KeptPeer } from './kept-peer.ts';
import { KeptPeers } from './kept-peers.ts';
import { headerRecord } from './records.ts';

const WHOLE = { nodes: 1, services: 20, identities: 1, ip: 1 };
const NOTHING = { nodes: 0, services: 0, identities: 0, ip: 0 };
const GRACE = 150_000;

/** Tells when it has looked at what there is: disks know no virtual time. */
class Watched extends KeptPeer {
  looked: Promise<unknown> = Promise.resolve();

  override find(oldest: number): ReturnType<KeptPeer['find']> {
    const found = super.find(oldest);
    this.looked = found;
    return found;
  }
}

/** A directory, and lives of an agent one after the other that keep a peer's state in it. */
class Lives implements AsyncDisposable {
  readonly #all: Watched[] = [];
  readonly directory = mkdtempSync(join(tmpdir(), `causeway-keep-${process.pid}-`));
  readonly path = join(this.directory, 'east');

  kept(t: PeerWorld, { signal } = new AbortController()): Watched {
    const { path } = this;
    const kept = new Watched({
      path,
      own: 'own',
      peer: 'east',
      tables: t.tables,
      clock: t.clock,
      signal,
    });
    this.#all.push(kept);
    return kept;
  }

  /** A first life that read the peer whole and was killed: nothing is closed. */
  async first(
    more: (t: PeerWorld, kept: KeptPeer, stop: () => void) => Promise<void> = async () => {},
  ): Promise<number> {
    await using t = new PeerWorld(GRACE);
    const kept = this.kept(t);
    const east = t.store('east', 7);
    t.keep(east);
    await east.fill();
    t.join(east, undefined, kept);
    await kept.looked;
    await t.until('ready', () => t.row('east').state === 'ready', 10_000);
    await t.pass(5000);
    await kept.step(t.clock.now());
    await more(t, kept, () => east.etcd.stop());
    return t.clock.now();
  }

  /** No life closes its file, as if it were killed; only the process must not end with them open. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const kept of this.#all) await kept.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A life that begins at `now`, with a peer that does not answer. */
async function later(lives: Lives, now: number) {
  const t = new PeerWorld(GRACE);
  await t.clock.advance(now - t.clock.now());
  const east = t.store('east', 7);
  east.etcd.stop();
  t.keep(east);
  const kept = lives.kept(t);
  t.join(east, undefined, kept);
  return { t, east, kept };
}

async function really(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('what a peer said last is in force at once after a start, ages on, and goes after the grace', async () => {
  await using lives = new Lives();
  const now = await lives.first();
  const { t, kept } = await later(lives, now + 20_000);
  await using _ = t;
  await really('the file', () => t.row('east').state === 'stale');
  assert.deepEqual(t.have('east'), WHOLE);
  assert.equal(t.row('east').id, 7);
  const age = t.clock.now() - t.row('east').lastContact!;
  assert.ok(age >= 20_000 && age < 30_000, `${age}`);
  await t.pass(GRACE - 40_000);
  assert.deepEqual(t.have('east'), WHOLE);
  await kept.step(t.clock.now());
  assert.ok(existsSync(lives.path));
  await t.pass(60_000);
  assert.deepEqual(t.have('east'), NOTHING);
  await kept.step(t.clock.now());
  assert.ok(!existsSync(lives.path), 'nothing of it is in force, so nothing is kept');
});

test('what was withdrawn by age is not put back by the next start', async () => {
  await using lives = new Lives();
  const left = { services: 0 };
  const now = await lives.first(async (t, kept, stop) => {
    stop();
    await t.until('withdrawing', () => {
      left.services = t.have('east').services;
      return left.services > 0 && left.services < 12;
    });
    await kept.step(t.clock.now());
  });
  const { t } = await later(lives, now);
  await using _ = t;
  await really('the file', () => t.row('east').state === 'stale');
  assert.deepEqual(t.have('east'), { ...WHOLE, services: left.services });
});

test('a peer that answers after a start with what was kept changes nothing, and nothing is written anew', async () => {
  await using lives = new Lives();
  await using t = new PeerWorld(GRACE);
  const kept = lives.kept(t);
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  const peer = t.join(east, undefined, kept);
  await kept.looked;
  await t.until('ready', () => t.row('east').state === 'ready', 10_000);
  await t.pass(5000);
  await kept.step(t.clock.now());
  await peer[Symbol.asyncDispose]();
  // Rows of the first life stand in its tables; the second has its own.
  await using next = new PeerWorld(GRACE);
  await next.clock.advance(t.clock.now() - next.clock.now());
  const again = lives.kept(next);
  east.etcd.stop();
  next.join(east, undefined, again);
  await really('the file', () => next.row('east').state === 'stale');
  using changes = next.tables.services.changes('test', 'now');
  const { ino, size } = statSync(lives.path);
  east.etcd.start();
  next.keep(east);
  await next.until('ready', () => next.row('east').state === 'ready', 60_000);
  await next.pass(5000);
  await again.step(next.clock.now());
  assert.equal(changes.pending, false);
  assert.deepEqual(next.have('east'), WHOLE);
  assert.equal(statSync(lives.path).ino, ino, 'the same file');
  assert.ok(statSync(lives.path).size <= size + 200, 'a contact, and no more');
});

test('changes are appended and put back; a log that is longer than what lives is written anew', async () => {
  await using lives = new Lives();
  const now = await lives.first(async (t, kept) => {
    const before = statSync(lives.path).size;
    kept.put(
      'ip',
      '10.7.0.10',
      Buffer.from(
        `{"IP":"10.7.0.10","Mask":null,"HostIP":"192.0.7.1","ID":${(7 << 16) | 300},"Key":0,"Metadata":""}`,
      ),
    );
    kept.delete('ip', '10.7.0.9');
    kept.delete('services', 'shop/s3');
    await kept.step(t.clock.now());
    assert.ok(statSync(lives.path).size > before);
  });
  const { t, kept } = await later(lives, now);
  await using _ = t;
  await really('the file', () => t.row('east').state === 'stale');
  assert.deepEqual(t.have('east'), { ...WHOLE, services: 19 });
  assert.ok(t.tables.ipEntries.get('east', '10.7.0.10'));
  assert.equal(t.tables.ipEntries.get('east', '10.7.0.9'), undefined);
  const { size } = statSync(lives.path);
  const value = Buffer.alloc(60_000);
  for (let i = 0; i < 40; i++) kept.put('ip', '10.7.0.11', value);
  await kept.step(t.clock.now());
  assert.ok(statSync(lives.path).size > 2_000_000);
  kept.current(
    { at: t.clock.now() },
    '{"id":7,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255}}',
  );
  await kept.step(t.clock.now());
  await kept.step(t.clock.now() + 5000);
  assert.ok(statSync(lives.path).size < size + 500, 'it holds what lives');
});

test('a file that ends within a record is used up to there; any other fault puts it aside with the reason', async () => {
  const faults: [string, (path: string) => void, RegExp | undefined][] = [
    ['cut in its last record', (path) => truncateSync(path, statSync(path).size - 3), undefined],
    ['half a record more', (path) => appendFileSync(path, Buffer.from([9, 0, 0, 0, 1])), undefined],
    ['cut in its state', (path) => truncateSync(path, 900), /cut off before its state is whole/],
    ['empty', (path) => truncateSync(path, 0), /it is empty/],
    ['a wrong byte', (path) => flip(path, 700), /a checksum is wrong|a record of/],
    ['no state at all', (path) => writeFileSync(path, 'x'.repeat(5000)), /a record of/],
    [
      'of a peer',
      (path) => writeFileSync(path, headerRecord('own', 'west', CONFIG)),
      /not own of east/,
    ],
    ['newer', (path) => writeFileSync(path, newer()), /version 2, where 1 is understood/],
  ];
  for (const [what, harm, reason] of faults) {
    await using lives = new Lives();
    // Two contacts: one may be cut off.
    const now = await lives.first(async (t, kept) => {
      await t.pass(11_000);
      await kept.step(t.clock.now());
    });
    harm(lives.path);
    const { t, east, kept } = await later(lives, now);
    await using _ = t;
    await really(what, () =>
      reason === undefined ? t.row('east').state === 'stale' : kept.problem !== undefined,
    );
    assert.deepEqual(t.have('east'), reason === undefined ? WHOLE : NOTHING, what);
    if (reason === undefined) continue;
    assert.match(kept.problem ?? '', reason, what);
    assert.ok(existsSync(`${lives.path}.refused`), what);
    east.etcd.start();
    await east.fill();
    await t.until('ready', () => t.row('east').state === 'ready', 120_000);
    assert.deepEqual(t.have('east'), WHOLE, what);
  }
});

test('what was kept is believed no more than the peer: rows of our own ranges and other clusters are left out', async () => {
  await using lives = new Lives();
  const now = await lives.first(async (t, kept) => {
    const entry = (ip: string, id: number) =>
      Buffer.from(`{"IP":"${ip}","Mask":null,"HostIP":"","ID":${id},"Key":0,"Metadata":""}`);
    kept.put('ip', '127.0.0.1', entry('127.0.0.1', (7 << 16) | 300));
    kept.put('ip', '10.7.0.12', entry('10.7.0.12', (8 << 16) | 300));
    kept.put('nodes', 'n2', Buffer.from('{"Name":"n2","Cluster":"west"}'));
    await kept.step(t.clock.now());
  });
  const { t } = await later(lives, now);
  await using _ = t;
  await really('the file', () => t.row('east').state === 'stale');
  assert.deepEqual(t.have('east'), WHOLE);
});

test('a disk that cannot be written to costs nothing but the file, and is said', async () => {
  await using lives = new Lives();
  writeFileSync(join(lives.directory, 'blocked'), '');
  await using t = new PeerWorld(GRACE);
  await using all = new KeptPeers({
    directory: join(lives.directory, 'blocked', 'peers'),
    own: 'own',
    tables: t.tables,
    clock: t.clock,
  });
  const kept = all.of('east');
  const east = t.store('east', 7);
  t.keep(east);
  await east.fill();
  t.join(east, undefined, kept);
  await really('the file', () => kept.problem !== undefined);
  await t.until('ready', () => t.row('east').state === 'ready', 60_000);
  await t.pass(5000);
  await really('a step', () => /ENOTDIR/.test(all.problems().join()));
  await east.ip('10.7.0.44', 300, '192.0.7.1');
  await t.until('a change', () => t.have('east').ip === 2, 10_000);
});

test('files of peers that are none any more go', async () => {
  await using lives = new Lives();
  const now = await lives.first();
  writeFileSync(join(lives.directory, 'west'), readFileSync(lives.path));
  writeFileSync(join(lives.directory, 'west.refused'), '');
  await using t = new PeerWorld(GRACE);
  await t.clock.advance(now - t.clock.now());
  await using all = new KeptPeers({
    directory: lives.directory,
    own: 'own',
    tables: t.tables,
    clock: t.clock,
  });
  await all.retain(['east']);
  assert.ok(existsSync(lives.path));
  assert.ok(!existsSync(join(lives.directory, 'west')));
  assert.ok(!existsSync(join(lives.directory, 'west.refused')));
  await t.clock.advance(1000);
});

test('what was dropped is not found again, though nothing was written in between', async () => {
  await using lives = new Lives();
  await lives.first(async (_, kept) => {
    kept.drop();
    assert.equal(await kept.find(0), undefined);
    assert.ok(!existsSync(lives.path));
    assert.equal(openOf(lives.path), 0);
  });
});

test('a peer that is made again finds all that was told, by one file that is open', async () => {
  await using lives = new Lives();
  await lives.first(async (t, kept) => {
    kept.delete('services', 'shop/s3');
    const { contact, records } = (await kept.find(0))!;
    assert.equal(openOf(lives.path), 1);
    assert.ok(contact.at > 0);
    const deleted = [];
    for await (const batch of records()) {
      deleted.push(...batch.flatMap((each) => (each.type === 'delete' ? each.rest : [])));
    }
    assert.deepEqual(deleted, ['shop/s3']);
    // Found while it is written anew.
    kept.outdated();
    const step = kept.step(t.clock.now() + 5000);
    assert.ok(await kept.find(0));
    await step;
    kept.put('ip', '10.7.0.11', Buffer.from('x'));
    await kept.step(t.clock.now());
    assert.equal(openOf(lives.path), 1);
    assert.equal(kept.bytes, statSync(lives.path).size);
  });
});

test('a file that was not written anew to its end says no later contact', async () => {
  await using lives = new Lives();
  await lives.first(async (t, before) => {
    await before.close();
    const end = new AbortController();
    const kept = lives.kept(t, end);
    const { contact } = (await kept.find(0))!;
    const east = t.tables.services.get('east/shop/s0')!;
    t.tables.services.database.write(() => {
      // More than one chunk, for between them the end of the process is seen.
      for (let i = 0; i < 600; i++) t.tables.services.put({ ...east, name: `more${i}` });
    });
    const now = t.clock.now() + 60_000;
    kept.outdated();
    kept.current({ at: now }, CONFIG);
    end.abort();
    await kept.step(now + 5000);
    await kept.close();
    assert.deepEqual((await lives.kept(t).find(0))?.contact, contact);
  });
});

const CONFIG = '{"id":7,"capabilities":{"syncedCanaries":true,"maxConnectedClusters":255}}';

/** How many of this process's files are this one. */
function openOf(path: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return links.filter((each) => each.startsWith(path)).length;
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 0x40;
  writeFileSync(path, bytes);
}

/** A header of a form that is to come. */
function newer(): Buffer {
  const { crc32 } = process.getBuiltinModule('node:zlib');
  const value = Buffer.from('{"format":"causeway-peer-state","version":2}');
  const body = Buffer.concat([Buffer.from([1, 0, 0]), value]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32LE(body.length, 0);
  frame.writeUInt32LE(crc32(body), 4);
  return Buffer.concat([frame, body]);
}
