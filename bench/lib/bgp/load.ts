/**
 * The load, a process of its own so that the benchmark's own work is not on its processor: takes requests as lines of
 * JSON, keeps the sessions that they ask for, and answers each with one line.
 */
import { createInterface } from 'node:readline';
import { makeTable, rawUpdates, rawWithdrawals, type SampleSet } from '@causeway/bgp/testing';
import { Connection } from './connection.ts';
import { anyRoute, byCommunity, byTester, Counter, HostCounter } from './counter.ts';

/** Routes that one tester has: drawn from a seed; testers with the same seed announce the same prefixes. */
export interface LoadTable {
  readonly routes: number;
  readonly seed: number;
  /** Shortest and longest path behind the tester's own AS. */
  readonly pathLength?: readonly [number, number];
  /** Of a table that several share, the share with this index of so many: every so manieth attribute set. */
  readonly part?: readonly [number, number];
  /** How often the tester puts its own AS in front once more. */
  readonly prepend?: number;
}

export interface LoadPeer {
  readonly local: string;
  readonly asn: number;
  /** An internal speaker puts no AS in front and sends LOCAL_PREF. */
  readonly internal?: boolean;
  readonly table?: LoadTable;
  /** One route of its own, 32 bits long, in place of a table. */
  readonly hostRoute?: string;
  /** Counts what it receives; a peer that does not still reads it. */
  readonly counts?: boolean;
}

export type CounterClass =
  | { readonly type: 'any' }
  /** Host routes of `10.90.0.0/16`, one bit each: cheap enough for thousands of clients. */
  | { readonly type: 'host' }
  | { readonly type: 'community'; readonly community: number }
  | { readonly type: 'tester'; readonly base: number };

export type LoadRequest =
  | {
      readonly type: 'prepare';
      readonly remote: string;
      readonly port: number;
      readonly peers: readonly LoadPeer[];
      readonly capacity: number;
      readonly classes: CounterClass;
    }
  /** Connects all, and answers when all are established. */
  | { readonly type: 'connect'; readonly timeoutMs: number }
  /** Sends these peers' tables or their withdrawals; answers when every counting peer has `expect` in `ofClass`. */
  | {
      readonly type: 'send';
      readonly peers: 'all' | readonly number[];
      readonly what: 'announce' | 'withdraw' | 'nothing';
      readonly expect: number;
      readonly ofClass?: number;
      readonly timeoutMs: number;
    }
  /** Connects all, each sending what it has as soon as it is established; answers as `send` does. */
  | {
      readonly type: 'flood';
      readonly expect: number;
      readonly timeoutMs: number;
      /** So many sessions are being opened at a time; all when left out. */
      readonly atOnce?: number;
    }
  | { readonly type: 'close' };

export interface LoadAnswer {
  readonly ms: number;
  /** Milliseconds until the last session stood, where the request opened them. */
  readonly establishedMs?: number;
  /** Processor time of the load itself, to see that it is not what is measured. */
  readonly cpuMs: number;
  /** Prefixes and bytes that came to the counting peers since they were connected. */
  readonly announced: number;
  readonly bytes: number;
  readonly failure?: string;
}

interface Peer {
  readonly plan: LoadPeer;
  readonly announce: Buffer;
  readonly withdraw: Buffer;
  counter?: Counter | HostCounter;
  connection?: Connection;
  /** Called whenever UPDATEs came, on whichever connection stands. */
  onUpdate?: () => void;
}

let peers: Peer[] = [];
let remote = '';
let port = 179;

const octets = (address: string): number[] => address.split('.').map(Number);
const number = (address: string): number =>
  octets(address).reduce((sum, octet) => sum * 256 + octet, 0);

/** Shared tables by their shape, drawn once for all who have a share. */
const drawn = new Map<string, SampleSet[][]>();

/** Exactly `routes` prefixes for each of those who share; a set may be cut in two at the seam. */
function shareOf(table: LoadTable, [index, of]: readonly [number, number]): SampleSet[] {
  const key = JSON.stringify({ ...table, part: of, prepend: 0 });
  const known = drawn.get(key);
  if (known !== undefined) return known[index] ?? [];
  const shares: SampleSet[][] = [[]];
  let room = table.routes;
  for (const set of makeTable({ family: 'ipv4', ...table, routes: table.routes * of })) {
    let prefixes = set.prefixes;
    while (prefixes.length > 0) {
      const taken = prefixes.slice(0, room);
      shares.at(-1)?.push({ attributes: set.attributes, prefixes: taken });
      prefixes = prefixes.slice(taken.length);
      room -= taken.length;
      if (room > 0) continue;
      shares.push([]);
      room = table.routes;
    }
  }
  drawn.set(key, shares);
  return shares[index] ?? [];
}

function setsOf(plan: LoadPeer): SampleSet[] {
  if (plan.hostRoute !== undefined) {
    const [set] = makeTable({ family: 'ipv4', routes: 1, seed: number(plan.hostRoute) });
    if (set === undefined) return [];
    const asPath: number[] = [];
    return [
      {
        attributes: { ...set.attributes, asPath, asSet: [] },
        prefixes: [Uint8Array.from([32, ...octets(plan.hostRoute)])],
      },
    ];
  }
  if (plan.table === undefined) return [];
  return plan.table.part === undefined
    ? [...makeTable({ family: 'ipv4', ...plan.table })]
    : shareOf(plan.table, plan.table.part);
}

function counterOf(classes: CounterClass, capacity: number, plan: LoadPeer): Counter | HostCounter {
  switch (classes.type) {
    case 'any':
      return new Counter(capacity, anyRoute);
    case 'host':
      return new HostCounter(
        capacity,
        plan.hostRoute === undefined ? -1 : number(plan.hostRoute) & 0xffff,
      );
    case 'community':
      return new Counter(capacity, byCommunity(classes.community));
    case 'tester':
      return new Counter(capacity, byTester(classes.base));
    default:
      return classes satisfies never;
  }
}

function prepare(request: LoadRequest & { type: 'prepare' }): void {
  const { classes } = request;
  remote = request.remote;
  port = request.port;
  peers = request.peers.map((plan) => {
    const sets = setsOf(plan);
    const announcer = {
      nextHop: octets(plan.local),
      ...(plan.internal
        ? { localPreference: 100 }
        : { asn: plan.asn, prepend: plan.table?.prepend ?? 0 }),
    };
    return {
      plan,
      announce: Buffer.concat(sets.flatMap((set) => rawUpdates(set, announcer, 'ipv4'))),
      withdraw: Buffer.concat(
        rawWithdrawals(
          sets.flatMap((set) => set.prefixes),
          'ipv4',
        ),
      ),
      ...(plan.counts ? { counter: counterOf(classes, request.capacity, plan) } : {}),
    };
  });
}

/** Runs `start`, which is given how to finish and how to fail; fails by itself after a time. */
function measured(
  timeoutMs: number,
  start: (finish: () => void, fail: (reason: string) => void) => void,
): Promise<LoadAnswer> {
  const cpu = process.cpuUsage();
  const begin = performance.now();
  return new Promise((resolve) => {
    let over = false;
    const end = (failure?: string): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      const used = process.cpuUsage(cpu);
      const standing = established;
      resolve({
        ms: performance.now() - begin,
        ...(standing === 0 ? {} : { establishedMs: standing - begin }),
        cpuMs: (used.user + used.system) / 1000,
        announced: peers.reduce((sum, peer) => sum + (peer.counter?.announced ?? 0), 0),
        bytes: peers.reduce((sum, peer) => sum + (peer.connection?.received ?? 0), 0),
        ...(failure === undefined ? {} : { failure }),
      });
    };
    const timer = setTimeout(() => end(`not done after ${timeoutMs} ms: ${standing()}`), timeoutMs);
    start(() => end(), end);
  });
}

function standing(): string {
  const up = peers.filter((peer) => peer.connection?.established).length;
  const counted = peers.flatMap((peer) =>
    peer.counter === undefined ? [] : [peer.counter.count()],
  );
  return `${up} of ${peers.length} sessions up; monitors have ${Math.min(...counted)} to ${Math.max(...counted)}`;
}

/** When the last session stood, by performance.now(); 0 before that. */
let established = 0;

/** Sessions that are being opened at a time by `connect`. */
const CONNECT_AT_ONCE = 8;

function open(peer: Peer, index: number, whenUp: () => void, fail: (reason: string) => void): void {
  peer.counter?.clear();
  const retry = (): void => {
    const connection = new Connection(
      {
        local: peer.plan.local,
        remote,
        port,
        asn: peer.plan.asn,
        routerId: number(peer.plan.local),
      },
      peer.counter,
    );
    peer.connection = connection;
    connection.onEstablished = whenUp;
    connection.onUpdate = () => peer.onUpdate?.();
    connection.onEnd = (reason) => {
      connection.close();
      // Before the session stands a router may turn a connection away while it is busy.
      if (!connection.established) setTimeout(retry, 200);
      else fail(`session ${index} (${peer.plan.local}): ${reason}`);
    };
  };
  retry();
}

/** Opens every peer's session, so many at a time; `whenUp` for each that stands, `whenAll` after the last. */
function openAll(
  atOnce: number,
  whenUp: (peer: Peer) => void,
  whenAll: () => void,
  fail: (reason: string) => void,
): void {
  let up = 0;
  let next = 0;
  established = 0;
  const openNext = (): void => {
    const index = next;
    const peer = peers[index];
    if (peer === undefined) return;
    next += 1;
    const standing = (): void => {
      up += 1;
      whenUp(peer);
      openNext();
      if (up === peers.length) whenAll();
    };
    open(peer, index, standing, fail);
  };
  for (let count = 0; count < atOnce; count += 1) openNext();
}

function watch(expect: number, ofClass: number | undefined, finish: () => void): void {
  let waiting = 0;
  for (const peer of peers) {
    const { counter } = peer;
    if (counter === undefined || counter.count(ofClass) === expect) continue;
    waiting += 1;
    peer.onUpdate = () => {
      if (counter.count(ofClass) !== expect) return;
      delete peer.onUpdate;
      waiting -= 1;
      if (waiting === 0) finish();
    };
  }
  if (waiting === 0) finish();
}

async function handle(request: LoadRequest): Promise<LoadAnswer> {
  switch (request.type) {
    case 'prepare':
      return measured(600_000, (finish) => {
        prepare(request);
        finish();
      });
    case 'connect':
      // A few at a time: some routers listen with a short queue, and this is not what is measured.
      return measured(request.timeoutMs, (finish, fail) => {
        const all = (): void => {
          established = performance.now();
          finish();
        };
        openAll(CONNECT_AT_ONCE, () => {}, all, fail);
      });
    case 'send':
      return measured(request.timeoutMs, (finish, fail) => {
        established = 0;
        watch(request.expect, request.ofClass, finish);
        peers.forEach((peer, index) => {
          if (peer.connection !== undefined)
            peer.connection.onEnd = (reason) => fail(`session ${index}: ${reason}`);
          if (request.what === 'nothing') return;
          if (request.peers !== 'all' && !request.peers.includes(index)) return;
          const bytes = peer[request.what];
          if (bytes.length > 0) peer.connection?.socket.write(bytes);
        });
      });
    case 'flood':
      return measured(request.timeoutMs, (finish, fail) => {
        openAll(
          request.atOnce ?? peers.length,
          (peer) => {
            if (peer.announce.length > 0) peer.connection?.socket.write(peer.announce);
          },
          () => {
            established = performance.now();
          },
          fail,
        );
        watch(request.expect, undefined, finish);
      });
    case 'close':
      return measured(10_000, (finish) => {
        for (const peer of peers) peer.connection?.close();
        finish();
      });
    default:
      return request satisfies never;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await handle(JSON.parse(line) as LoadRequest);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
