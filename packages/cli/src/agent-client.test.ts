import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AgentClient } from './agent-client.ts';
import { exitCodeOf, reportOf } from './errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'causeway-cli-'));
const socket = join(directory, 'agent.sock');
const agent = new AgentClient('n1', socket);
const server = createServer(answer);

function answer(request: IncomingMessage, response: ServerResponse): void {
  switch (request.url) {
    case '/echo':
      request.pipe(response);
      return;
    case '/text':
      response.end('no json');
      return;
    case '/refuse':
      response.writeHead(404).end(
        JSON.stringify({
          error: {
            code: 'not-found',
            message: 'nothing here',
            field: 'id',
            value: 7,
            hint: 'look',
          },
        }),
      );
      return;
    case '/stream':
      response.write('{"a":1}\n{"a"');
      setImmediate(() => response.write(':2}\n'));
      return;
    case '/dies':
      response.write('{"a":1}\n');
      setTimeout(() => response.destroy(), 20);
      return;
    case '/ends':
      response.end('{"a":1}\n');
      return;
    default:
      response.writeHead(500).end('null');
  }
}

before(() => new Promise<void>((resolve) => server.listen(socket, resolve)));
after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

test('an answer is its body, a refusal keeps code, field, value and hint, and its exit status', async () => {
  assert.deepEqual(await agent.ask('POST', '/echo', { x: [1] }), { x: [1] });
  const report = reportOf(await agent.get('/refuse').catch((error: unknown) => error));
  assert.deepEqual(report, {
    code: 'not-found',
    message: 'the agent on n1 refuses: nothing here',
    field: 'id',
    value: 7,
    hint: 'look',
  });
  assert.equal(exitCodeOf(report), 3);
  await assert.rejects(agent.get('/other'), { code: 'agent-refused' });
  await assert.rejects(agent.get('/text'), { code: 'unreachable' });
  await assert.rejects(new AgentClient('n2', '/nowhere.sock').get('/'), {
    code: 'unreachable',
    value: '/nowhere.sock',
  });
});

test('a stream gives whole lines until it is told to end, and says when the agent hung up', async () => {
  const stop = new AbortController();
  const seen: unknown[] = [];
  for await (const event of agent.stream('/stream', stop.signal)) {
    seen.push(event);
    if (seen.length === 2) stop.abort();
  }
  assert.deepEqual(seen, [{ a: 1 }, { a: 2 }]);
  const drain = async (path: string) => {
    for await (const event of agent.stream(path, new AbortController().signal))
      assert.deepEqual(event, { a: 1 });
  };
  await assert.rejects(drain('/dies'), { code: 'unreachable' });
  await assert.rejects(drain('/ends'), { code: 'unreachable' });
  await assert.rejects(drain('/refuse'), { code: 'not-found' });
});
