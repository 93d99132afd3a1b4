import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { openDescriptors } from '../test/descriptors.ts';
import { FileLock } from './file-lock.ts';
import { ensureBpffs, isBpffs, mount, unmount } from './mounts.ts';
import { request } from './netlink/requests.ts';
import { RtSocket } from './netlink/rt-socket.ts';
import { Netns } from './netns.ts';
import {
  getIntOption,
  peerCredentials,
  SocketOption,
  setSocketOption,
  socketFd,
} from './socket-options.ts';
import { bindUdp, listenTcp, socketName } from './sockets.ts';

const name = `cwns${process.pid}`;
let descriptors: number;
let ns: Netns;
let directory: string;

before(() => {
  descriptors = openDescriptors();
  ns = Netns.create(name);
  directory = mkdtempSync(join(tmpdir(), `causeway-ns-${process.pid}-`));
});
after(() => {
  ns.close();
  Netns.remove(name);
  rmSync(directory, { recursive: true, force: true });
  assert.equal(openDescriptors(), descriptors, 'descriptors left open');
});

const devices = () => readFileSync('/proc/thread-self/net/dev', 'utf8');

test('a made namespace is one that ip netns knows, and another than ours', () => {
  assert.match(
    execFileSync('ip', ['netns', 'list'], { encoding: 'utf8', stdio: 'pipe' }),
    new RegExp(name),
  );
  assert.ok(Netns.list().includes(name));
  using current = Netns.current();
  using named = Netns.named(name);
  using own = Netns.ofPid(process.pid);
  assert.equal(named.sameAs(ns), true);
  assert.equal(named.sameAs(current), false);
  assert.equal(own.sameAs(current), true);
  assert.notEqual(ns.cookie(), current.cookie());
  assert.throws(() => Netns.create(name), { code: 'exists' });
});

test('run goes in and comes back, also from errors and when nested', () => {
  using rt = RtSocket.open(ns);
  rt.apply(request.createBridge({ name: 'inside0' }));
  const before = devices();
  assert.match(ns.run(devices), /inside0/);
  assert.throws(
    () =>
      ns.run(() => {
        throw new Error('inside');
      }),
    /inside/,
  );
  using current = Netns.current();
  assert.match(
    ns.run(() => `${current.run(() => '')}${devices()}`),
    /inside0/,
  );
  assert.throws(() => ns.run(async () => {}), { code: 'invalid-argument' });
  assert.equal(devices(), before);
});

test('what is no network namespace is refused', () => {
  const file = join(directory, 'file');
  writeFileSync(file, '');
  for (const path of [file, '/proc/self/ns/mnt', '/dev/null']) {
    assert.throws(() => Netns.open(path), { code: 'invalid-argument' }, path);
  }
  assert.throws(() => Netns.open(join(directory, 'none')), { code: 'not-found' });
  assert.throws(() => Netns.ofPid(0), { code: 'invalid-argument' });
  assert.throws(() => Netns.ofPid(2 ** 22 + 1), { code: 'not-found' });
  for (const bad of ['', '..', 'a/b', `x${'y'.repeat(255)}`]) {
    assert.throws(() => Netns.create(bad), { code: 'invalid-argument' }, bad);
  }
});

test('a name goes, the namespace stays with who holds it, and its identity is told apart', () => {
  const other = `${name}b`;
  using held = Netns.create(other);
  assert.equal(Netns.remove(other), true);
  assert.equal(Netns.remove(other), false);
  assert.match(held.run(devices), /lo:/);
  using again = Netns.create(other);
  assert.equal(again.sameAs(held), false);
  Netns.remove(other);
  // A name left without its mount by a crash is cleared, too.
  writeFileSync(`/run/netns/${other}`, '');
  assert.equal(Netns.remove(other), true);
});

test('a process of another namespace is found by its id', async () => {
  const child = spawn('ip', ['netns', 'exec', name, 'sleep', '120']);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  try {
    for (;;) {
      using seen = Netns.ofPid(child.pid!);
      if (seen.sameAs(ns)) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    child.kill();
    await gone;
  }
});

test('servers listen in a namespace while we stay outside', async (t) => {
  {
    using rt = RtSocket.open(ns);
    rt.apply(request.setLink({ name: 'lo' }, { up: true }));
  }
  const socket = listenTcp({ ns, address: new Uint8Array(16), port: 0, v6Only: false });
  assert.equal(socketName(socket.number).family, 'ipv6');
  const server = createServer((peer) => peer.end('hello'));
  t.after(() => server.close());
  server.listen({ fd: socket.release() });
  const { port } = server.address() as AddressInfo;
  const client = ['netns', 'exec', name, 'socat', '-u', `TCP4:127.0.0.1:${port}`, '-'];
  const { stdout } = await promisify(execFile)('ip', client, { timeout: 20_000 });
  assert.equal(stdout, 'hello');
  const udp = bindUdp({ ns, address: new Uint8Array(4), port: 0, mark: 7, freeBind: true });
  assert.equal(getIntOption(udp.number, SocketOption.mark), 7);
  const dgram = createSocket('udp4');
  t.after(() => dgram.close());
  const listening = new Promise((resolve) => dgram.once('listening', resolve));
  dgram.bind({ fd: udp.release() });
  await listening;
  setSocketOption(socketFd(dgram), SocketOption.ipTtl, 42);
  assert.equal(getIntOption(socketFd(dgram), SocketOption.ipTtl), 42);
  setSocketOption(socketFd(dgram), SocketOption.bindToDevice, 'lo');
  assert.throws(() => setSocketOption(socketFd(dgram), SocketOption.bindToDevice, 'none'), {
    code: 'not-found',
  });
  assert.throws(() => listenTcp({ address: new Uint8Array(3), port: 0 }), {
    code: 'invalid-argument',
  });
  assert.throws(() => bindUdp({ address: new Uint8Array(4), port: 65536 }), {
    code: 'invalid-argument',
  });
});

test('the other end of a Unix socket is known', async () => {
  const path = join(directory, 'socket');
  const server = createServer().listen(path);
  const client = connect(path);
  const peer = await new Promise<import('node:net').Socket>((resolve) =>
    server.once('connection', resolve),
  );
  assert.deepEqual(peerCredentials(socketFd(peer)), { pid: process.pid, uid: 0, gid: 0 });
  assert.deepEqual(socketName(socketFd(peer)), { family: 'unix', path });
  client.destroy();
  peer.destroy();
  await new Promise((resolve) => server.close(resolve));
});

test('a lock has one holder at a time, across processes', async () => {
  const path = join(directory, 'lock');
  const lock = FileLock.tryAcquire(path);
  assert.ok(lock);
  assert.equal(FileLock.tryAcquire(path), undefined);
  assert.equal(FileLock.holder(path), process.pid);
  const busy = () => {
    try {
      execFileSync('flock', ['-n', path, 'true']);
      return false;
    } catch {
      return true;
    }
  };
  assert.equal(busy(), true);
  lock.close();
  assert.equal(busy(), false);
  using again = FileLock.tryAcquire(path);
  assert.ok(again);
  assert.throws(() => FileLock.tryAcquire(join(directory, 'no', 'lock')), { code: 'not-found' });
});

test('file systems are mounted, found and unmounted', () => {
  const target = join(directory, 'bpf');
  assert.equal(ensureBpffs(target), true);
  try {
    assert.equal(ensureBpffs(join(target, 'causeway', 'maps')), false);
    assert.equal(isBpffs(join(target, 'causeway', 'maps')), true);
    const bound = join(directory, 'bound');
    ensureBpffs(bound);
    unmount(bound);
    mount({ source: target, target: bound, bind: true, readOnly: true });
    mount({ target: bound, propagation: 'private' });
    assert.equal(isBpffs(bound), true);
    assert.throws(() => writeFileSync(join(bound, 'x'), ''), /EROFS/);
    unmount(bound);
    assert.equal(isBpffs(bound), false);
  } finally {
    unmount(target, { lazy: true });
  }
  assert.throws(() => unmount(target), { code: 'invalid-argument' });
  assert.throws(() => mount({ type: 'nothing', target: directory }), /ENODEV/);
});
