import assert from 'node:assert/strict';
import { connect, Socket } from 'node:net';
import { test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import { Netns, RtSocket, request } from '@causeway/linux';
import {
  Asn,
  BgpShell,
  encodeAttributes,
  encodeEndOfRib,
  Peer,
  type PeerConfig,
  RouterId,
  type ShellEffect,
  type ShellOptions,
  UpdateEncoder,
} from '../index.ts';
import { PeerCore } from '../testing/peer-core.ts';

interface Side {
  readonly shell: BgpShell;
  readonly core: PeerCore;
  readonly port: number;
}

async function side(address: string, options: ShellOptions = {}): Promise<Side> {
  const shell = new BgpShell(options);
  const core = new PeerCore((effect: ShellEffect) => shell.effect(effect));
  shell.attach(core);
  await shell.listen({ address, port: 0 });
  return { shell, core, port: shell.listening[0]?.port as number };
}

const now = () => performance.now();

function add(own: Side, name: string, config: Omit<PeerConfig, 'name' | 'asn' | 'families'>): void {
  const peer = new Peer(
    { ...config, name, asn: 'any', families: [{ family: 'ipv4-unicast' }] },
    { random: Math.random, nextConnection: own.shell.nextConnection },
  );
  own.core.peers.set(name, peer);
  own.core.input(name, { type: 'start' }, now());
  own.shell.wakeUp();
}

const id = RouterId.parse;
const address = Address.parse;

/** One side listens, the other connects. */
async function meet(
  hosts: { a: string; b: string },
  change: { a?: Partial<PeerConfig>; b?: Partial<PeerConfig> },
  keys?: { a: { prefix: string; password: string }[] },
) {
  const a = await side(hosts.a);
  const b = await side(hosts.b);
  a.shell.setKeys(
    (keys?.a ?? []).map(({ prefix, password }) => ({ prefix: Prefix.parse(prefix), password })),
  );
  add(a, 'b', {
    target: { address: address(hosts.b) },
    localAsn: Asn.of(65001),
    routerId: id('10.0.0.1'),
    passive: true,
    ...change.a,
  });
  add(b, 'a', {
    target: { address: address(hosts.a), port: a.port, localAddress: address(hosts.b) },
    localAsn: Asn.of(65002),
    routerId: id('10.0.0.2'),
    timers: { connectRetry: 1 },
    ...change.b,
  });
  return {
    a,
    b,
    async [Symbol.asyncDispose]() {
      await Promise.all([a.shell[Symbol.asyncDispose](), b.shell[Symbol.asyncDispose]()]);
    },
  };
}

const keepalive = Buffer.from('ffffffffffffffffffffffffffffffff001304', 'hex');

const v4 = { a: '127.0.0.1', b: '127.0.7.2' };
const v6 = { a: '::1', b: '::1' };
const up = (one: Side, peer: string) => () => one.core.peers.get(peer)?.state === 'established';

for (const [name, hosts] of [
  ['IPv4', v4],
  ['IPv6', v6],
] as const) {
  test(`${name}: a session over TCP, bytes in order, a shutdown's text, and nothing left`, async () => {
    await using pair = await meet(hosts, {});
    await pair.a.core.until('a up', up(pair.a, 'b'));
    await pair.b.core.until('b up', up(pair.b, 'a'));
    const encoder = new UpdateEncoder({
      family: 'ipv4-unicast',
      addPath: false,
      fourOctetAs: true,
      maxMessage: 4096,
    });
    const attributes = encodeAttributes({
      origin: 0,
      asPath: [{ type: 'sequence', asns: [Asn.of(65002)] }],
    });
    encoder.announce(attributes, 0, attributes.length, Uint8Array.of(127, 0, 7, 2));
    for (let i = 0; i < 200_000; i++) encoder.prefix(0, 32, i, 0, 0, 0);
    pair.b.core.pending.set('a', [encoder.take(), encodeEndOfRib('ipv4-unicast')]);
    const { connection } = pair.b.core.peers.get('a') as Peer;
    pair.b.shell.effect({ type: 'wake', peer: 'a', connection: connection as number });
    await pair.a.core.until('all routes', () => {
      const last = pair.a.core.outputs.at(-1)?.output;
      return last?.type === 'update' && last.end - last.start === 23;
    });
    let bytes = 0;
    for (const { start, end } of pair.a.core.of('b', 'update')) bytes += end - start;
    assert.ok(bytes > 200_000 * 5);
    pair.b.core.input('a', { type: 'stop', how: 'admin-shutdown', text: 'down for lunch' }, now());
    await pair.a.core.until('a down', () => pair.a.core.of('b', 'down').length > 0);
    const [down] = pair.a.core.of('b', 'down');
    assert.equal(down?.reason.by, 'remote');
    assert.equal(down?.reason.text, 'down for lunch');
    assert.equal(pair.b.shell.connections, 0);
  });
}

test('MD5: the key of a range lets a neighbour in that has it, and only that one', async () => {
  await using pair = await meet(
    v4,
    { b: { password: 'so secret' } },
    { a: [{ prefix: '127.0.7.0/24', password: 'so secret' }] },
  );
  await pair.a.core.until('up', up(pair.a, 'b'));
  // A changed key: the session that is up goes on with the old one, a new one does not come up.
  pair.a.shell.setKeys([{ prefix: Prefix.parse('127.0.7.0/24'), password: 'other' }]);
  pair.b.core.input('a', { type: 'stop', how: 'admin-reset' }, now());
  pair.b.shell.wakeUp();
  await pair.b.core.until('down', () => pair.b.core.of('a', 'down').length > 0);
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.ok(!up(pair.b, 'a')());
  pair.a.shell.setKeys([{ prefix: Prefix.parse('127.0.7.2/32'), password: 'so secret' }]);
  await pair.b.core.until('up again', up(pair.b, 'a'));
});

test('TTL security: both sides send 255; a plain neighbour gets nowhere', async () => {
  for (const hosts of [v4, v6]) {
    await using good = await meet(hosts, { a: { ttlSecurity: 1 }, b: { ttlSecurity: 1 } });
    await good.a.core.until('up', up(good.a, 'b'));
  }
  await using bad = await meet(v4, { a: { ttlSecurity: 1 }, b: { multihopTtl: 64 } });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.ok(!up(bad.a, 'b')());
});

test('a refused connection says so, and is tried again', async () => {
  const b = await side('127.0.7.2');
  try {
    add(b, 'a', {
      target: { address: address('127.0.7.9'), port: 1 },
      localAsn: Asn.of(65002),
      routerId: id('10.0.0.2'),
      timers: { connectRetry: 0.2 },
    });
    await b.core.until('twice', () => b.core.of('a', 'down').length >= 2);
    const [down] = b.core.of('a', 'down');
    assert.deepEqual(down, {
      type: 'down',
      reason: {
        by: 'remote',
        why: 'tcp-error',
        text: 'ECONNREFUSED',
        retain: false,
        retainSeconds: 0,
      },
      established: false,
    });
    add(b, 'nowhere', {
      target: { address: address('127.0.7.9'), localAddress: address('192.0.2.77') },
      localAsn: Asn.of(65002),
      routerId: id('10.0.0.2'),
    });
    await b.core.until('no such source', () => b.core.of('nowhere', 'down').length >= 1);
    assert.equal(b.core.of('nowhere', 'down')[0]?.reason.text, 'EADDRNOTAVAIL');
  } finally {
    await b.shell[Symbol.asyncDispose]();
  }
});

test('a neighbour that does not read costs a buffer, and the others nothing', async () => {
  const a = await side('127.0.0.1');
  try {
    add(a, 'slow', {
      target: { address: address('127.0.7.3') },
      localAsn: Asn.of(65001),
      routerId: id('10.0.0.1'),
      passive: true,
      timers: { hold: 0 },
    });
    const slow = new Socket();
    const open = Buffer.from(
      'ffffffffffffffffffffffffffffffff001d0104fdea00000a00000300', // AS 65002, no hold time, 10.0.0.3
      'hex',
    );
    slow.connect({ host: '127.0.0.1', port: a.port, localAddress: '127.0.7.3' });
    slow.on('error', () => {});
    slow.write(Buffer.concat([open, keepalive]));
    slow.pause();
    await a.core.until('up', up(a, 'slow'));
    const part = new Uint8Array(64 * 1024);
    const queue = Array.from({ length: 1000 }, () => part);
    a.core.pending.set('slow', queue);
    const { connection } = a.core.peers.get('slow') as Peer;
    a.shell.effect({ type: 'wake', peer: 'slow', connection: connection as number });
    await a.core.until('it is asked for something', () => queue.length < 1000);
    let still = 0;
    let left = queue.length;
    await a.core.until('nothing more is asked for while it does not read', () => {
      still = queue.length === left ? still + 1 : 0;
      left = queue.length;
      return still > 10;
    });
    assert.ok(left > 0, 'not all is asked for');
    slow.resume();
    await a.core.until('drained', () => queue.length === 0);
    slow.destroy();
  } finally {
    await a.shell[Symbol.asyncDispose]();
  }
});

test('what neighbours said while we had no processor counts before their hold timers, one and all', async () => {
  // A clock that a message taken in moves on, and nothing else, once it is stopped.
  let ahead = 0;
  let stopped: number | undefined;
  const a = await side('127.0.0.1', { now: () => stopped ?? now() + ahead });
  const input = a.core.input.bind(a.core);
  a.core.input = (name, event, at) => {
    input(name, event, at);
    if (stopped !== undefined) stopped += 4.1;
  };
  const names = Array.from({ length: 12 }, (_, i) => `n${i + 10}`);
  try {
    const sockets = names.map((name) => {
      const host = `127.0.7.${name.slice(1)}`;
      add(a, name, {
        target: { address: address(host) },
        localAsn: Asn.of(65001),
        routerId: id('10.0.0.1'),
        passive: true,
        timers: { hold: 3 },
      });
      const socket = new Socket();
      const hex = Number(name.slice(1)).toString(16).padStart(2, '0');
      const open = `ffffffffffffffffffffffffffffffff001d0104fdea005a0a0000${hex}00`; // hold time 90 s
      socket.connect({ host: '127.0.0.1', port: a.port, localAddress: host });
      socket.on('error', () => {});
      socket.write(Buffer.concat([Buffer.from(open, 'hex'), keepalive]));
      socket.resume();
      return socket;
    });
    for (const name of names) await a.core.until(`${name} is up`, up(a, name));
    // Two of them have their turn, the others are put aside, when all hold timers are over.
    for (const socket of sockets) socket.write(keepalive);
    const heard = now() + 3500;
    stopped = heard;
    await a.core.until('all were heard', () => stopped! >= heard + 4 * names.length);
    ahead = stopped - now();
    stopped = undefined;
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(
      names.filter((name) => !up(a, name)()),
      [],
      'who fell',
    );
    for (const socket of sockets) socket.destroy();
  } finally {
    await a.shell[Symbol.asyncDispose]();
  }
});

test('a stranger is turned away, unless somebody makes a peer of it', async () => {
  const made: string[] = [];
  const shell = new BgpShell({
    onUnknown: ({ remoteAddress }) => {
      made.push(remoteAddress);
      return undefined;
    },
  });
  shell.attach(new PeerCore(() => {}));
  await shell.listen({ address: '127.0.0.1', port: 0 });
  const closed = new Promise<void>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: shell.listening[0]?.port as number });
    socket.on('error', () => {});
    socket.on('close', () => resolve());
  });
  await closed;
  assert.deepEqual(made, ['127.0.0.1']);
  await shell[Symbol.asyncDispose]();
});

test('unnumbered: link-local addresses on a device, each side in a namespace of its own', async () => {
  const names = ['e', 'w'].map((letter) => `cwbgp${letter}${process.pid}`) as [string, string];
  const [east, west] = names.map((name) => Netns.create(name)) as [Netns, Netns];
  const shells: BgpShell[] = [];
  try {
    using inEast = RtSocket.open(east);
    using inWest = RtSocket.open(west);
    inEast.apply(
      request.createVeth({
        name: 'east',
        up: true,
        addressGeneration: 'none',
        peer: { name: 'west', up: true, namespace: west, addressGeneration: 'none' },
      }),
    );
    for (const [rt, device, last] of [
      [inEast, 'east', 1],
      [inWest, 'west', 2],
    ] as const) {
      const ifindex = rt.link({ name: device })?.index as number;
      const bytes = Address.toBytes(address(`fe80::${last}`));
      rt.apply(request.addAddress({ ifindex, address: bytes, prefixLength: 64, noDad: true }));
    }
    const sides = [east, west].map((ns) => {
      const shell = new BgpShell({ ns });
      const core = new PeerCore((effect) => shell.effect(effect));
      shell.attach(core);
      shells.push(shell);
      return { shell, core, port: 1790 };
    }) as [Side, Side];
    await sides[0].shell.listen({ address: '::', port: 1790 });
    add(sides[0], 'w', {
      target: { address: address('fe80::2'), device: 'east' },
      localAsn: Asn.of(65001),
      routerId: id('10.0.0.1'),
      passive: true,
    });
    add(sides[1], 'e', {
      target: { device: 'west', port: 1790 },
      localAsn: Asn.of(65002),
      routerId: id('10.0.0.2'),
    });
    // Who is on the link shows later.
    sides[1].core.input('e', { type: 'target', address: address('fe80::1') }, now());
    await sides[0].core.until('up', up(sides[0], 'w'));
    const [established] = sides[0].core.of('w', 'established');
    assert.deepEqual(established?.negotiated.endpoints.device, 'east');
    assert.deepEqual(established?.negotiated.endpoints.remoteAddress, 'fe80::2');
  } finally {
    for (const shell of shells) await shell[Symbol.asyncDispose]();
    for (const ns of [east, west]) ns.close();
    for (const name of names) Netns.remove(name);
  }
});
