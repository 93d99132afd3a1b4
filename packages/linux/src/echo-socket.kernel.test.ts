import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Address } from '@causeway/ip';
import { EchoSocket } from './echo-socket.ts';
import { request } from './netlink/requests.ts';
import { RtSocket } from './netlink/rt-socket.ts';
import { Netns } from './netns.ts';

const names = [`cwea${process.pid}`, `cweb${process.pid}`] as const;
let a: Netns;
let b: Netns;

before(() => {
  a = Netns.create(names[0]);
  b = Netns.create(names[1]);
  using here = RtSocket.open(a);
  using there = RtSocket.open(b);
  here.apply(
    request.createVeth({ name: 'x', up: true, peer: { name: 'y', up: true, namespace: b } }),
  );
  for (const [socket, name, last] of [
    [here, 'x', 1],
    [there, 'y', 2],
  ] as const) {
    const { index } = socket.link({ name })!;
    for (const [text, prefixLength] of [
      [`10.0.0.${last}`, 24],
      [`fd00::${last}`, 64],
    ] as const) {
      const address = Address.toBytes(Address.parse(text));
      socket.apply(request.addAddress({ ifindex: index, address, prefixLength, noDad: true }));
    }
  }
});
after(() => {
  a.close();
  b.close();
  for (const name of names) Netns.remove(name);
});

// IPv6 first: a link that goes down loses its addresses.
for (const text of ['fd00::2', '10.0.0.2']) {
  test(`the kernel of ${text} answers, each of two askers hears its own, and nothing is heard of who is away`, async () => {
    const address = Address.toBytes(Address.parse(text));
    using first = a.run(() => new EchoSocket(address, 7));
    using second = a.run(() => new EchoSocket(address, 8));
    const heard: number[] = [];
    const end = performance.now() + 20_000;
    for (let sequence = 65_530; heard.length < 10 && performance.now() < end; sequence++) {
      first.send(sequence);
      await new Promise((resolve) => setTimeout(resolve, 5));
      heard.push(...first.heard());
    }
    assert.ok(heard.length >= 10, `${heard.length} answers`);
    assert.ok(heard.includes(1), 'the number begins again after 16 bits');
    assert.deepEqual(second.heard(), []);
    using there = RtSocket.open(b);
    there.apply(request.setLink({ name: 'y' }, { up: false }));
    for (let at = 0; at < 5; at++) {
      first.send(at);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    first.heard();
    first.send(9);
    assert.deepEqual(first.heard(), []);
    there.apply(request.setLink({ name: 'y' }, { up: true }));
  });
}
