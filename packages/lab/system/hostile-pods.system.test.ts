import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Mac } from '@causeway/ip';
import { BpfMap } from '@causeway/linux';
import { nodePaths } from '../index.ts';
import { endChild } from '../src/run/traffic-client.ts';
import {
  arpReply,
  type Ends,
  ethernet,
  ipFrame,
  neighbourAdvertisement,
  sendFrames,
  udpFrame,
} from './frames.ts';
import { counted, eventually, expectNow, sh, useLab } from './support.ts';

const EVIL = 'main/default/evil';
const VICTIM = 'main/default/victim';
const SERVER = 'main/default/server';
const CONNTRACK = 4096;

const lab = useLab(
  'evil',
  `racks:
  - {name: rack, ipv4: 192.168.33.0/24, ipv6: "fd34::/64"}
clusters:
  - name: main
    id: 1
    podCIDRs: {ipv4: 10.33.0.0/16, ipv6: "fd34:1::/48"}
    agent: {limits: {conntrack: ${CONNTRACK}}}
    nodes:
      - {name: n1, rack: rack}
      - {name: n2, rack: rack}
    pods:
      - {name: evil, node: n1, labels: {app: evil}}
      - {name: victim, node: n1, labels: {app: victim}, serve: [{port: 80, type: http}]}
      - {name: server, node: n2, labels: {app: server}, serve: [{port: 80, type: http}, {port: 7000, type: tcp}]}
`,
);

interface Own {
  readonly mac: Mac;
  readonly hostMac: Mac;
  readonly addresses: { readonly ipv4: string; readonly ipv6: string };
  readonly gateways: { readonly ipv4: string; readonly ipv6: string };
}

async function endpoint(node: string, pod: string): Promise<Own> {
  const all = (await lab().agent(node).get('/v1/endpoints')) as (Own & { podName: string })[];
  const found = all.find(({ podName }) => podName === pod);
  assert.ok(found !== undefined);
  return { ...found, mac: Mac.parse(found.mac), hostMac: Mac.parse(found.hostMac) };
}

const FAMILIES = ['ipv4', 'ipv6'] as const;

/** What pods that did nothing must have whatever others do. */
async function othersAreWell(): Promise<void> {
  const places = [
    [VICTIM, SERVER],
    [SERVER, VICTIM],
  ] as const;
  for (const [from, to] of places)
    await expectNow(
      (await lab().addresses(to)).map((address) => ({
        what: `${from} asks ${to} (${address})`,
        wanted: 'answered' as const,
        attempt: () => lab().traffic.http(from, address, 80),
      })),
    );
  for (const node of ['n1', 'n2']) assert.equal(await lab().agent(node).missing(), undefined);
}

test('packets with a source that is not the pod’s own are dropped and counted, also to the node', async () => {
  const [evil, victim, server] = await Promise.all([
    endpoint('n1', 'evil'),
    endpoint('n1', 'victim'),
    endpoint('n2', 'server'),
  ]);
  const listen = lab().spawn(SERVER, ['socat', '-u', 'UDP6-RECV:9999,ipv6only=0', '-']);
  let heard = '';
  listen.stdout?.on('data', (data) => {
    heard += String(data);
  });
  try {
    const before = await counted(lab(), 'n1', 'spoofed-source');
    const frames = FAMILIES.flatMap((family) => {
      const honest: Ends = {
        sourceMac: evil.mac,
        destinationMac: evil.hostMac,
        source: evil.addresses[family],
        destination: server.addresses[family],
      };
      const forged = [victim, server].map(({ addresses }) => addresses[family]);
      const outside =
        family === 'ipv4' ? ['192.0.2.7', '127.0.0.1', '0.0.0.0'] : ['2001:db8::7', '::1', '::'];
      const lies = [...forged, evil.gateways[family], ...outside];
      return [
        ...lies.map((source) => udpFrame({ ...honest, source }, 9999, `lie of ${source};`)),
        udpFrame({ ...honest, source: lies[0]!, sourceMac: victim.mac }, 9999, 'lie with a MAC;'),
        udpFrame({ ...honest, destination: evil.gateways[family], source: lies[0]! }, 9999, 'lie;'),
        udpFrame(honest, 9999, `truth over ${family};`),
      ];
    });
    await sendFrames(lab(), EVIL, frames);
    await eventually('the truth is heard', async () =>
      heard.includes('truth over ipv4;') && heard.includes('truth over ipv6;') ? true : undefined,
    );
    assert.doesNotMatch(heard, /lie/);
    const dropped = (await counted(lab(), 'n1', 'spoofed-source')) - before;
    assert.ok(dropped >= 10, `${dropped} packets are counted as spoofed`);
  } finally {
    await endChild(listen);
  }
  await othersAreWell();
});

test('claims to be the gateway or another pod reach nobody', async () => {
  const [evil, victim] = await Promise.all([endpoint('n1', 'evil'), endpoint('n1', 'victim')]);
  const macs = [victim.mac, Mac.parse('ff:ff:ff:ff:ff:ff'), evil.hostMac];
  const frames = macs.flatMap((destinationMac) => [
    ...[evil.gateways.ipv4, victim.addresses.ipv4].map((source) =>
      arpReply({ sourceMac: evil.mac, destinationMac, source, destination: victim.addresses.ipv4 }),
    ),
    ...[evil.gateways.ipv6, victim.addresses.ipv6].flatMap((source) =>
      [victim.addresses.ipv6, 'ff02::1'].map((destination) =>
        neighbourAdvertisement(
          { sourceMac: evil.mac, destinationMac, source, destination },
          source,
        ),
      ),
    ),
  ]);
  await sendFrames(lab(), EVIL, [...frames, ...frames]);
  await othersAreWell();
  for (const place of [VICTIM, SERVER]) {
    const neighbours = await sh(lab(), place, 'ip neigh; ip -6 neigh');
    assert.equal(neighbours.includes(String(evil.mac)), false, neighbours);
  }
  const node = await sh(lab(), 'n1', 'ip neigh; ip -6 neigh');
  for (const line of node.split('\n').filter((each) => each.includes(String(evil.mac))))
    assert.ok(
      Object.values(evil.addresses).some((own) => line.startsWith(`${own} `)) ||
        line.startsWith('fe80:'),
      line,
    );
});

test('malformed and random frames are counted and change nothing', async () => {
  const [evil, server] = await Promise.all([endpoint('n1', 'evil'), endpoint('n2', 'server')]);
  const before = await counted(lab(), 'n1', 'malformed');
  const frames: Uint8Array[] = [];
  let state = 20_261_122;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 8;
  };
  for (const family of FAMILIES) {
    const ends: Ends = {
      sourceMac: evil.mac,
      destinationMac: evil.hostMac,
      source: evil.addresses[family],
      destination: server.addresses[family],
    };
    const whole = udpFrame(ends, 9999, 'x'.repeat(64));
    for (let length = 14; length < whole.length; length++) frames.push(whole.slice(0, length));
    for (let i = 0; i < 400; i++) {
      const bent = whole.slice();
      for (let n = random() % 4; n >= 0; n--) bent[14 + (random() % (bent.length - 14))] = random();
      frames.push(bent);
    }
    // Every protocol with a payload of nothing and of a few bytes, and extension headers without end.
    for (let protocol = 0; protocol < 256; protocol++)
      frames.push(ipFrame(ends, protocol, new Uint8Array(protocol % 9)));
    frames.push(ipFrame(ends, 0, new Uint8Array(1200)), ipFrame(ends, 60, new Uint8Array(1200)));
  }
  for (let i = 0; i < 300; i++) {
    const payload = Uint8Array.from({ length: random() % 200 }, random);
    const types = [0x0800, 0x86dd, 0x0806, 0x8100, random() & 0xffff];
    frames.push(
      ethernet({ sourceMac: evil.mac, destinationMac: evil.hostMac }, types[i % 5]!, payload),
    );
  }
  await sendFrames(lab(), EVIL, frames);
  const dropped = (await counted(lab(), 'n1', 'malformed')) - before;
  assert.ok(dropped > 50, `${dropped} of ${frames.length} frames are counted as malformed`);
  await othersAreWell();
});

test('a flood of new connections stays within the table, and established flows live on', async () => {
  const evilTargets = await lab().addresses(SERVER);
  const [address] = evilTargets;
  const talk = lab().spawn(VICTIM, ['socat', '-', `TCP:${address}:7000`]);
  let heard = '';
  talk.stdout?.on('data', (data) => {
    heard += String(data);
  });
  const say = async (word: string) => {
    talk.stdin?.write(`${word}\n`);
    await eventually(word, async () => (heard.includes(word) ? true : undefined));
  };
  try {
    await say('before');
    const flood = `
      const socket = require('node:dgram').createSocket('udp6');
      const targets = ${JSON.stringify(evilTargets)}.map((a) => (a.includes(':') ? a : '::ffff:' + a));
      let sent = 0;
      const more = () => { for (let i = 0; i < 200 && sent < 40000; i++, sent++)
        socket.send('x', 1 + (sent >> 1), targets[sent % 2]);
        if (sent < 40000) setTimeout(more, 2); else setTimeout(() => process.exit(0), 300); };
      socket.on('error', () => {});
      more();`;
    const flooding = lab().exec(EVIL, [process.execPath, '-e', flood], { timeoutMs: 60_000 });
    let done = false;
    void flooding.finally(() => {
      done = true;
    });
    for (let i = 0; !done; i++) {
      await say(`during-${i}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal((await flooding).code, 0);
    for (const node of ['n1', 'n2']) {
      const path = join(nodePaths(lab().name, node).bpffs, 'causeway/maps/conntrack');
      const map = BpfMap.openPinned(path);
      const count = map.count();
      map.fd.close();
      assert.ok(count > CONNTRACK / 4 && count <= CONNTRACK, `${node} holds ${count} connections`);
    }
    await say('after');
  } finally {
    await endChild(talk);
  }
  await othersAreWell();
});

test('no pod reaches the store, by any of its addresses, and nodes do', async () => {
  const addresses = await lab().addresses('main/etcd');
  assert.equal(addresses.length, 2);
  const before = await counted(lab(), 'n1', 'protected');
  for (const place of [EVIL, VICTIM])
    for (const address of addresses) {
      const { outcome, answer } = await lab().traffic.http(place, address, 2379, { seconds: 1 });
      assert.notEqual(outcome, 'answered', `${place} gets ${answer} from ${address}`);
    }
  assert.ok((await counted(lab(), 'n1', 'protected')) > before, 'drops are counted as protected');
  for (const address of addresses) {
    const { outcome, detail } = await lab().traffic.http('n1', address, 2379);
    assert.equal(outcome, 'answered', `the node asks ${address}: ${detail}`);
  }
});
