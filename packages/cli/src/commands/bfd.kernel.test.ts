import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { AgentClient } from '../agent-client.ts';

const run = promisify(execFile);
const causeway = join(import.meta.dirname, '../../bin/causeway');
const name = `cwcb${process.pid}`;
let directory: string;
let socket: string;
let daemon: ChildProcess;
let client: AgentClient;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), `${name}-`));
  socket = join(directory, 'bfd.sock');
  const config = join(directory, 'bfd.yaml');
  writeFileSync(config, `runDir: ${directory}\nlog: {level: warn}\n`);
  // A network of its own, which ends with it.
  const inside = 'ip link set lo up; exec "$0" bfd --config "$1"';
  daemon = spawn('unshare', ['--net', 'sh', '-c', inside, causeway, config], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  client = new AgentClient('here', join(directory, 'agent.sock')).beside('BFD daemon', 'bfd.sock');
  const until = performance.now() + 30_000;
  for (;;) {
    try {
      await client.get('/v1/status');
      break;
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});
after(async () => {
  const ended = new Promise((resolve) => daemon.once('exit', resolve));
  if (daemon.exitCode === null && daemon.kill('SIGTERM')) await ended;
  rmSync(directory, { recursive: true, force: true });
});

test('sessions of both ends of a loopback, as a table, as JSON, and as they change', async () => {
  const ask = async (...words: string[]) =>
    (await run(causeway, ['bfd', ...words, '--socket', socket])).stdout;
  assert.match(await ask('sessions'), /no BFD sessions/);
  const events = spawn(causeway, ['bfd', 'events', '--socket', socket]);
  const closed = new Promise((resolve) => events.once('close', resolve));
  let lines = '';
  events.stdout.on('data', (bytes: Buffer) => {
    lines += bytes.toString();
  });
  while (!lines.includes('that is all for now')) {
    assert.equal(events.exitCode, null, 'it follows');
    await new Promise((go) => setTimeout(go, 20));
  }
  const timers = { txIntervalMs: 50, rxIntervalMs: 50, multiplier: 3 };
  await client.ask('PUT', '/v1/sessions/test', [
    { remote: '127.0.0.2', local: '127.0.0.1', ...timers },
    { remote: '127.0.0.1', local: '127.0.0.2', ...timers },
  ]);
  type Row = { key: string; state: string; node: string };
  let rows: Row[] = [];
  while (rows.length < 2 || rows.some(({ state }) => state !== 'up'))
    rows = JSON.parse(await ask('sessions', '--json')) as Row[];
  assert.deepEqual(
    rows.map(({ key }) => key),
    ['127.0.0.2 from 127.0.0.1', '127.0.0.1 from 127.0.0.2'],
  );
  assert.match(await ask('sessions'), /127\.0\.0\.2 from 127\.0\.0\.1 +up +up +50 ms +150 ms/);
  assert.match(await ask('status'), /NODE +SESSIONS +UP.*\n.* 2 +2 /);
  events.kill('SIGTERM');
  await closed;
  assert.match(lines, /127\.0\.0\.2 from 127\.0\.0\.1: down -> (init|up): the peer answers/);
});

test('a daemon that is not there is exit status 5 and says which', async () => {
  await assert.rejects(
    run(causeway, ['bfd', 'sessions', '--socket', join(directory, 'none.sock'), '--json']),
    (error: Error & { code: number; stderr: string }) => {
      assert.equal(error.code, 5);
      assert.match(error.stderr, /"unreachable".*BFD daemon/);
      return true;
    },
  );
});
