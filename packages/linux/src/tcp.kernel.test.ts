import assert from 'node:assert/strict';
import { createServer, Socket } from 'node:net';
import { test } from 'node:test';
import {
  connectTcp,
  type Fd,
  getIntOption,
  LinuxError,
  linkLocalDevice,
  listenTcp,
  SocketOption,
  setTcp,
  setTcpMd5,
} from '../index.ts';

const v4 = Uint8Array.of(127, 0, 0, 1);
const v6 = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const key = (text: string) => new TextEncoder().encode(text);

const refusal = (code: string) => (error: unknown) =>
  error instanceof LinuxError && error.code === code;

/** How an attempt ends: 'connected', or the errno's name. */
function outcome(fd: Fd): Promise<string> {
  const socket = new Socket({ fd: fd.release() });
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '?'));
    socket.write(new Uint8Array(0), (error) => {
      resolve(error ? ((error as NodeJS.ErrnoException).code ?? '?') : 'connected');
      socket.destroy();
    });
  });
}

for (const [family, address] of [
  ['ipv4', v4],
  ['ipv6', v6],
] as const) {
  test(`${family}: options are set before connecting, and the way it ends shows`, async () => {
    const listener = listenTcp({ address, port: 0 });
    const server = createServer((socket) => socket.resume());
    await new Promise<void>((resolve) => server.listen({ fd: listener.release() }, resolve));
    const { port } = server.address() as { port: number };
    const fd = connectTcp({ remote: { address, port }, local: { address }, ttl: 7, minTtl: 3 });
    const [ttl, least] =
      family === 'ipv4'
        ? [SocketOption.ipTtl, SocketOption.ipMinTtl]
        : [SocketOption.ipv6HopLimit, SocketOption.ipv6MinHopCount];
    assert.equal(getIntOption(fd.number, ttl), 7);
    assert.equal(getIntOption(fd.number, least), 3);
    assert.equal(linkLocalDevice(fd.number), undefined);
    assert.equal(await outcome(fd), 'connected');
    await new Promise<void>((resolve) => server.close(() => resolve()));
    assert.equal(await outcome(connectTcp({ remote: { address, port } })), 'ECONNREFUSED');
  });
}

test('MD5 keys come, change and go by prefix; a key of nobody cannot go', () => {
  using fd = listenTcp({ address: v4, port: 0 });
  const prefix = { address: Uint8Array.of(10, 1, 0, 0), prefixLength: 16 };
  setTcpMd5(fd.number, { ...prefix, key: key('one') });
  setTcpMd5(fd.number, { ...prefix, key: key('two') });
  setTcpMd5(fd.number, { ...prefix, prefixLength: 24, key: key('three') });
  setTcpMd5(fd.number, { ...prefix, key: new Uint8Array(0) });
  assert.throws(
    () => setTcpMd5(fd.number, { ...prefix, key: new Uint8Array(0) }),
    refusal('not-found'),
  );
});

test('what cannot be is refused by name', () => {
  using fd = listenTcp({ address: v4, port: 0 });
  const invalid = refusal('invalid-argument');
  assert.throws(() => setTcp(fd.number, 'ipv4', { ttl: 0 }), invalid);
  assert.throws(() => setTcp(fd.number, 'ipv4', { minTtl: 256 }), invalid);
  const long = { address: v4, prefixLength: 32, key: new Uint8Array(81) };
  assert.throws(() => setTcpMd5(fd.number, long), invalid);
  assert.throws(() => setTcpMd5(fd.number, { ...long, key: key('a'), prefixLength: 33 }), invalid);
  assert.throws(
    () => connectTcp({ remote: { address: v4, port: 1 }, device: 'none0' }),
    refusal('not-found'),
  );
  const elsewhere = { address: Uint8Array.of(192, 0, 2, 77) };
  assert.throws(
    () => connectTcp({ remote: { address: v4, port: 1 }, local: elsewhere }),
    refusal('not-found'),
  );
});
