import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asn, type DownReason, encodeEndOfRib, RouterId } from '@causeway/bgp';
import { rawOpen, rawUpdates } from '@causeway/bgp/testing';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import type {
  ExporterOptions,
  ExporterOutput,
  ExportSource,
  MonitoredSession,
  MonitoredUpdates,
  RouteFeed,
} from './feed.ts';
import { Exporter } from './session.ts';
import { Framer } from './wire/framer.ts';
import { type BmpMessage, decodeMessage } from './wire/message.ts';
import type { RibView } from './wire/peer-header.ts';

const WALL = 1_800_000_000_000_000;

function session(name: string, last: number, fourOctetAs = true): MonitoredSession {
  const open = rawOpen({ asn: 65_000 + last, routerId: last, holdTime: 90, families: ['ipv4'] });
  return {
    name,
    address: Address.parse(`192.0.2.${last}`),
    asn: (65_000 + last) as Asn,
    bgpId: RouterId.parse(`192.0.2.${last}`),
    fourOctetAs,
    localAddress: Address.parse('192.0.2.254'),
    localPort: 179,
    remotePort: 40_000 + last,
    sentOpen: new Uint8Array(open),
    receivedOpen: new Uint8Array(open),
  };
}

const update = new Uint8Array(
  rawUpdates(
    {
      attributes: {
        origin: 0,
        asPath: [65_001],
        asSet: [],
        communities: [],
        largeCommunities: [],
        extendedCommunities: [],
        atomicAggregate: false,
      },
      prefixes: [Uint8Array.of(24, 10, 0, 1)],
    },
    { nextHop: [192, 0, 2, 1] },
    'ipv4',
  )[0]!,
);

/** Tables that give what a test puts in them. */
class FakeSource implements ExportSource {
  readonly feeds = new Map<RibView, { items: MonitoredUpdates[]; wake: (now: number) => void }>();
  readonly closed: RibView[] = [];
  readonly missing = new Set<RibView>();
  overrun = false;

  openFeed(view: RibView, wake: (now: number) => void): RouteFeed | undefined {
    if (this.missing.has(view)) return undefined;
    const feed = { items: [] as MonitoredUpdates[], wake };
    this.feeds.set(view, feed);
    const source = this;
    return {
      get dumping() {
        return source.dumping;
      },
      pull: () => {
        if (source.overrun) return 'overrun';
        const item = feed.items.shift();
        return item === undefined ? [] : [item];
      },
      close: () => {
        source.closed.push(view);
      },
    };
  }

  dumping = false;

  put(view: RibView, name: string | undefined, now: number, count = 1): void {
    const feed = this.feeds.get(view)!;
    const updates = Array.from({ length: count }, () => update);
    feed.items.push(name === undefined ? { updates } : { session: name, updates });
    feed.wake(now);
  }

  statistics(name: string | undefined) {
    const [type, value] = ['gauge', 7n] as const;
    return [
      { type, name: name === undefined ? 'loc-rib-routes' : 'in-pre-routes', value } as const,
    ];
  }
}

class Rig {
  readonly source = new FakeSource();
  readonly outputs: ExporterOutput[] = [];
  readonly exporter: Exporter;
  now = 0;
  readonly #framer = new Framer();

  constructor(options: Partial<ExporterOptions> = {}) {
    this.exporter = new Exporter({
      source: this.source,
      emit: (output) => this.outputs.push(output),
      wallClock: () => WALL,
      sysName: 'speaker',
      sysDescr: 'a test',
      statisticsInterval: 0,
      reconnect: { first: 1, longest: 4 },
      ...options,
    });
  }

  connect(): this {
    this.exporter.handle({ type: 'start' }, this.now);
    this.exporter.handle({ type: 'connected' }, this.now);
    return this;
  }

  up(name: string, last: number): void {
    this.exporter.handle({ type: 'session-up', session: session(name, last) }, this.now);
  }

  down(name: string, reason: Partial<DownReason> = {}): void {
    const full = { by: 'remote', why: 'tcp-closed', retain: false, retainSeconds: 0, ...reason };
    this.exporter.handle({ type: 'session-down', name, reason: full as DownReason }, this.now);
  }

  /** Everything that the station would get now. */
  read(budget = 1 << 20): BmpMessage[] {
    const messages: BmpMessage[] = [];
    for (;;) {
      const bytes = this.exporter.produce(budget, this.now);
      if (bytes.length === 0) return messages;
      this.#framer.push(bytes, (frame) => messages.push(decodeMessage(frame.slice())));
    }
  }

  /** As words. */
  told(budget?: number): string[] {
    return this.read(budget).map((message) => {
      if (!('peer' in message)) return message.type;
      const { peer } = message;
      const who = peer.type === 'loc-rib' ? 'loc-rib' : peer.address;
      const view = message.type === 'route-monitoring' ? ` ${peer.view}` : '';
      return `${message.type} ${who}${view}`;
    });
  }

  states(): string[] {
    return this.outputs.flatMap((one) => (one.type === 'state' ? [one.state] : []));
  }
}

test('what a station is told, in order', () => {
  const rig = new Rig({
    views: ['in-pre', 'in-post', 'loc'],
    locRib: {
      asn: 65_000 as Asn,
      bgpId: RouterId.parse('192.0.2.254'),
      families: ['ipv4-unicast', 'ipv6-unicast'],
    },
  });
  rig.up('a', 1);
  rig.connect();
  rig.source.put('in-pre', 'a', 0);
  rig.source.put('in-post', 'a', 0);
  rig.source.put('loc', undefined, 0);
  assert.deepEqual(rig.told(), [
    'initiation',
    'peer-up loc-rib',
    'peer-up 192.0.2.1',
    'route-monitoring 192.0.2.1 in-pre',
    'route-monitoring 192.0.2.1 in-post',
    'route-monitoring loc-rib loc',
  ]);
  rig.up('b', 2);
  rig.down('a');
  assert.deepEqual(rig.told(), ['peer-up 192.0.2.2', 'peer-down 192.0.2.1']);
  rig.exporter.handle({ type: 'stop' }, 0);
  const close = rig.outputs.at(-1);
  assert.equal(close?.type, 'close');
  assert.deepEqual(decodeMessage((close as { last: Uint8Array }).last), {
    type: 'termination',
    reason: 'administratively-closed',
    information: [],
  });
  assert.deepEqual(rig.source.closed, ['in-pre', 'in-post', 'loc']);
});

test('the Loc-RIB’s OPENs carry the families and the 4-octet AS', () => {
  const rig = new Rig({
    views: ['loc'],
    locRib: {
      asn: 4_200_000_000 as Asn,
      bgpId: RouterId.parse('192.0.2.254'),
      families: ['ipv6-unicast'],
    },
  }).connect();
  const up = rig.read().find((message) => message.type === 'peer-up');
  assert.ok(up?.type === 'peer-up');
  assert.deepEqual(up.sentOpen, up.receivedOpen);
  const hex = Buffer.from(up.sentOpen).toString('hex');
  assert.ok(hex.includes('010400020001'), 'multiprotocol, IPv6 unicast');
  assert.ok(hex.includes('4104fa56ea00'), '4-octet AS');
  assert.deepEqual(up.information, [{ type: 'tableName', text: 'global' }]);
});

test('routes of a session that the station was not told of are left out', () => {
  const rig = new Rig({ views: ['in-pre'] }).connect();
  rig.up('a', 1);
  rig.told();
  rig.down('a');
  rig.source.put('in-pre', 'a', 0);
  rig.source.put('in-pre', 'stranger', 0);
  assert.deepEqual(rig.told(), ['peer-down 192.0.2.1']);
});

/** Reason, the answer on the wire. */
const reasons: readonly (readonly [Partial<DownReason>, string])[] = [
  [{ by: 'remote', why: 'tcp-closed' }, 'remote-closed'],
  [{ by: 'local', why: 'tcp-error' }, 'remote-closed'],
  [{ by: 'local', why: 'detach' }, 'local-event'],
  [{ by: 'local', why: 'hold-timer' }, 'local-event'],
  [
    {
      by: 'local',
      why: 'hold-timer',
      notification: { code: 4, subcode: 0, data: new Uint8Array(0) },
    },
    'local-notification',
  ],
  [
    {
      by: 'remote',
      why: 'notification',
      notification: { code: 6, subcode: 2, data: Uint8Array.of(0) },
    },
    'remote-notification',
  ],
];
for (const [reason, wanted] of reasons) {
  test(`${reason.by} ${reason.why}${reason.notification ? ' with NOTIFICATION' : ''} is ${wanted}`, () => {
    const rig = new Rig().connect();
    rig.up('a', 1);
    rig.read();
    rig.down('a', reason);
    const [down] = rig.read();
    assert.ok(down?.type === 'peer-down');
    assert.equal(down.reason.type, wanted);
    if (down.reason.type === 'local-event') {
      assert.equal(down.reason.event, reason.why === 'hold-timer' ? 10 : 8);
    }
    if ('notification' in down.reason)
      assert.equal(down.reason.notification[19], reason.notification?.code);
  });
}

test('what is sent to a neighbour with 2-octet AS numbers is marked as such, in that view only', () => {
  const rig = new Rig({ views: ['in-pre', 'out-post'] }).connect();
  rig.exporter.handle({ type: 'session-up', session: session('old', 1, false) }, 0);
  rig.source.put('in-pre', 'old', 0);
  rig.source.put('out-post', 'old', 0);
  const flags = rig
    .read()
    .flatMap((one) => (one.type === 'route-monitoring' ? [one.peer] : []))
    .map((peer) => [peer.view, peer.type !== 'loc-rib' && peer.legacyAsPath]);
  assert.deepEqual(flags, [
    ['in-pre', false],
    ['out-post', true],
  ]);
});

test('the first walk has no time, what changes later has', () => {
  const rig = new Rig({ views: ['in-pre'] }).connect();
  rig.up('a', 1);
  rig.source.dumping = true;
  rig.source.put('in-pre', 'a', 0);
  const [, , first] = rig.read();
  rig.source.dumping = false;
  rig.source.put('in-pre', 'a', 0);
  const [second] = rig.read();
  assert.equal(first?.type === 'route-monitoring' && first.peer.timestamp, 0);
  assert.equal(second?.type === 'route-monitoring' && second.peer.timestamp, WALL);
});

test('statistics at the interval, not twice for a station that has not taken them', () => {
  const rig = new Rig({ statisticsInterval: 10 }).connect();
  rig.up('a', 1);
  rig.up('b', 2);
  rig.read();
  rig.now = 10_000;
  rig.exporter.handle({ type: 'timer' }, rig.now);
  rig.now = 20_000;
  rig.exporter.handle({ type: 'timer' }, rig.now);
  assert.deepEqual(rig.told().sort(), ['statistics 192.0.2.1', 'statistics 192.0.2.2']);
  assert.equal(rig.exporter.deadline, 30_000);
});

test('a station that reads slowly: one session cannot hide another, and memory is bounded', () => {
  const rig = new Rig({ views: ['in-pre', 'in-post'] }).connect();
  rig.up('a', 1);
  rig.up('b', 2);
  for (let i = 0; i < 200; i += 1) rig.source.put('in-pre', 'a', 0, 1000);
  rig.source.put('in-post', 'b', 0);
  const first = rig.exporter.produce(1000, 0);
  assert.ok(first.length < 200_000, `one pull at a time: ${first.length}`);
  // The session flaps a thousand times while the station takes nothing.
  for (let i = 0; i < 1000; i += 1) {
    rig.down('a');
    rig.up('a', 1);
  }
  const told = rig.told();
  const ups = told.filter((one) => one === 'peer-up 192.0.2.1').length;
  const downs = told.filter((one) => one === 'peer-down 192.0.2.1').length;
  assert.equal(ups, downs, 'told up before; down and up in turn');
  assert.ok(downs >= 2 && downs <= 8, `${downs} of 1000 flaps were kept`);
  assert.equal(rig.exporter.status.flapsLeftOut, 2000 - 2 * downs);
  const order = told.filter((one) => / 192\.0\.2\.1$/.test(one));
  order.forEach((one, i) => {
    assert.equal(one.startsWith('peer-down'), i % 2 === 0);
  });
});

test('a station that takes nothing is left, and tried again', () => {
  const rig = new Rig({ stallTimeout: 5, views: ['in-pre'] }).connect();
  rig.up('a', 1);
  rig.read();
  // Silence with nothing to say is no stall.
  rig.now = 60_000;
  rig.exporter.handle({ type: 'timer' }, rig.now);
  assert.equal(rig.exporter.status.state, 'up');
  rig.source.put('in-pre', 'a', rig.now);
  assert.equal(rig.exporter.deadline, 65_000);
  rig.now = 65_000;
  rig.exporter.handle({ type: 'timer' }, rig.now);
  assert.match(rig.exporter.status.text ?? '', /took nothing for 5 s/);
  assert.deepEqual(rig.source.closed, ['in-pre']);
  assert.equal(rig.outputs.filter(({ type }) => type === 'close').length, 1);
});

test('pauses between attempts grow to the longest, and start anew after a connection', () => {
  const rig = new Rig();
  rig.exporter.handle({ type: 'start' }, 0);
  const pauses: number[] = [];
  for (let i = 0; i < 4; i += 1) {
    rig.exporter.handle({ type: 'connect-failed', error: 'ECONNREFUSED' }, rig.now);
    const deadline = rig.exporter.deadline!;
    pauses.push(deadline - rig.now);
    rig.now = deadline;
    rig.exporter.handle({ type: 'timer' }, rig.now);
  }
  assert.deepEqual(pauses, [1000, 2000, 4000, 4000]);
  rig.exporter.handle({ type: 'connected' }, rig.now);
  rig.read();
  rig.exporter.handle({ type: 'closed' }, rig.now);
  assert.equal(rig.exporter.deadline! - rig.now, 1000);
  assert.deepEqual(rig.states().slice(0, 3), ['connecting', 'waiting', 'connecting']);
});

test('withdrawals forgotten: the exporter starts over from whole tables', () => {
  const rig = new Rig({ views: ['in-pre'] }).connect();
  rig.up('a', 1);
  rig.read();
  rig.source.overrun = true;
  rig.source.put('in-pre', 'a', 0);
  assert.deepEqual(rig.read(), []);
  assert.equal(rig.exporter.status.state, 'waiting');
  rig.source.overrun = false;
  rig.now = rig.exporter.deadline!;
  rig.exporter.handle({ type: 'timer' }, rig.now);
  rig.exporter.handle({ type: 'connected' }, rig.now);
  assert.deepEqual(rig.told(), ['initiation', 'peer-up 192.0.2.1']);
});

test('views that the speaker does not keep are named', () => {
  const rig = new Rig({ views: ['in-pre', 'out-pre'] });
  rig.source.missing.add('out-pre');
  rig.connect();
  assert.deepEqual(rig.exporter.status.viewsMissing, ['out-pre']);
});

test('settings that make no sense are refused', () => {
  assert.throws(() => new Rig({ views: [] }), { code: 'bad-option' });
  assert.throws(() => new Rig({ views: ['loc'] }), { code: 'bad-option' });
});

test('whatever happens, a station hears of each session in turn up and down, and of routes only in between', () => {
  const step = fc.oneof(
    fc.record({ type: fc.constantFrom('up', 'down', 'route', 'remove'), peer: fc.nat(2) }),
    fc.record({ type: fc.constant('read'), budget: fc.integer({ min: 1, max: 400 }) }),
    fc.constant({ type: 'reconnect' } as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const rig = new Rig({ views: ['in-pre', 'out-post'] }).connect();
      let heard: string[] = [];
      const up = new Set<number>();
      const check = (): void => {
        const known = new Map<string, boolean>();
        assert.ok(heard.length === 0 || heard[0] === 'initiation');
        for (const line of heard.slice(1)) {
          const [type, who = ''] = line.split(' ');
          if (type === 'peer-up') assert.notEqual(known.get(who), true, heard.join('; '));
          else assert.equal(known.get(who), true, heard.join('; '));
          known.set(who, type !== 'peer-down');
        }
      };
      for (const one of steps) {
        if (one.type === 'read') heard.push(...rig.told(one.budget).slice(0));
        else if (one.type === 'reconnect') {
          check();
          heard = [];
          rig.exporter.handle({ type: 'closed', error: 'ECONNRESET' }, rig.now);
          rig.now = rig.exporter.deadline!;
          rig.exporter.handle({ type: 'timer' }, rig.now);
          rig.exporter.handle({ type: 'connected' }, rig.now);
        } else if (one.type === 'up') {
          if (!up.has(one.peer)) rig.up(`p${one.peer}`, one.peer + 1);
          up.add(one.peer);
        } else if (one.type === 'down') {
          rig.down(`p${one.peer}`);
          up.delete(one.peer);
        } else if (one.type === 'remove') {
          rig.exporter.handle({ type: 'session-removed', name: `p${one.peer}` }, rig.now);
          up.delete(one.peer);
        } else rig.source.put('in-pre', `p${one.peer}`, rig.now);
      }
      heard.push(...rig.told());
      check();
      assert.equal(rig.exporter.status.sessionsTold, up.size);
    }),
    { numRuns: 200 },
  );
});

test('End-of-RIB goes as the UPDATE that it is', () => {
  const rig = new Rig({ views: ['in-pre'] }).connect();
  rig.up('a', 1);
  const feed = rig.source.feeds.get('in-pre')!;
  feed.items.push({ session: 'a', updates: [encodeEndOfRib('ipv6-unicast')] });
  const [, , marker] = rig.read();
  assert.ok(marker?.type === 'route-monitoring');
  assert.deepEqual(Buffer.from(marker.update), Buffer.from(encodeEndOfRib('ipv6-unicast')));
});
