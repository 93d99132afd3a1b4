import assert from 'node:assert/strict';
import fs from 'node:fs';
import { request } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { createApi, found, jsonAnswer, readBody, withDeadline } from './api.ts';
import { listenOnSocket } from './listen.ts';

function api() {
  const failures: string[] = [];
  const app = createApi({
    program: 'thing',
    requestBytes: 200,
    onError: (error, { path }) => failures.push(`${path}: ${(error as Error).message}`),
  });
  app.post('/v1/things', async (c) =>
    c.json(await readBody(c, z.strictObject({ name: z.string(), list: z.array(z.int()) }))),
  );
  app.get('/v1/things/:name', (c) => jsonAnswer(c, found(undefined, 'name', c.req.param('name'))));
  app.get('/v1/counter', (c) => jsonAnswer(c, { small: 3n, map: new Map([['a', new Set([1])]]) }));
  app.get('/v1/slow', (c) => withDeadline(c, 0.02, () => new Promise(() => {})));
  app.get('/v1/broken', () => {
    throw new TypeError('oh');
  });
  return { app, failures };
}

test('refusals have one body, and only our own faults are reported', async () => {
  const { app, failures } = api();
  const cases: [
    path: string,
    body: string | undefined,
    status: number,
    code: string,
    field?: string,
  ][] = [
    ['/v1/things', '{"name":"a","list":[1,"x"]}', 400, 'bad-request', 'list.1'],
    ['/v1/things', '{"name":"a","list":[],"more":1}', 400, 'bad-request', 'more'],
    ['/v1/things', 'no json', 400, 'bad-request', '(body)'],
    ['/v1/things', ' '.repeat(300), 413, 'body-too-large'],
    ['/v1/things/b', undefined, 404, 'not-found', 'name'],
    ['/v1/nothing', undefined, 404, 'unknown-route', 'path'],
    ['/v1/slow', undefined, 504, 'timeout'],
    ['/v1/broken', undefined, 500, 'internal'],
  ];
  for (const [at, body, status, code, field] of cases) {
    const answer = await app.request(at, body === undefined ? {} : { method: 'POST', body });
    const { error } = (await answer.json()) as { error: { code: string; field?: string } };
    assert.deepEqual([answer.status, error.code, error.field], [status, code, field], at);
  }
  assert.deepEqual(
    failures.map((each) => each.split(':')[0]),
    ['/v1/slow', '/v1/broken'],
  );
  assert.deepEqual(await (await app.request('/v1/counter')).json(), { small: 3, map: { a: [1] } });
});

test('the socket takes the place of one that a dead program left, and is only for its owner', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-api-${process.pid}-`));
  try {
    const socketPath = path.join(dir, 'thing.sock');
    fs.writeFileSync(socketPath, 'left over');
    const { app } = api();
    await using _server = await listenOnSocket(app, socketPath);
    assert.equal(fs.statSync(socketPath).mode & 0o777, 0o600);
    const status = await new Promise((resolve, reject) => {
      request({ socketPath, path: '/v1/counter' }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });
    assert.equal(status, 200);
    await assert.rejects(listenOnSocket(app, path.join(dir, 'x'.repeat(120))), {
      code: 'bad-config',
      field: 'runDir',
    });
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('a refusal does not repeat a secret of the body', async () => {
  const app = createApi({ program: 'thing', requestBytes: 200, onError: () => {} });
  const schema = z.array(z.strictObject({ key: z.string().max(3) }));
  app.put('/v1/keys', async (c) => jsonAnswer(c, await readBody(c, schema)));
  for (const body of ['[{"key":"hunter2"}]', '[{"key":"hunter2"']) {
    const answer = await app.request('/v1/keys', { method: 'PUT', body });
    assert.equal(answer.status, 400);
    assert.ok(!(await answer.text()).includes('hunter2'), body);
  }
});

test('who sends too large a body hears so, also when still writing, by length or in chunks', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `cw-large-${process.pid}-`));
  const socketPath = path.join(dir, 'api.sock');
  const server = await listenOnSocket(api().app, socketPath);
  try {
    const body = 'x'.repeat(1 << 20);
    for (const headers of [{ 'content-length': body.length }, { 'transfer-encoding': 'chunked' }]) {
      const answer = await new Promise<{ status: number | undefined; text: string }>(
        (resolve, reject) => {
          const call = request({ socketPath, path: '/v1/things', method: 'POST', headers });
          call.on('error', reject);
          call.on('response', (response) => {
            let text = '';
            response.on('data', (chunk) => {
              text += chunk;
            });
            response.on('end', () => resolve({ status: response.statusCode, text }));
          });
          call.end(body);
        },
      );
      assert.equal(answer.status, 413);
      assert.match(answer.text, /body-too-large/);
    }
  } finally {
    await server[Symbol.asyncDispose]();
    fs.rmSync(dir, { recursive: true });
  }
});
