import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asn, formatAsPath, RouterId, type RouteRow as SpeakerRow } from '@causeway/bgp';
import { seeded, VirtualNetwork, type VirtualSpeaker } from '@causeway/bgp/testing';
import { Exporter, type MonitoredSpeaker, SpeakerSource, sessionInput } from '@causeway/bmp';
import fc from 'fast-check';
import { Rig } from '../testing/rig.ts';
import { findRoutes } from './queries/routes.ts';
import type { Router } from './routers/router.ts';

/**
 * Our speaker, our exporter and our station in virtual time: whatever happens between speakers, and however slowly the
 * station reads, what it has in the end is what the speaker has.
 */

const all = { all: { statements: [], otherwise: 'accept' } } as const;
const tagged = {
  ...all,
  tag: {
    statements: [{ set: { communities: { add: ['65000:1'] } } }],
    otherwise: 'accept',
  },
} as const;
const families = (importPolicy: string) =>
  (['ipv4-unicast', 'ipv6-unicast'] as const).map((family) => ({
    family,
    import: importPolicy,
    export: 'all',
  }));

class Watched {
  readonly network: VirtualNetwork;
  readonly middle: VirtualSpeaker;
  readonly sides: readonly VirtualSpeaker[];
  readonly rig = new Rig();
  readonly router: Router;
  readonly exporter: Exporter;
  readonly #source: SpeakerSource;
  readonly #feeds: number[] = [];
  #seen = 0;

  constructor(seed: number) {
    this.network = new VirtualNetwork({ random: seeded(seed) });
    const speaker = (name: string, last: number): VirtualSpeaker =>
      this.network.add(name, `192.0.2.${last}`, {
        asn: (65_000 + last) as Asn,
        routerId: RouterId.parse(`192.0.2.${last}`),
        policies: { policies: tagged },
      });
    this.middle = speaker('middle', 9);
    this.sides = [speaker('left', 1), speaker('right', 2)];
    for (const side of this.sides) {
      this.network.connect(
        this.middle,
        side,
        { asn: 'external', families: families('tag') },
        { asn: 'external', families: families('all') },
      );
    }
    const core = this.middle.speaker;
    const speakerFace: MonitoredSpeaker = {
      openFeed: (spec) => {
        const id = core.openFeed(spec);
        this.#feeds.push(id);
        return id;
      },
      closeFeed: (id) => core.closeFeed(id),
      readFeed: (id, limit) => core.readFeed(id, limit),
      peer: (name) => core.peer(name),
      counters: () => core.counters(),
    };
    this.#source = new SpeakerSource(speakerFace);
    this.exporter = new Exporter({
      source: this.#source,
      emit: () => {},
      wallClock: () => this.rig.now * 1000,
      sysName: 'middle',
      sysDescr: 'under test',
      views: ['in-pre', 'in-post', 'out-post', 'loc'],
      locRib: {
        asn: 65_009 as Asn,
        bgpId: RouterId.parse('192.0.2.9'),
        families: ['ipv4-unicast', 'ipv6-unicast'],
      },
      stallTimeout: 0,
    });
    this.router = this.rig.connect('192.0.2.9');
    this.exporter.handle({ type: 'start' }, 0);
    this.exporter.handle({ type: 'connected' }, 0);
  }

  pass(ms: number): void {
    this.network.run(ms);
    const { events } = this.middle;
    for (; this.#seen < events.length; this.#seen += 1) {
      const input = sessionInput(events[this.#seen]!);
      if (input !== undefined) this.exporter.handle(input, this.network.now);
    }
    for (const feed of this.#feeds) this.#source.woken(feed, this.network.now);
  }

  /** The station takes so many bytes. */
  read(budget: number): number {
    const bytes = this.exporter.produce(budget, this.network.now);
    const reason = this.rig.feed(this.router, bytes);
    assert.equal(reason, undefined, JSON.stringify(reason));
    return bytes.length;
  }

  compare(): void {
    const told = findRoutes(this.rig.station, { limit: 100_000 }).rows;
    const station = (view: string, peer?: string): string[] =>
      told
        .filter((row) => row.view === view && (peer === undefined || row.peer === peer))
        .map((row) => [row.prefix, row.asPath, ...(row.communities ?? [])].join(' '))
        .sort();
    const own = (rows: readonly SpeakerRow[]): string[] =>
      rows
        .map((row) => {
          const { asPath, communities } = row.attributes;
          const names = (communities ?? []).map((value) => `${value >>> 16}:${value & 0xffff}`);
          return [row.prefix, formatAsPath(asPath), ...names].join(' ');
        })
        .sort();
    const { speaker } = this.middle;
    for (const { name, address } of this.sides) {
      const up = speaker.peer(name)?.state === 'established';
      const view = (wanted: 'received' | 'accepted' | 'advertised'): string[] =>
        up ? own(speaker.routes({ view: wanted, peer: name, limit: 10_000 }).rows) : [];
      assert.deepEqual(station('in-pre', address), view('received'), `${name} in-pre`);
      assert.deepEqual(station('in-post', address), view('accepted'), `${name} in-post`);
      assert.deepEqual(station('out-post', address), view('advertised'), `${name} out-post`);
    }
    const best = speaker.routes({ view: 'loc', limit: 10_000 }).rows.filter((row) => row.best);
    assert.deepEqual(station('loc'), own(best), 'loc');
  }
}

const prefix = (n: number): string => (n % 2 === 0 ? `10.0.${n}.0/24` : `2001:db8:${n}::/48`);

const step = fc.oneof(
  fc.record({
    type: fc.constant('paths'),
    side: fc.nat(2),
    prefixes: fc.uniqueArray(fc.nat(30), { maxLength: 25 }),
    med: fc.nat(3),
  }),
  fc.record({ type: fc.constantFrom('cut', 'mend'), side: fc.nat(1) }),
  fc.record({ type: fc.constant('pass'), ms: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({ type: fc.constant('read'), bytes: fc.integer({ min: 1, max: 600 }) }),
);

test('the station has what the speaker has, whatever happened and however slowly it read', () => {
  fc.assert(
    fc.property(
      fc.nat(1000),
      fc.array(step, { minLength: 3, maxLength: 40, size: 'max' }),
      (seed, steps) => {
        const watched = new Watched(seed);
        using _ = watched.rig;
        const speakers = [...watched.sides, watched.middle];
        speakers.forEach(({ speaker }, side) => {
          const paths = Array.from({ length: 12 }, (_, n) => ({ prefix: prefix(n + 6 * side) }));
          speaker.setPaths('first', paths, watched.network.now);
        });
        watched.pass(3000);
        for (const one of steps) {
          if (one.type === 'paths') {
            const { side, prefixes, med } = one as Extract<typeof one, { prefixes: number[] }>;
            const paths = prefixes.map((n) => ({ prefix: prefix(n), med }));
            speakers[side]!.speaker.setPaths('test', paths, watched.network.now);
          } else if (one.type === 'pass') watched.pass((one as { ms: number }).ms);
          else if (one.type === 'read') watched.read((one as { bytes: number }).bytes);
          else
            watched.network[one.type as 'cut' | 'mend'](
              watched.middle,
              watched.sides[(one as { side: number }).side]!,
            );
        }
        for (let i = 0; i < 20; i += 1) {
          watched.pass(500);
          while (watched.read(1 << 16) > 0);
        }
        watched.compare();
      },
    ),
    { numRuns: 25 },
  );
});
