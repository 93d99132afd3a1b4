import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Address } from '@causeway/ip';
import { request } from './netlink/requests.ts';
import { RtSocket } from './netlink/rt-socket.ts';
import { Netns } from './netns.ts';
import { RouterAdvertiser } from './router-advertiser.ts';

const names = [`cwraa${process.pid}`, `cwrab${process.pid}`] as const;
let a: Netns;
let b: Netns;

before(() => {
  a = Netns.create(names[0]);
  b = Netns.create(names[1]);
});
after(() => {
  a.close();
  b.close();
  for (const name of names) Netns.remove(name);
});

test('who hears an advertisement knows our link-local address, and takes us for no default router', async () => {
  using here = RtSocket.open(a);
  using there = RtSocket.open(b);
  here.apply(
    request.createVeth({ name: 'x', up: true, peer: { name: 'y', up: true, namespace: b } }),
  );
  const link = here.link({ name: 'x' })!;
  const own = () =>
    here.addresses({ family: 6, ifindex: link.index }).find(({ flags }) => (flags & 0x40) === 0)
      ?.address;
  using advertiser = a.run(() => new RouterAdvertiser());
  const end = performance.now() + 20_000;
  for (;;) {
    const address = own();
    const sent = advertiser.send(link.index, link.mac);
    const known = there
      .neighbours({ family: 6 })
      .map((each) => each.address && Address.fromBytes(each.address));
    if (address !== undefined && known.includes(Address.fromBytes(address))) break;
    assert.ok(performance.now() < end, `sending gave ${sent}; known there: ${known.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const defaults = there
    .routes({ family: 6 })
    .filter(({ destination }) => destination === undefined);
  assert.deepEqual(defaults, []);
});
