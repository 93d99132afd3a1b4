import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { Address } from '@causeway/ip';
import { RtSocket, request, UdpSender } from '@causeway/linux';
import { eventually, far, ours, Site, theirs } from '../testing/site.ts';
import type { SessionRow } from './row.ts';
import type { BfdEvent } from './shell/messages.ts';
import { Bfd } from './shell.ts';
import type { SessionSpec } from './spec.ts';
import { type Discriminator, type Hops, Micros } from './values.ts';
import { type ControlPacket, encodeControl } from './wire/control.ts';

const descriptors = () =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /^(socket:|anon_inode:\[eventfd|net:)/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;

let site: Site;
let open: number;
beforeEach(() => {
  site = new Site();
  open = descriptors();
});
afterEach(() => {
  const left = descriptors();
  site[Symbol.dispose]();
  assert.ok(left <= open, `${left - open} descriptors left open`);
});

const at = (text: string) => Address.parse(text);
const spec = (
  remote: string,
  interval: number,
  change: Partial<SessionSpec> = {},
): SessionSpec => ({
  remote: at(remote),
  hops: 'single',
  desiredMinTx: Micros.fromMillis(interval),
  requiredMinRx: Micros.fromMillis(interval),
  multiplier: 3,
  ...change,
});

/** One of each kind between the two namespaces, as seen from either end. */
const everyKind = (
  near: typeof ours | typeof theirs,
  own: { readonly ipv4: string; readonly ipv6: string },
  other: { readonly ipv4: string; readonly ipv6: string },
  interval: number,
): SessionSpec[] => [
  spec(near.ipv4, interval),
  spec(near.ipv6, interval),
  spec(near.linkLocal, interval, { interface: 'e0' }),
  spec(other.ipv4, interval, { hops: 'multi', local: at(own.ipv4), minTtl: 254 }),
  spec(other.ipv6, interval, { hops: 'multi', local: at(own.ipv6), minTtl: 254 }),
];
const fromUs = (interval: number) => everyKind(theirs, far.ours, far.theirs, interval);
const fromThem = (interval: number) => everyKind(ours, far.theirs, far.ours, interval);

const allUp = (bfd: Bfd, count: number, ms = 30_000) =>
  eventually(
    'all sessions are up',
    async () => {
      const rows = await bfd.sessions();
      return rows.length === count && rows.every(({ state, polling }) => state === 'up' && !polling)
        ? rows
        : undefined;
    },
    ms,
    async () => JSON.stringify(await bfd.sessions()),
  );

/** A packet from the other namespace that none of its sessions sent. */
function forge(
  row: SessionRow,
  options: {
    readonly ttl: number;
    readonly hops: Hops;
    readonly from: string;
    readonly to: string;
  },
): void {
  const packet: ControlPacket = {
    diagnostic: 'administratively-down',
    state: 'admin-down',
    poll: false,
    final: false,
    controlPlaneIndependent: false,
    authenticated: false,
    demand: false,
    multiplier: 3,
    length: 24,
    myDiscriminator: row.remoteDiscriminator as Discriminator,
    yourDiscriminator: row.discriminator as Discriminator,
    desiredMinTx: Micros.of(1_000_000),
    requiredMinRx: Micros.of(1_000_000),
    requiredMinEchoRx: Micros.of(0),
  };
  using sender = new UdpSender({
    ns: site.theirs,
    address: Address.toBytes(at(options.from)),
    port: 0,
    remote: {
      address: Address.toBytes(at(options.to)),
      port: options.hops === 'single' ? 3784 : 4784,
    },
    ttl: options.ttl,
    trafficClass: 0,
  });
  assert.equal(sender.send(encodeControl(packet)), 0);
}

test('between two of ours: each kind comes up, a cut shows in time, and what is forged from afar is dropped', async () => {
  const events: BfdEvent[] = [];
  await using us = await Bfd.start({ netns: site.ourPath, onEvent: (event) => events.push(event) });
  await using them = await Bfd.start({ netns: site.theirPath });
  await us.configure(fromUs(300));
  await them.configure(fromThem(300));
  const rows = await allUp(us, 5);

  // Genuine in all but the distance it came from.
  const rowOf = (part: string) => rows.find(({ key }) => key.includes(part))!;
  forge(rowOf(theirs.ipv4), { ttl: 254, hops: 'single', from: theirs.ipv4, to: ours.ipv4 });
  forge(rowOf(theirs.ipv6), { ttl: 254, hops: 'single', from: theirs.ipv6, to: ours.ipv6 });
  // The router takes one off: 254 would be allowed to arrive.
  for (const family of ['ipv4', 'ipv6'] as const) {
    const [from, to] = [far.theirs[family], far.ours[family]];
    forge(rowOf(from), { ttl: 254, hops: 'multi', from, to });
  }
  await eventually('the forged ones were counted', async () => {
    const { droppedByKernel, discarded } = await us.status();
    return (droppedByKernel >= 2 && discarded.ttl === 2) || undefined;
  });
  assert.ok((await us.sessions()).every(({ state, flaps }) => state === 'up' && flaps === 0));
  // The same from where it may come from is believed: the check is what stood between.
  forge(rowOf(theirs.ipv4), { ttl: 255, hops: 'single', from: theirs.ipv4, to: ours.ipv4 });
  await eventually(
    'the forged one was believed',
    async () =>
      (await us.sessions()).some(({ key, flaps }) => key === theirs.ipv4 && flaps === 1) ||
      undefined,
  );
  await allUp(us, 5);

  for (const interval of [300, 50]) {
    await us.configure(fromUs(interval));
    await them.configure(fromThem(interval));
    await allUp(us, 5);
    const began = Date.now();
    site.cut();
    // The router is cut by another program, which has to be started.
    const cutting = Date.now() - began;
    const fallen = await eventually('all fall', async () => {
      const now = await us.sessions();
      return now.every(({ state }) => state === 'down') ? now : undefined;
    });
    for (const { key, lastDown } of fallen) {
      const took = Date.parse(lastDown!.at) - began;
      assert.ok(
        took <= 3 * interval + cutting + 20,
        `${key} took ${took} ms at ${interval} ms x 3`,
      );
      assert.equal(lastDown?.reason, 'detection-expired');
    }
    site.mend();
    await allUp(us, 5);
    await allUp(them, 5);
  }

  // Whatever this thread does, the other one goes on.
  const flaps = (await us.sessions()).map((row) => row.flaps);
  const until = performance.now() + 700;
  while (performance.now() < until);
  assert.deepEqual(
    (await us.sessions()).map((row) => row.flaps),
    flaps,
  );

  // Changes were told in order, each with how the session stands.
  const changes = events.filter((event) => event.type === 'changed');
  for (const key of new Set(changes.map(({ session }) => session.key))) {
    const own = changes.filter(({ session }) => session.key === key);
    own.slice(1).forEach(({ change }, i) => {
      assert.equal(change.from, own[i]!.change.to);
    });
  }

  await them.stop();
  await eventually(
    'we are told that they end',
    async () =>
      (await us.sessions()).every(
        ({ state, signal }) => state === 'down' && signal === 'administrative',
      ) || undefined,
  );
  await assert.rejects(them.sessions(), { code: 'stopped' });
  const { loop } = await us.status();
  assert.equal(loop.faults, 0);
});

test('a flood from strangers makes no session and no fall, and is counted', async () => {
  await using us = await Bfd.start({ netns: site.ourPath });
  await using them = await Bfd.start({ netns: site.theirPath });
  await us.configure([spec(theirs.ipv4, 50)]);
  await them.configure([spec(ours.ipv4, 50)]);
  const [row] = await allUp(us, 1);
  using stranger = new UdpSender({
    ns: site.theirs,
    // An address of theirs that no session of ours is with.
    address: Address.toBytes(at(far.theirs.ipv4)),
    port: 0,
    remote: { address: Address.toBytes(at(ours.ipv4)), port: 3784 },
    ttl: 255,
    trafficClass: 0,
  });
  const hello = encodeControl({
    diagnostic: 'none',
    state: 'down',
    poll: true,
    final: false,
    controlPlaneIndependent: false,
    authenticated: false,
    demand: false,
    multiplier: 3,
    length: 24,
    myDiscriminator: 9 as Discriminator,
    yourDiscriminator: 0,
    desiredMinTx: Micros.of(1),
    requiredMinRx: Micros.of(1),
    requiredMinEchoRx: Micros.of(0),
  });
  let sent = 0;
  const until = performance.now() + 1500;
  while (performance.now() < until) if (stranger.send(hello) === 0) sent++;
  assert.ok(sent > 2000, `${sent} packets`);
  await eventually('the flood has passed', async () => {
    const status = await us.status();
    // The thread never saw one of them: it runs before all else, and would have starved the rest.
    assert.equal(status.discarded['unknown-peer'], 0);
    return status.droppedByKernel >= sent || undefined;
  });
  const after = await us.sessions();
  assert.equal(after.length, 1);
  assert.equal(after[0]?.flaps, row?.flaps);
  assert.equal(after[0]?.state, 'up');
});

test('what is missing is named, tried again, and found once it is there', async () => {
  await using us = await Bfd.start({ netns: site.ourPath });
  await using them = await Bfd.start({ netns: site.theirPath });
  await assert.rejects(Bfd.start({ netns: site.ourPath }), { code: 'port-taken', value: 3784 });
  await assert.rejects(Bfd.start({ netns: '/run/netns/cw-none' }), { code: 'not-found' });
  await assert.rejects(us.configure([spec('fe80::1', 50)]), {
    code: 'bad-session',
    field: 'interface',
  });
  assert.deepEqual(await us.sessions(), []);

  await us.configure([
    spec(theirs.ipv4, 50, { interface: 'e7' }),
    spec(theirs.ipv6, 50, { local: at('fd09::77') }),
  ]);
  const problems = async () => (await us.sessions()).map(({ problem }) => problem?.code);
  assert.deepEqual(await problems(), ['interface-missing', 'address-missing']);
  using rt = RtSocket.open(site.ours);
  const e0 = rt.link({ name: 'e0' })!.index;
  const late = { ifindex: e0, address: Address.toBytes(at('fd09::77')), prefixLength: 64 };
  // The device that is e0 now is called e7 from now on, and has one address more.
  rt.apply([
    request.setLink({ name: 'e0' }, { up: false }),
    request.setLink({ index: e0 }, { name: 'e7' }),
    request.setLink({ index: e0 }, { up: true }),
    request.addAddress(late),
  ]);
  await them.configure([spec(ours.ipv4, 50), spec('fd09::77', 50)]);
  await allUp(us, 2);
  assert.deepEqual(await problems(), [undefined, undefined]);
});

test('a device that goes and comes back with another number takes its session with it, and brings it back', async () => {
  await using us = await Bfd.start({ netns: site.ourPath });
  await using them = await Bfd.start({ netns: site.theirPath });
  const plug = () => {
    using one = RtSocket.open(site.ours);
    one.apply(
      request.createVeth({
        name: 'x0',
        up: true,
        addressGeneration: 'none',
        peer: { name: 'x0', up: true, addressGeneration: 'none', namespace: site.theirs },
      }),
    );
    using other = RtSocket.open(site.theirs);
    for (const [rt, text] of [
      [one, 'fe80::a'],
      [other, 'fe80::b'],
    ] as const)
      rt.apply(
        request.addAddress({
          ifindex: rt.link({ name: 'x0' })!.index,
          address: Address.toBytes(at(text)),
          prefixLength: 64,
        }),
      );
    return one.link({ name: 'x0' })!.index;
  };
  const first = plug();
  await us.configure([spec('fe80::b', 50, { interface: 'x0' })]);
  await them.configure([spec('fe80::a', 50, { interface: 'x0' })]);
  const [{ discriminator }] = (await allUp(us, 1)) as [SessionRow];
  using rt = RtSocket.open(site.ours);
  rt.apply(request.deleteLink({ name: 'x0' }));
  const [gone] = await eventually(
    'it falls and says why it cannot send',
    async () => {
      const rows = await us.sessions();
      return rows[0]?.state === 'down' && rows[0].problem?.code === 'interface-missing'
        ? rows
        : undefined;
    },
    30_000,
    async () => JSON.stringify(await us.sessions()),
  );
  assert.equal(gone?.signal, 'failed');
  assert.notEqual(plug(), first);
  const [back] = await allUp(us, 1);
  assert.equal(back?.discriminator, discriminator);
  assert.equal(back?.problem, undefined);
});
