import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { SessionRow } from '@causeway/bfd';
import { eventually, ours, Site, theirs } from '@causeway/bfd/testing';
import { ApiClient } from '@causeway/daemon';

let site: Site;
const children: ChildProcess[] = [];
beforeEach(() => {
  site = new Site();
});
afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, 'SIGKILL');
  site[Symbol.dispose]();
});

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await end;
}

/** A daemon as the CLI runs it, one at either end. */
async function start(end: 'ours' | 'theirs') {
  const runDir = join(site.directory, end);
  const config = `${runDir}.yaml`;
  writeFileSync(config, `runDir: ${runDir}\nname: ${end}\n`);
  const main =
    "import { runBfdDaemon } from '@causeway/bfd-daemon'; await runBfdDaemon(process.argv[1]);";
  const path = end === 'ours' ? site.ourPath : site.theirPath;
  const child = spawn(
    'nsenter',
    [`--net=${path}`, process.execPath, '--input-type=module', '-e', main, config],
    { stdio: ['ignore', 'ignore', 'pipe'], cwd: import.meta.dirname },
  );
  children.push(child);
  const closed = new Promise((resolve) => child.once('close', resolve));
  let log = '';
  child.stderr.on('data', (bytes: Buffer) => {
    log += bytes.toString();
  });
  const client = new ApiClient('BFD daemon', join(runDir, 'bfd.sock'));
  await eventually(
    'it takes requests',
    () => (child.exitCode === null ? client.ask('GET', '/v1/status').catch(() => undefined) : true),
    30_000,
    () => log,
  );
  return {
    child,
    /** Its log is whole then. */
    closed,
    client,
    runDir,
    log: () => log,
    rows: async () => (await client.ask('GET', '/v1/sessions')) as SessionRow[],
  };
}

const timers = { txIntervalMs: 50, rxIntervalMs: 50, multiplier: 3 };
const with_ = (end: typeof ours | typeof theirs) => [
  { remote: end.ipv4, ...timers },
  { remote: end.linkLocal, interface: 'e0', ...timers },
];
const up = (daemon: { rows: () => Promise<SessionRow[]> }) =>
  eventually(
    'all are up',
    async () => {
      const rows = await daemon.rows();
      return (rows.length === 2 && rows.every(({ state }) => state === 'up')) || undefined;
    },
    30_000,
    async () => JSON.stringify(await daemon.rows()),
  );

test('sessions outlive their owner and come back with the daemon, which tells who listens', async () => {
  const us = await start('ours');
  const them = await start('theirs');
  const put = await us.client.ask('PUT', '/v1/sessions/speaker', with_(theirs));
  assert.deepEqual(put, {
    sessions: [
      { key: theirs.ipv4, change: 'added' },
      { key: `${theirs.linkLocal}%e0`, change: 'added' },
    ],
  });
  await them.client.ask('PUT', '/v1/sessions/speaker', with_(ours));
  await up(us);

  // Events: how all stand, then that that was all, then changes.
  const lines: Record<string, unknown>[] = [];
  const stop = new AbortController();
  const reading = (async () => {
    for await (const line of us.client.lines('/v1/events', stop.signal))
      lines.push(line as Record<string, unknown>);
  })();
  await eventually('the present is told', () => lines.length >= 3 || undefined);
  assert.deepEqual(
    lines.map(({ type }) => type),
    ['current', 'current', 'synced'],
  );
  assert.ok(lines.slice(0, 2).every(({ session }) => (session as SessionRow).state === 'up'));
  site.cut();
  await eventually('the change is told', () => lines.length >= 5 || undefined);
  const fall = lines[3] as { type: string; session: SessionRow; change: { reason: string } };
  assert.equal(fall.type, 'changed');
  assert.equal(fall.change.reason, 'detection-expired');
  assert.equal(fall.session.signal, 'failed');
  site.mend();
  await up(us);
  stop.abort();
  await reading;

  // In good order: the peers are told, and nobody takes it for a fault.
  const before = new Set((await us.rows()).map(({ discriminator }) => discriminator));
  await ended(us.child, 'SIGTERM');
  assert.equal(us.child.exitCode, 0);
  await eventually(
    'the peer knows why',
    async () => (await them.rows()).every(({ signal }) => signal === 'administrative') || undefined,
  );
  const again = await start('ours');
  await up(again);
  assert.ok((await again.rows()).every(({ discriminator }) => !before.has(discriminator)));

  // Killed: its peers notice within the detection time, and it comes back all the same.
  await ended(again.child, 'SIGKILL');
  const killed = Date.now();
  await eventually(
    'the peer notices',
    async () => (await them.rows()).every(({ signal }) => signal === 'failed') || undefined,
  );
  for (const { lastDown } of await them.rows()) assert.ok(Date.parse(lastDown!.at) - killed <= 170);
  await up(await start('ours'));
  assert.deepEqual(await them.client.ask('GET', '/v1/owners'), [{ owner: 'speaker', sessions: 2 }]);
});

test('a state file that cannot be believed is set aside and named, and a second daemon refused', async () => {
  const us = await start('ours');
  await us.client.ask('PUT', '/v1/sessions/good', with_(theirs).slice(0, 1));
  await us.client.ask('PUT', '/v1/sessions/bad', []);
  await us.client.ask('PUT', '/v1/sessions/newer', []);
  await ended(us.child, 'SIGTERM');
  writeFileSync(join(us.runDir, 'bfd', 'bad.json'), '{"format":');
  writeFileSync(
    join(us.runDir, 'bfd', 'newer.json'),
    JSON.stringify({ format: 'causeway-bfd-owner', version: 99, payload: '[]' }),
  );
  const again = await start('ours');
  assert.deepEqual(await again.client.ask('GET', '/v1/owners'), [{ owner: 'good', sessions: 1 }]);
  assert.match(again.log(), /"owner":"bad".*cut short/);
  assert.match(again.log(), /"owner":"newer".*version 99/);
  assert.deepEqual(readdirSync(join(us.runDir, 'bfd', 'refused')).sort(), [
    'bad.json',
    'newer.json',
  ]);
  const second = await start('ours');
  // What answered is the first one, on the same socket.
  await second.closed;
  assert.equal(second.child.exitCode, 1);
  assert.equal(again.child.exitCode, null);
  assert.match(second.log(), /already-running|another bfd/);
});
