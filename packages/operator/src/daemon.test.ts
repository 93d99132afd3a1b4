import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ApiClient, DaemonError, silentLog } from '@causeway/daemon';
import { runOperator } from './daemon.ts';

test('without its store it answers and says so; a second one in its run directory is refused', async () => {
  const directory = mkdtempSync(join(tmpdir(), `causeway-operator-${process.pid}-`));
  const file = join(directory, 'operator.yaml');
  const stop = new AbortController();
  const options = { log: silentLog, signal: stop.signal };
  try {
    writeFileSync(
      file,
      `name: one\nrunDir: ${directory}/run\netcd: {endpoints: ["http://127.0.0.1:1"]}\nhttp: {address: 127.0.0.1, port: 0}\n`,
    );
    const listening = Promise.withResolvers<{ socket: string }>();
    const running = runOperator(file, { ...options, onListening: listening.resolve });
    const { socket } = await Promise.race([
      listening.promise,
      running.then(() => assert.fail('it ended')),
    ]);
    const status = (await new ApiClient('operator', socket).ask('GET', '/v1/status')) as {
      ready: boolean;
      leader: boolean;
      reasons: string[];
    };
    assert.deepEqual([status.ready, status.leader], [false, false]);
    assert.ok(status.reasons.includes('the store does not answer'), status.reasons.join());
    await assert.rejects(
      runOperator(file, options),
      (error) => error instanceof DaemonError && error.code === 'already-running',
    );
    stop.abort();
    await running;
  } finally {
    stop.abort();
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a setting that is not one is refused with its name and what is known', async () => {
  for (const [config, expected] of [
    [{ elections: {} }, /elections: no such setting; did you mean election/],
    [{ cluster: { id: 512 } }, /cluster\.id/],
    [
      { loadBalancer: { reserved: [{ cidr: 'x', owner: 'y' }] } },
      /a prefix such as 192\.0\.2\.0\/24/,
    ],
  ] as const) {
    await assert.rejects(
      runOperator(config as never, { log: silentLog }),
      (error) =>
        error instanceof DaemonError && error.code === 'bad-config' && expected.test(error.message),
    );
  }
});
