import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import {
  createApi,
  EventStreams,
  listenOnSocket,
  readJson,
  silentLog,
  streamAnswer,
} from '@causeway/daemon';
import { BfdClient, type BfdSession } from './bfd.ts';

const session = (remote: string): BfdSession => ({
  remote,
  txIntervalMs: 300,
  rxIntervalMs: 300,
  multiplier: 3,
});
const row = (remote: string, signal: string) => ({
  type: 'changed',
  session: { key: remote, remote, multihop: false, signal },
});

/** A daemon's API as a client meets it. */
async function daemon(socket: string, first: object[], puts: unknown[]) {
  const events = new EventStreams<object>({ buffer: 100, readers: 4 });
  const app = createApi({ program: 'BFD daemon', requestBytes: 1_000_000, onError: () => {} });
  app.put('/v1/sessions/:owner', async (c) => {
    puts.push(await readJson(c));
    return c.json({});
  });
  app.get('/v1/events', () =>
    streamAnswer(events.stream({ first: [...first, { type: 'synced' }] })),
  );
  const server = await listenOnSocket(app, socket);
  return {
    events,
    async [Symbol.asyncDispose]() {
      events.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function until(check: () => void): Promise<void> {
  const end = performance.now() + 30_000;
  for (;;) {
    try {
      check();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

test('states come through; a daemon that is away is no path that failed', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-bfdc-${process.pid}-`));
  try {
    const socket = path.join(dir, 'bfd.sock');
    const told: string[] = [];
    const accepted: (readonly BfdSession[])[] = [];
    await using client = new BfdClient({
      socket,
      log: silentLog,
      carried: [session('10.0.0.9')],
      onState: (peer, state) => told.push(`${peer} ${state}`),
      onAccepted: (sessions) => accepted.push(sessions),
    });
    client.want('a', session('10.0.0.1'));
    client.want('b', session('10.0.0.2'));
    await until(() => assert.match(client.status().error ?? '', /does not answer/));
    const puts: unknown[] = [];
    {
      await using first = await daemon(socket, [row('10.0.0.1', 'up')], puts);
      await until(() => assert.deepEqual(told, ['a up']));
      assert.deepEqual(client.status().connected, true);
      await until(() =>
        assert.deepEqual(puts.at(-1), [
          session('10.0.0.9'),
          session('10.0.0.1'),
          session('10.0.0.2'),
        ]),
      );
      client.settled();
      await until(() => assert.deepEqual(puts.at(-1), [session('10.0.0.1'), session('10.0.0.2')]));
      await until(() => assert.deepEqual(accepted.at(-1), puts.at(-1)));
      first.events.publish(row('10.0.0.2', 'up'));
      first.events.publish(row('10.0.0.2', 'administrative'));
      first.events.publish({ type: 'garbage', session: 5 });
      await until(() => assert.deepEqual(told, ['a up', 'b up', 'b unknown']));
    }
    await until(() => assert.equal(client.status().connected, false));
    assert.deepEqual(told.length, 3);
    assert.equal(client.stateOf('a'), 'up');
    // It comes back with a record lost, and the path failed meanwhile.
    puts.length = 0;
    await using second = await daemon(socket, [row('10.0.0.1', 'failed')], puts);
    await until(() => assert.deepEqual(told.slice(3), ['a down']));
    await until(() => assert.equal((puts.at(-1) as unknown[]).length, 2));
    client.want('b', undefined);
    client.want('c', session('10.0.0.1'));
    assert.deepEqual(told.slice(4), ['b unknown', 'c down']);
    await until(() => assert.equal((puts.at(-1) as unknown[]).length, 1));
    assert.deepEqual(client.status().sessions, 2);
    assert.ok(second);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
