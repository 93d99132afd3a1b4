import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { openDescriptors } from '../test/descriptors.ts';
import { EventFd } from './event-fd.ts';
import { request } from './netlink/requests.ts';
import { RtSocket } from './netlink/rt-socket.ts';
import { Netns } from './netns.ts';
import { PollSet } from './poll-set.ts';
import { preferThisThread } from './scheduling.ts';
import { attachSocketFilter, filterStep } from './socket-filter.ts';
import { UdpReceiver } from './udp-receiver.ts';
import { interfaceIndex, UdpSender } from './udp-sender.ts';

const any = { ipv4: new Uint8Array(4), ipv6: new Uint8Array(16) };
const loopback = {
  ipv4: Uint8Array.of(127, 0, 0, 1),
  ipv6: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
};

if (!isMainThread) {
  // The other half of the last test: a thread that only waits.
  using event = EventFd.copyOf((workerData as { fd: number }).fd);
  const poll = new PollSet([event.fd.number]);
  const preference = preferThisThread();
  const began = performance.now();
  poll.wait(20_000_000);
  const { parentPort } = await import('node:worker_threads');
  parentPort?.postMessage({
    preference,
    ready: poll.ready(0),
    waited: performance.now() - began,
  });
} else {
  const name = `cwudp${process.pid}`;
  let ns: Netns;
  let descriptors: number;
  before(() => {
    descriptors = openDescriptors();
    ns = Netns.create(name);
    using rt = RtSocket.open(ns);
    rt.apply(request.setLink({ name: 'lo' }, { up: true }));
  });
  after(() => {
    ns.close();
    Netns.remove(name);
    assert.equal(openDescriptors(), descriptors, 'descriptors left open');
  });

  for (const family of ['ipv4', 'ipv6'] as const) {
    test(`${family}: a batch brings bytes, addresses, interface, TTL and time of arrival`, () => {
      using receiver = new UdpReceiver({
        ns,
        address: any[family],
        port: 3784,
        batch: 4,
        bufferSize: 32,
      });
      const sender = (ttl: number) =>
        new UdpSender({
          ns,
          address: loopback[family],
          port: 50_000,
          remote: { address: loopback[family], port: 3784 },
          ttl,
          trafficClass: 0xc0,
        });
      assert.equal(receiver.receive(), 0);
      const before = Date.now() * 1000;
      for (const ttl of [255, 254]) {
        using from = sender(ttl);
        assert.equal(from.send(Uint8Array.of(1, 2, ttl)), 0);
        assert.equal(from.send(new Uint8Array(40).fill(7)), 0);
        assert.equal(from.send(new Uint8Array(0)), 0);
      }
      assert.equal(receiver.receive(), 4);
      const first = receiver.datagram(0);
      assert.deepEqual([...first.bytes.subarray(0, first.length)], [1, 2, 255]);
      assert.equal(first.ttl, 255);
      assert.equal(first.sourcePort, 50_000);
      assert.equal(first.ifindex, 1);
      const plain =
        family === 'ipv4'
          ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]
          : [...loopback.ipv6];
      assert.deepEqual([...first.source], plain);
      assert.deepEqual([...first.destination], plain);
      assert.ok(Math.abs(first.receivedAt - before) < 5e6);
      assert.equal(receiver.datagram(1).truncated, true);
      assert.equal(receiver.datagram(1).length, 32);
      assert.equal(receiver.datagram(2).length, 0);
      assert.equal(receiver.datagram(3).ttl, 254);
      assert.equal(receiver.receive(), 2);
      assert.throws(() => receiver.datagram(4), RangeError);
    });

    test(`${family}: the kernel drops what comes from further away, and counts it`, () => {
      using receiver = new UdpReceiver({
        ns,
        address: any[family],
        port: 3784,
        batch: 4,
        bufferSize: 64,
      });
      attachSocketFilter(receiver.fd.number, [
        filterStep.loadByte(filterStep.ofNetwork(family === 'ipv4' ? 8 : 7)),
        filterStep.skipIfAtLeast(255, 0, 1),
        filterStep.accept,
        filterStep.refuse,
      ]);
      for (const ttl of [254, 1, 255]) {
        using from = new UdpSender({
          ns,
          address: loopback[family],
          port: 0,
          remote: { address: loopback[family], port: 3784 },
          ttl,
          trafficClass: 0,
        });
        assert.equal(from.send(Uint8Array.of(ttl)), 0);
      }
      assert.equal(receiver.receive(), 1);
      assert.equal(receiver.datagram(0).bytes[0], 255);
      assert.equal(receiver.dropped, 2);
      // A sender takes nothing: what is sent to its own port is gone.
      assert.throws(() => attachSocketFilter(receiver.fd.number, []), { code: 'invalid-argument' });
    });
  }

  test('a send that cannot go gives the errno', () => {
    using from = new UdpSender({
      ns,
      address: any.ipv4,
      port: 0,
      remote: { address: Uint8Array.of(192, 0, 2, 1), port: 9 },
      ttl: 255,
      trafficClass: 0,
    });
    assert.equal(from.send(Uint8Array.of(1)), 101); // ENETUNREACH
  });

  test('interfaces have numbers, or are not there', () => {
    assert.equal(
      ns.run(() => interfaceIndex('lo')),
      1,
    );
    assert.equal(
      ns.run(() => interfaceIndex('cw-none')),
      undefined,
    );
  });

  test('a wait ends by its time, with what was there, and with microseconds', () => {
    using event = new EventFd();
    const poll = new PollSet([event.fd.number]);
    const began = performance.now();
    assert.equal(poll.wait(5_000), 0);
    assert.equal(poll.ready(0), false);
    assert.ok(performance.now() - began >= 5);
    event.signal();
    assert.equal(poll.wait(5_000_000), 1);
    assert.equal(poll.ready(0), true);
    event.clear();
    assert.equal(poll.wait(0), 0);
  });

  test('another thread, preferred as far as allowed, is woken by a signal', async () => {
    using event = new EventFd();
    const worker = new Worker(new URL(import.meta.url), { workerData: { fd: event.fd.number } });
    const answer = new Promise<{ ready: boolean; waited: number; preference: { type: string } }>(
      (resolve, reject) => {
        worker.on('message', resolve);
        worker.on('error', reject);
      },
    );
    await new Promise((resolve) => worker.once('online', resolve));
    await new Promise((resolve) => setTimeout(resolve, 200));
    event.signal();
    const { ready, waited, preference } = await answer;
    assert.equal(ready, true);
    assert.ok(waited < 15_000);
    assert.equal(preference.type, 'realtime');
    await worker.terminate();
  });
}
