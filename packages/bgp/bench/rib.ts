/**
 * The speaker's core alone, fed with bytes made beforehand: what a real socket would add is left out.
 *
 *     node packages/bgp/bench/rib.ts converge-1x1000000 | converge-100x1000 | reflector-2500 | reload-400000 ...
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { Address } from '@causeway/ip';
import {
  type Asn,
  type PolicyStatement,
  RouterId,
  Speaker,
  type SpeakerEffect,
  type SpeakerPeerConfig,
} from '../index.ts';
import {
  makeTable,
  rawEndOfRib,
  rawKeepalive,
  rawOpen,
  rawUpdates,
  rawWithdrawals,
} from '../testing/index.ts';

const asn = (value: number) => value as Asn;

const decide = (verdict: 'accept' | 'reject', rest: PolicyStatement = {}): PolicyStatement => ({
  ...rest,
  // biome-ignore lint/suspicious/noThenProperty: the policy language's word
  then: verdict,
});

interface Rig {
  readonly speaker: Speaker;
  readonly woken: Map<string, number>;
  received: number;
}

function makeRig(): Rig {
  let next = 1;
  const rig = { woken: new Map<string, number>(), received: 0 } as {
    woken: Map<string, number>;
    received: number;
    speaker: Speaker;
  };
  rig.speaker = new Speaker(
    {
      config: {
        asn: asn(65000),
        routerId: RouterId.parse('192.0.2.254'),
        policies: {
          policies: {
            all: { statements: [decide('accept')] },
            none: { statements: [], otherwise: 'reject' },
          },
        },
      },
      random: () => 0.5,
      nextConnection: () => next++,
      emit: (effect: SpeakerEffect) => {
        if (effect.type === 'wake') rig.woken.set(effect.peer, effect.connection);
      },
    },
    0,
  );
  return rig;
}

let connection = 1_000_000;

function bringUp(rig: Rig, config: SpeakerPeerConfig, remoteAsn: number, id: number): number {
  rig.speaker.addPeer(config, 0);
  const number = connection++;
  rig.speaker.input(
    config.name,
    {
      type: 'accepted',
      connection: number,
      endpoints: {
        localAddress: Address.parse('192.0.2.254'),
        localPort: 179,
        remoteAddress: config.target.address!,
        remotePort: 40000,
      },
    },
    0,
  );
  const bytes = (data: Uint8Array) =>
    rig.speaker.input(config.name, { type: 'bytes', connection: number, bytes: data }, 0);
  bytes(rawOpen({ asn: remoteAsn, routerId: id, holdTime: 90, families: ['ipv4'] }));
  bytes(rawKeepalive);
  if (rig.speaker.peer(config.name)?.state !== 'established') throw new Error('not established');
  return number;
}

/** Bytes in pieces of 64 KiB, as sockets give them. */
function pieces(messages: readonly Uint8Array[]): Uint8Array[] {
  const all = Buffer.concat(messages);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < all.length; at += 65_536)
    parts.push(new Uint8Array(all.subarray(at, at + 65_536)));
  return parts;
}

function table(
  routes: number,
  seed: number,
  announcer: number,
  hop: readonly number[],
  internal = false,
): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (const set of makeTable({ family: 'ipv4', routes, seed })) {
    messages.push(
      ...rawUpdates(
        set,
        internal ? { nextHop: hop, localPreference: 100 } : { asn: announcer, nextHop: hop },
        'ipv4',
      ),
    );
  }
  messages.push(rawEndOfRib('ipv4'));
  return pieces(messages);
}

function drain(rig: Rig): void {
  for (const [peer, number] of rig.woken) {
    rig.woken.delete(peer);
    for (;;) {
      const parts = rig.speaker.produce(peer, number, 262_144, 1);
      if (parts.length === 0) break;
      for (const part of parts) rig.received += part.length;
    }
  }
}

function work(rig: Rig, now: number): void {
  let guard = 0;
  while ((rig.speaker.deadline ?? Number.POSITIVE_INFINITY) <= now && guard++ < 1e6) {
    rig.speaker.work(now);
    drain(rig);
  }
}

/** With PROFILE=FILE in the environment what is measured is also profiled. */
function profiled<T>(run: () => T): T {
  const file = process.env.PROFILE;
  if (file === undefined) return run();
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
  const result = run();
  session.post('Profiler.stop', (_error, { profile }) =>
    writeFileSync(file, JSON.stringify(profile)),
  );
  return result;
}

function measure<T>(name: string, run: () => T): T {
  global.gc?.();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const result = profiled(run);
  const used = process.cpuUsage(cpu);
  const rss = process.resourceUsage().maxRSS / 1024;
  console.log(
    `${name}: ${((used.user + used.system) / 1e6).toFixed(3)} s CPU, ${((performance.now() - began) / 1000).toFixed(3)} s, peak RSS ${rss.toFixed(0)} MiB`,
  );
  return result;
}

const v4 = (last: number): string => `198.18.${last >> 8}.${last & 255}`;

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

/** What the collector leaves, when it can be asked (`--expose-gc`). */
function memory(name: string): void {
  global.gc?.();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  console.log(`${name}: RSS ${mib(rss)}, heap ${mib(heapUsed)}, arrays ${mib(arrayBuffers)} MiB`);
}

function converge(peers: number, routes: number): void {
  memory('empty');
  const rig = makeRig();
  memory('speaker');
  const feeds: { name: string; number: number; parts: Uint8Array[] }[] = [];
  for (let i = 0; i < peers; i++) {
    const name = `t${i}`;
    const address = v4(i + 1);
    const number = bringUp(
      rig,
      {
        name,
        target: { address: Address.parse(address) },
        asn: asn(64512 + i),
        families: [{ family: 'ipv4-unicast', import: 'all', export: 'none' }],
      },
      64512 + i,
      i + 1,
    );
    feeds.push({
      name,
      number,
      parts: table(routes, i + 1, 64512 + i, [198, 18, (i + 1) >> 8, (i + 1) & 255]),
    });
  }
  bringUp(
    rig,
    {
      name: 'monitor',
      target: { address: Address.parse('198.19.0.1') },
      asn: asn(64000),
      families: [{ family: 'ipv4-unicast', import: 'none', export: 'all' }],
    },
    64000,
    0x0a000001,
  );
  drain(rig);
  memory('sessions up, input made');
  measure(`converge ${peers} x ${routes}`, () => {
    for (let at = 0; ; at++) {
      let any = false;
      for (const feed of feeds) {
        const part = feed.parts[at];
        if (part === undefined) continue;
        any = true;
        rig.speaker.input(feed.name, { type: 'bytes', connection: feed.number, bytes: part }, 1);
        drain(rig);
      }
      if (!any) break;
    }
    work(rig, 1);
    work(rig, 1000);
  });
  const { prefixes, attributeSets, tableBytes, updateGroups } = rig.speaker.counters();
  console.log({
    prefixes: prefixes['ipv4-unicast'],
    attributeSets,
    attributeBytes: mib(rig.speaker.counters().attributeBytes),
    tableMiB: mib(tableBytes),
    updateGroups,
    sentMiB: Math.round(rig.received / 2 ** 20),
    advertised: rig.speaker.peer('monitor')?.families[0]?.advertised,
  });
  memory('after');
}

function reflector(clients: number): void {
  const rig = makeRig();
  const numbers: number[] = [];
  measure(`reflector ${clients}`, () => {
    let now = 0;
    for (let i = 0; i < clients; i++) {
      const name = `c${i}`;
      const number = bringUp(
        rig,
        {
          name,
          target: { address: Address.parse(v4(i + 1)) },
          asn: asn(65000),
          routeReflectorClient: true,
          families: [{ family: 'ipv4-unicast' }],
        },
        65000,
        i + 1,
      );
      numbers.push(number);
      drain(rig);
      const set = {
        attributes: {
          origin: 0 as const,
          asPath: [],
          asSet: [],
          communities: [],
          largeCommunities: [],
          extendedCommunities: [],
          atomicAggregate: false,
        },
        prefixes: [Uint8Array.of(24, 10, i >> 8, i & 255)],
      };
      const [bytes] = pieces([
        ...rawUpdates(
          set,
          { nextHop: [198, 18, (i + 1) >> 8, (i + 1) & 255], localPreference: 100 },
          'ipv4',
        ),
        rawEndOfRib('ipv4'),
      ]);
      rig.speaker.input(name, { type: 'bytes', connection: number, bytes: bytes! }, now);
      drain(rig);
      now += 1;
      work(rig, now);
    }
    work(rig, now + 1000);
  });
  console.log({
    sentMiB: Math.round(rig.received / 2 ** 20),
    last: rig.speaker.peer('c0')?.families[0],
  });
}

/** One neighbour that announces and one that is told; the number of the first. */
function testerAndMonitor(rig: ReturnType<typeof makeRig>): number {
  const number = bringUp(
    rig,
    {
      name: 't',
      target: { address: Address.parse('198.18.0.1') },
      asn: asn(64512),
      families: [{ family: 'ipv4-unicast', import: 'all', export: 'none' }],
    },
    64512,
    1,
  );
  bringUp(
    rig,
    {
      name: 'monitor',
      target: { address: Address.parse('198.19.0.1') },
      asn: asn(64000),
      families: [{ family: 'ipv4-unicast', import: 'none', export: 'all' }],
    },
    64000,
    0x0a000001,
  );
  return number;
}

function reload(routes: number): void {
  const rig = makeRig();
  const parts = table(routes, 1, 64512, [198, 18, 0, 1]);
  const number = testerAndMonitor(rig);
  for (const part of parts) {
    rig.speaker.input('t', { type: 'bytes', connection: number, bytes: part }, 1);
    drain(rig);
  }
  work(rig, 1000);
  const change = (policy: object): void => {
    rig.speaker.setPolicies({ policies: { all: policy as never, none: { statements: [] } } }, 1001);
    work(rig, 2000);
  };
  const before = rig.received;
  measure(`reload ${routes}: community for all, in and out`, () =>
    change({ statements: [decide('accept', { set: { communities: { add: ['65000:1'] } } })] }),
  );
  console.log(`sent ${rig.received - before} bytes`);
  measure(`reload ${routes}: by prefix, half refused`, () =>
    change({
      statements: [
        decide('reject', { match: { prefixes: [{ prefix: '0.0.0.0/1', le: 32 }] } }),
        decide('accept'),
      ],
    }),
  );
  measure(`reload ${routes}: accepted again`, () => change({ statements: [decide('accept')] }));
  console.log({ advertised: rig.speaker.peer('monitor')?.families[0]?.advertised });
}

/** Everything goes and comes again, three times over. */
function churn(routes: number): void {
  const rig = makeRig();
  const sets = [...makeTable({ family: 'ipv4', routes, seed: 1 })];
  const announced = pieces(
    sets.flatMap((set) => rawUpdates(set, { asn: 64512, nextHop: [198, 18, 0, 1] }, 'ipv4')),
  );
  const withdrawn = pieces(
    rawWithdrawals(
      sets.flatMap(({ prefixes }) => prefixes),
      'ipv4',
    ),
  );
  const number = testerAndMonitor(rig);
  let now = 1;
  const send = (parts: readonly Uint8Array[]): void => {
    for (const part of parts) {
      rig.speaker.input('t', { type: 'bytes', connection: number, bytes: part }, now);
      drain(rig);
      now += 5;
      work(rig, now);
    }
  };
  send(announced);
  measure(`churn ${routes} there and back, three times`, () => {
    for (let round = 0; round < 3; round++) {
      send(withdrawn);
      send(announced);
    }
  });
  console.log(rig.speaker.counters());
}

/** A neighbour with everything falls, and its table is asked for: how long does one call keep the loop? */
function slices(routes: number): void {
  const rig = makeRig();
  const parts = table(routes, 1, 64512, [198, 18, 0, 1]);
  const peer = (name: string, address: string, number: number, id: number, families: object) =>
    bringUp(
      rig,
      {
        name,
        target: { address: Address.parse(address) },
        asn: asn(number),
        families: [{ family: 'ipv4-unicast', ...families }],
      },
      number,
      id,
    );
  const number = peer('t', '198.18.0.1', 64512, 1, { import: 'all', export: 'none' });
  peer('monitor', '198.19.0.1', 64000, 0x0a000001, { import: 'none', export: 'all' });
  // What making the table left behind is not the speaker's to clear away.
  global.gc?.();
  let longest = 0;
  const timed = <T>(run: () => T): T => {
    // Processor time of this thread: others on the machine are not our slices.
    const began = process.threadCpuUsage();
    const result = run();
    const { user, system } = process.threadCpuUsage(began);
    longest = Math.max(longest, (user + system) / 1000);
    return result;
  };
  const told = (name: string): void => {
    console.log(`${name}: longest call ${longest.toFixed(1)} ms`);
    longest = 0;
  };
  for (const part of parts) {
    timed(() => rig.speaker.input('t', { type: 'bytes', connection: number, bytes: part }, 1));
    drain(rig);
  }
  told('input of 64 KiB');
  const settle = (now: number): void => {
    while ((rig.speaker.deadline ?? Number.POSITIVE_INFINITY) <= now) {
      timed(() => rig.speaker.work(now));
      drain(rig);
    }
  };
  settle(1000);
  told('work afterwards');
  const other = peer('other', '198.19.0.2', 64001, 0x0a000002, { import: 'none', export: 'all' });
  timed(() => rig.speaker.produce('other', other, 65_536, 1001));
  told('first produce for a new neighbour');
  timed(() => rig.speaker.input('t', { type: 'closed', connection: number }, 1001));
  told('the fall');
  settle(1001);
  told('what follows from it');
  settle(5000);
  told('collecting');
}

const what = process.argv[2] ?? '';
const match = /^(converge)-(\d+)x(\d+)$|^(reflector|reload|churn|slices)-(\d+)$/.exec(what);
if (match?.[1] !== undefined) converge(Number(match[2]), Number(match[3]));
else if (match?.[4] === 'reflector') reflector(Number(match[5]));
else if (match?.[4] === 'reload') reload(Number(match[5]));
else if (match?.[4] === 'churn') churn(Number(match[5]));
else if (match?.[4] === 'slices') slices(Number(match[5]));
else
  throw new Error(
    'converge-PEERSxROUTES, reflector-CLIENTS, reload-ROUTES, churn-ROUTES or slices-ROUTES',
  );
