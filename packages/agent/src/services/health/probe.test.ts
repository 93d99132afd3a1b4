import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import type { HealthCheck } from '@causeway/loadbalancing';
import { probe } from './probe.ts';

const check = (over: Partial<HealthCheck>): HealthCheck => ({
  type: 'tcp',
  path: '',
  port: undefined,
  intervalMs: 5_000,
  // Long for a loaded machine; only tries that must run out of time are given less.
  timeoutMs: 20_000,
  healthyAfter: 1,
  unhealthyAfter: 1,
  ...over,
});

async function tryServer(
  serve: (socket: net.Socket) => void,
  over: Partial<HealthCheck>,
  host = '127.0.0.1',
): Promise<{ result: string | undefined; request: string; closed: boolean }> {
  let request = '';
  let open = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    open++;
    sockets.add(socket);
    socket.on('data', (data) => {
      request += String(data);
    });
    socket.on('error', () => {});
    socket.on('close', () => open--);
    serve(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const address = Address.parse(host);
  const result = await probe({ address, port, check: check(over) }, new AbortController().signal);
  while (open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  return { result, request, closed: open === 0 };
}

const http = { type: 'http', path: '/ready?deep=1' } as const;
const says = (text: string) => (socket: net.Socket) =>
  void socket.once('data', () => socket.write(text));

test('TCP: a connection is enough, and it is closed again, in both families', async () => {
  for (const host of ['127.0.0.1', '::1']) {
    const { result, closed } = await tryServer(() => {}, {}, host);
    assert.deepEqual([result, closed], [undefined, true]);
  }
});

test('TCP: nobody listens', async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const address = Address.parse('127.0.0.1');
  const signal = new AbortController().signal;
  assert.equal(await probe({ address, port, check: check({}) }, signal), 'connection refused');
});

test('HTTP: 200 to 399 are healthy, by the path that was asked for', async () => {
  for (const [status, wanted] of [
    [200, undefined],
    [204, undefined],
    [302, undefined],
    [404, 'HTTP status 404'],
    [503, 'HTTP status 503'],
  ] as const) {
    const answer = says(`HTTP/1.1 ${status} x\r\nlocation: http://192.0.2.1/\r\n\r\n`);
    const { result, request } = await tryServer(answer, http);
    assert.equal(result, wanted);
    assert.ok(request.startsWith('GET /ready?deep=1 HTTP/1.1\r\n'), request);
  }
});

test('HTTP: hostile servers cost a socket until they are found out', async () => {
  const flood =
    (piece: string, head = 'HTTP/1.1 200 OK\r\n') =>
    (socket: net.Socket) => {
      socket.once('data', () => {
        socket.write(head);
        const timer = setInterval(() => socket.write(piece), 1);
        socket.on('close', () => clearInterval(timer));
      });
    };
  const endless = await tryServer(flood(`x: ${'a'.repeat(4_096)}\r\n`), http);
  assert.match(endless.result!, /HPE_HEADER_OVERFLOW/);
  // Headers are enough: a body without end is not read.
  const body = await tryServer(flood('x'.repeat(65_536), 'HTTP/1.1 200 OK\r\n\r\n'), http);
  assert.equal(body.result, undefined);
  const silent = await tryServer(() => {}, { ...http, timeoutMs: 200 });
  assert.equal(silent.result, 'no answer in 200 ms');
  const trickle = await tryServer(flood('x', 'HTTP/1.1 200 OK\r\nx: '), {
    ...http,
    timeoutMs: 200,
  });
  assert.equal(trickle.result, 'no answer in 200 ms');
  const nonsense = await tryServer(says('SSH-2.0-hello\r\n'), http);
  assert.match(nonsense.result!, /HPE_/);
  const cut = await tryServer((socket) => void socket.once('data', () => socket.destroy()), http);
  assert.ok(cut.result !== undefined);
  const upgrade = await tryServer(
    says('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    http,
  );
  assert.equal(upgrade.result, 'HTTP status 101');
});

test('a try that is given up ends at once', async () => {
  const stop = new AbortController();
  const server = net.createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const address = Address.parse('127.0.0.1');
  const running = probe({ address, port, check: check(http) }, stop.signal);
  await once(server, 'connection');
  stop.abort();
  assert.notEqual(await running, undefined);
  await new Promise((resolve) => server.close(resolve));
});
