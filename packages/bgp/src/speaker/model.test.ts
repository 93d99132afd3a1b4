import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import fc from 'fast-check';
import { ignoreEffects, Neighbor, type Random, seeded } from '../../testing/index.ts';
import {
  type Candidate,
  exported,
  imported,
  type NaivePath,
  type NaivePeer,
  type NaiveSpeaker,
  rank,
} from '../../testing/naive.ts';
import type { PolicyLibrary, PolicyStatement } from '../policy/types.ts';
import { Speaker } from '../speaker.ts';
import { type Asn, Origin, RouterId } from '../types.ts';
import { encodeAttributes } from '../wire/attribute-codec.ts';
import type { PathAttributes } from '../wire/attributes.ts';
import type { OriginatedPath } from './config.ts';

const own = 65000 as Asn;
const address = '192.0.2.254';
const family = 'ipv4-unicast' as const;

const decide = (
  verdict: 'accept' | 'reject',
  rest: Omit<PolicyStatement, 'then'> = {},
): PolicyStatement => ({
  ...rest,
  // biome-ignore lint/suspicious/noThenProperty: the policy language's word
  then: verdict,
});

/** Every kind of condition and change, some of which look at prefixes, neighbours, sources and tags. */
const libraries: readonly PolicyLibrary[] = [
  { policies: { in: { statements: [decide('accept')] }, out: { statements: [decide('accept')] } } },
  {
    policies: {
      in: {
        statements: [
          { match: { communities: { any: ['65000:*'] } }, set: { localPreference: 200 } },
          decide('reject', { match: { prefixes: [{ prefix: '10.0.0.0/16', ge: 24 }] } }),
          decide('accept', { match: { neighbors: ['e1', 'i1', 'r1'] }, set: { med: { add: 3 } } }),
        ],
        otherwise: 'accept',
      },
      out: {
        statements: [
          decide('accept', {
            match: { asPath: { patterns: ['_65102_', '^$'] }, source: ['ebgp', 'local'] },
            set: { prepend: { count: 2 }, communities: { add: ['65000:9'], remove: ['65000:1'] } },
          }),
          decide('reject', { match: { asPath: { length: { max: 1 } } } }),
          decide('accept', { set: { nextHop: 'self' } }),
        ],
      },
    },
  },
  {
    prefixSets: { some: ['10.1.0.0/16', { prefix: '10.0.0.0/8', ge: 24, le: 24 }] },
    policies: {
      in: {
        statements: [
          decide('accept', {
            match: { prefixSets: ['some'] },
            set: { communities: { replace: ['no-export'] } },
          }),
          decide('accept', {
            match: { med: { min: 5 } },
            set: { med: 'none', localPreference: 50 },
          }),
        ],
        otherwise: 'accept',
      },
      out: {
        statements: [
          decide('reject', { match: { tags: ['secret'] } }),
          decide('accept', {
            match: { neighborAsns: [65101] },
            set: { med: 77, nextHop: 'unchanged' },
          }),
          decide('accept', { match: { localPreference: { min: 100 } } }),
        ],
      },
    },
  },
];

const prefixes = [
  ['10.0.0.0/8', 8, 0x0a000000],
  ['10.0.0.0/16', 16, 0x0a000000],
  ['10.0.0.0/24', 24, 0x0a000000],
  ['10.0.1.0/24', 24, 0x0a000100],
  ['10.1.0.0/16', 16, 0x0a010000],
  ['0.0.0.0/0', 0, 0],
] as const;

const hops = ['203.0.113.1', '203.0.113.2', address] as const;

interface Setup {
  readonly peer: NaivePeer;
  readonly neighbor: Neighbor;
}

function setUp(speaker: Speaker, withAddPath: boolean): Map<string, Setup> {
  const rows: readonly [
    name: string,
    asn: number,
    client: boolean,
    policies: boolean,
    addPath: number,
  ][] = [
    ['e1', 65101, false, true, 0],
    ['e2', 65102, false, true, withAddPath ? 2 : 0],
    ['e3', 65102, false, true, 0],
    ['i1', 65000, false, true, 0],
    ['i2', 65000, false, false, withAddPath ? 2 : 0],
    ['r1', 65000, true, false, 0],
    ['r2', 65000, true, true, 0],
  ];
  return new Map(
    rows.map(([name, asn, client, policies, addPath], i) => {
      const at = `192.0.2.${i + 1}`;
      const config = {
        name,
        target: { address: Address.parse(at) },
        asn: asn as Asn,
        passive: true,
        timers: { idleHold: 0.001 },
        enforceFirstAs: false,
        routeReflectorClient: client,
        families: [
          {
            family,
            ...(policies ? { import: 'in', export: 'out' } : {}),
            ...(addPath > 0 ? { addPath: { receive: true, send: addPath } } : {}),
          },
        ],
      };
      speaker.addPeer(config, 0);
      const routerId = RouterId.parse(`198.51.100.${9 - i}`);
      const peer: NaivePeer = {
        name,
        kind: asn === own ? 'ibgp' : 'ebgp',
        asn,
        routerId: RouterId.toNumber(routerId),
        address: at,
        client,
        addPath,
        ...(policies ? { import: 'in', export: 'out' } : {}),
      };
      const neighbor = new Neighbor(speaker, {
        config,
        asn: asn as Asn,
        localAsn: own,
        routerId,
        addPath: addPath > 0,
      });
      return [name, { peer, neighbor }] as const;
    }),
  );
}

const pick = <T>(random: Random, items: readonly T[]): T => items[random.below(items.length)]!;

function someAttributes(random: Random, peer: NaivePeer): PathAttributes {
  const rest = pick(random, [[], [65102], [65103, 65104], [65101], [own], [65105]]) as Asn[];
  const asns = peer.kind === 'ebgp' ? [peer.asn as Asn, ...rest] : rest;
  const communities = pick<number[]>(random, [
    [],
    [],
    [(65000 << 16) >>> 0, ((65000 << 16) >>> 0) + 1],
    [((65000 << 16) >>> 0) + 1],
    [0xffff0000],
    [0xffffff01],
    [0xffffff02],
    [0xffff0006],
  ]);
  const internal = peer.kind === 'ibgp';
  return {
    origin: pick(random, [Origin.igp, Origin.incomplete]),
    asPath: asns.length === 0 ? [] : [{ type: 'sequence', asns }],
    ...(random.below(2) === 0 ? { med: random.below(3) * 5 } : {}),
    ...(internal ? { localPreference: pick(random, [100, 100, 150]) } : {}),
    ...(communities.length > 0 ? { communities } : {}),
    ...(internal && random.below(3) === 0
      ? { originatorId: RouterId.parse(pick(random, ['198.51.100.77', '192.0.2.254'])) }
      : {}),
    ...(internal && random.below(3) === 0
      ? { clusterList: [RouterId.parse(pick(random, ['198.51.100.78', '192.0.2.254']))] }
      : {}),
  };
}

const hex = (attributes: PathAttributes, nextHop: string): string =>
  `${Buffer.from(encodeAttributes(attributes)).toString('hex')} ${nextHop}`;
const hopHex = (text: string): string =>
  Buffer.from(Address.toBytes(Address.parse(text))).toString('hex');

/** One run: random events, then everything is drained, and what each neighbour has is what the model says. */
function run(seed: number, steps: number, withAddPath: boolean, alwaysCompareMed: boolean): void {
  const random = seeded(seed);
  let now = 0;
  let next = 1;
  let library = libraries[0]!;
  const speaker = new Speaker(
    {
      config: {
        asn: own,
        routerId: RouterId.parse(address),
        policies: library,
        decision: { alwaysCompareMed },
      },
      random: () => random.next(),
      nextConnection: () => next++,
      emit: ignoreEffects,
    },
    now,
  );
  const setups = setUp(speaker, withAddPath);
  const paths = new Map<string, NaivePath>();
  const unreachable = new Set<string>();
  const names = [...setups.keys()];
  const local: NaivePeer = {
    name: 'local',
    kind: 'local',
    asn: own,
    routerId: RouterId.toNumber(RouterId.parse(address)),
    address: '',
    client: false,
    addPath: 0,
  };
  const naive = (): NaiveSpeaker => ({
    asn: own,
    routerId: address,
    clusterId: address,
    address,
    library,
    peers: new Map([
      ['local', local],
      ...[...setups].map(([name, { peer }]) => [name, peer] as const),
    ]),
    unreachable,
    alwaysCompareMed,
  });
  const settle = (): void => {
    for (let rounds = 0; (speaker.deadline ?? Number.POSITIVE_INFINITY) <= now; rounds++) {
      assert.ok(rounds < 10_000);
      speaker.work(now);
    }
  };
  for (let step = 0; step < steps; step++) {
    now += random.below(3);
    const { peer, neighbor } = setups.get(pick(random, names))!;
    switch (random.weighted([30, 10, 4, 2, 3, 2, 12, 20, 1])) {
      case 0: {
        if (!neighbor.isUp) break;
        const attributes = someAttributes(random, peer);
        const nextHop = pick(random, hops);
        const chosen = prefixes.filter(() => random.below(3) === 0);
        const pathId = peer.addPath > 0 ? random.below(2) + 1 : 0;
        if (chosen.length === 0) break;
        neighbor.announce(
          family,
          attributes,
          Address.toBytes(Address.parse(nextHop)),
          chosen.map(([, length, w0]) => [length, w0, pathId] as const),
          now,
        );
        for (const [prefix] of chosen) {
          paths.set(`${peer.name} ${prefix} ${pathId}`, {
            peer: peer.name,
            pathId,
            prefix,
            attributes,
            nextHop,
          });
        }
        break;
      }
      case 1: {
        if (!neighbor.isUp) break;
        const chosen = prefixes.filter(() => random.below(2) === 0);
        const pathId = peer.addPath > 0 ? random.below(2) + 1 : 0;
        if (chosen.length === 0) break;
        neighbor.withdraw(
          family,
          chosen.map(([, length, w0]) => [length, w0, pathId] as const),
          now,
        );
        for (const [prefix] of chosen) paths.delete(`${peer.name} ${prefix} ${pathId}`);
        break;
      }
      case 2:
        // It may come again before what it left behind is purged.
        if (neighbor.isUp) break;
        now += 70_000;
        neighbor.up(now);
        break;
      case 3:
        neighbor.down(now);
        for (const [key, path] of paths) if (path.peer === peer.name) paths.delete(key);
        break;
      case 4:
        library = pick(random, libraries);
        speaker.setPolicies(library, now);
        break;
      case 5: {
        const originated: OriginatedPath[] = prefixes
          .filter(() => random.below(3) === 0)
          .map(([prefix]) => ({
            prefix,
            ...(random.below(3) === 0 ? { tag: 'secret' } : {}),
            ...(random.below(3) === 0
              ? { neighbors: names.filter(() => random.below(2) === 0) }
              : {}),
            ...(random.below(2) === 0 ? { med: 4 } : {}),
          }));
        speaker.setPaths('owner', originated, now);
        for (const [key, path] of paths) if (path.peer === 'local') paths.delete(key);
        for (const { prefix, tag, neighbors, med } of originated) {
          paths.set(`local ${prefix}`, {
            peer: 'local',
            pathId: 0,
            prefix,
            nextHop: 'self',
            attributes: { origin: 0, asPath: [], ...(med === undefined ? {} : { med }) },
            ...(tag === undefined ? {} : { tag }),
            ...(neighbors === undefined ? {} : { neighbors }),
          });
        }
        break;
      }
      case 6:
        speaker.work(now);
        break;
      case 7:
        neighbor.take(pick(random, [1, 60, 200, 5000]), now);
        break;
      case 8: {
        const hop = pick(random, hops.slice(0, 2));
        const reachable = unreachable.has(hop);
        if (reachable) unreachable.delete(hop);
        else unreachable.add(hop);
        // A next hop that no route has yet is nothing to tell about.
        speaker.setNextHop(Address.parse(hop), { reachable, metric: 0 }, now);
        break;
      }
    }
  }
  now += 1000;
  settle();
  for (const hop of hops.slice(0, 2)) {
    speaker.setNextHop(Address.parse(hop), { reachable: !unreachable.has(hop), metric: 0 }, now);
  }
  now += 1000;
  settle();
  check(speaker, naive(), setups, paths, now);
  // And once everything is taken back nothing is left over.
  for (const { neighbor } of setups.values()) neighbor.down(now);
  speaker.setPaths('owner', [], now);
  now += 100;
  settle();
  now += 1000;
  speaker.work(now);
  settle();
  const left = speaker.counters();
  assert.equal(left.prefixes[family], 0);
  assert.equal(left.paths[family], 0);
  assert.equal(left.attributeSets, 0);
  assert.equal(left.updateGroups, 0);
}

function check(
  speaker: Speaker,
  model: NaiveSpeaker,
  setups: ReadonlyMap<string, Setup>,
  paths: ReadonlyMap<string, NaivePath>,
  now: number,
): void {
  const ranked = new Map<string, Candidate[]>();
  for (const [prefix] of prefixes) {
    const candidates = [...paths.values()]
      .filter((path) => path.prefix === prefix)
      .flatMap((path) => imported(model, path) ?? []);
    ranked.set(prefix, rank(model, candidates));
  }
  // Loc-RIB: the best path of each prefix, and which paths are candidates.
  const { rows } = speaker.routes({ view: 'loc' });
  for (const [prefix, order] of ranked) {
    const best = rows.find((row) => row.prefix === prefix && row.best === true);
    const expected = order[0];
    assert.equal(
      best?.peer,
      expected && (expected.peer.kind === 'local' ? 'local:owner' : expected.peer.name),
      prefix,
    );
    if (best !== undefined && expected !== undefined) {
      assert.equal(
        hex(best.attributes, best.nextHop),
        hex(expected.attributes, expected.path.nextHop),
      );
    }
  }
  for (const [name, { peer, neighbor }] of setups) {
    if (!neighbor.isUp) continue;
    for (let rounds = 0; neighbor.take(300, now); rounds++) assert.ok(rounds < 10_000);
    const expected: string[] = [];
    for (const [prefix, order] of ranked) {
      const visible = order.filter(
        ({ path }) => path.neighbors === undefined || path.neighbors.includes(name),
      );
      for (const candidate of visible.slice(0, Math.max(1, peer.addPath))) {
        if (candidate.peer.name === name) continue;
        const sent = exported(model, candidate, peer);
        if (sent !== undefined)
          expected.push(`${prefix} ${hex(sent.attributes, hopHex(sent.nextHop))}`);
      }
    }
    const told = [...neighbor.table].map(
      ([key, one]) => `${key.split('#')[0]} ${hex(one.attributes, one.nextHop)}`,
    );
    assert.deepEqual(told.sort(), expected.sort(), `what ${name} has been told`);
    assert.ok(neighbor.endOfRib.has(family));
    // The table that the speaker shows is the table that the neighbour has.
    const shown = speaker
      .routes({ view: 'advertised', peer: name })
      .rows.map((row) => `${row.prefix} ${hex(row.attributes, hopHex(row.nextHop))}`);
    assert.deepEqual(shown.sort(), told);
    assert.equal(speaker.peer(name)?.families[0]?.advertised, told.length);
    assert.equal(speaker.peer(name)?.families[0]?.pending, 0);
  }
  checkExplanations(speaker, setups, ranked);
}

/** What is said of a prefix is so: who lost did lose, and who was told is who has it. */
function checkExplanations(
  speaker: Speaker,
  setups: ReadonlyMap<string, Setup>,
  ranked: ReadonlyMap<string, readonly Candidate[]>,
): void {
  for (const [prefix, order] of ranked) {
    const why = speaker.why(prefix);
    if (why === undefined) {
      assert.equal(order.length, 0);
      continue;
    }
    for (const { lostTo, route } of why.paths) {
      if (lostTo === undefined) continue;
      assert.notEqual(
        lostTo.comparison.winner,
        lostTo.comparison.loser,
        `${prefix} of ${route.peer}`,
      );
    }
    for (const { peer, outcome, sent } of why.exports) {
      const { neighbor, peer: row } = setups.get(peer)!;
      if (row.addPath > 0) continue;
      assert.equal(outcome === 'session-down', !neighbor.isUp);
      assert.equal(
        outcome === 'sent',
        neighbor.isUp && neighbor.table.has(prefix),
        `${prefix} to ${peer}: ${outcome}`,
      );
      if (outcome !== 'sent' || sent === undefined) continue;
      const told = neighbor.table.get(prefix)!;
      assert.equal(hex(sent.attributes, hopHex(sent.nextHop)), hex(told.attributes, told.nextHop));
    }
  }
}

for (const withAddPath of [false, true]) {
  test(`what neighbours are told is what the RFCs say${withAddPath ? ', with ADD-PATH' : ''}`, () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 5, max: 250 }),
        fc.boolean(),
        (seed, steps, always) => {
          run(seed, steps, withAddPath, always);
        },
      ),
      { numRuns: 60 },
    );
  });
}
