import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { createApi, found, jsonAnswer, readJson, streamAnswer } from './api.ts';
import { ApiClient } from './client.ts';
import { EventStreams } from './events.ts';
import { listenOnSocket } from './listen.ts';

test('answers, refusals and streams come through; a program that is not there is unreachable', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-client-${process.pid}-`));
  try {
    const events = new EventStreams<object>({ buffer: 10, readers: 1 });
    const app = createApi({ program: 'thing', requestBytes: 1000, onError: () => {} });
    app.put('/v1/echo', async (c) => jsonAnswer(c, await readJson(c)));
    app.get('/v1/thing', (c) => jsonAnswer(c, found(undefined, 'name', 'x')));
    app.get('/v1/events', () => streamAnswer(events.stream({ first: [{ i: 0 }] })));
    const socket = path.join(dir, 'thing.sock');
    const client = new ApiClient('thing', socket);
    await assert.rejects(client.ask('GET', '/v1/thing'), { code: 'unreachable' });
    {
      await using _server = await listenOnSocket(app, socket);
      assert.deepEqual(await client.ask('PUT', '/v1/echo', { a: 'ä' }), { a: 'ä' });
      await assert.rejects(client.ask('GET', '/v1/thing'), {
        code: 'not-found',
        field: 'name',
        status: 404,
      });
      const stop = new AbortController();
      const lines = client.lines('/v1/events', stop.signal);
      assert.deepEqual((await lines.next()).value, { i: 0 });
      events.publish({ i: 1 });
      assert.deepEqual((await lines.next()).value, { i: 1 });
      await assert.rejects(client.lines('/v1/events', stop.signal).next(), { code: 'stream-full' });
      stop.abort();
      assert.equal((await lines.next()).done, true);
      while (events.readers > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const again = client.lines('/v1/events', new AbortController().signal);
      assert.deepEqual((await again.next()).value, { i: 0 });
      events.close();
      await assert.rejects(again.next(), { code: 'unreachable' });
    }
    await assert.rejects(client.lines('/v1/events', new AbortController().signal).next(), {
      code: 'unreachable',
    });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
