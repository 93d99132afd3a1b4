import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LabError } from '../errors.ts';
import { loadLab, shippedLabs } from '../file/load.ts';
import { parseLabFile } from '../file/parse.ts';
import { routerDaemons } from '../routers/daemons.ts';
import { planLab } from './plan.ts';

const base = (routers: string, links = '') => `
racks: [{name: r, ipv4: 10.9.0.0/24, ipv6: "fd09::/64"}, {name: below, uplink: r}]
routers: [${routers}]
links: [${links}]
clusters: [{name: c, id: 1, podCIDRs: {ipv4: 10.1.0.0/16, ipv6: "fd01::/48"}, nodes: [{name: n, rack: below}]}]`;
const plan = (routers: string, links = '') =>
  planLab(parseLabFile(base(routers, links), 'test.yaml'));

test('every session of a shipped lab has its other end, with the addresses exchanged', () => {
  for (const name of shippedLabs()) {
    const { routers } = planLab(loadLab(name).file);
    const ends = routers.flatMap(({ name: own, asn, sessions }) =>
      sessions.map((each) => ({ own, ownAsn: asn, ...each })),
    );
    for (const end of ends) {
      const other = ends.find(
        (each) =>
          each.local === end.remote && each.remote === end.local && each.own === end.neighbor,
      );
      assert.ok(other, `${name}: ${end.own} to ${end.neighbor} over ${end.family}`);
      assert.deepEqual([other.ownAsn, other.asn], [end.asn, end.ownAsn]);
    }
    assert.equal(new Set(routers.map(({ routerId }) => routerId)).size, routers.length, name);
  }
});

test('routers at the ends of a link speak by themselves, those on one rack only when told to', () => {
  const two = (more: string) =>
    `{name: a, racks: [r], routing: {type: bird, asn: 1${more}}}, {name: b, racks: [r], routing: {type: frr, asn: 2}}`;
  const neighbours = (routers: string, links = '') =>
    plan(routers, links).routers.map(({ sessions }) => sessions.map((each) => each.neighbor));
  assert.deepEqual(neighbours(two('')), [[], []]);
  assert.deepEqual(neighbours(two(', neighbors: [b]')), [
    ['b', 'b'],
    ['a', 'a'],
  ]);
  const link = '{between: [a, b], ipv4: 10.255.0.0/30}';
  assert.deepEqual(neighbours(two(''), link), [['b'], ['a']]);
});

test('a node below an access switch stands on the rack above it, with its gateways and a label', () => {
  const { places, clusters, cables } = plan(
    '{name: a, racks: [r], routing: {type: bird, asn: 1}}, {name: b, racks: [r], routing: {type: frr, asn: 1}}, {name: old, racks: [r]}',
  );
  const [node] = clusters[0]!.nodes;
  assert.deepEqual(node!.addresses, ['10.9.0.11', 'fd09::b']);
  assert.equal(node!.labels.rack, 'below');
  const routes = places.find(({ place }) => place === 'n')!.routes;
  assert.deepEqual(
    routes.map(({ via, metric }) => ({ via, metric })),
    [
      { via: ['10.9.0.1', '10.9.0.2'], metric: 20_000 },
      { via: ['fd09::1', 'fd09::2'], metric: 20_000 },
    ],
    'a last resort over those whose daemons know the way',
  );
  assert.ok(cables.some(({ a, b }) => a.place === 'below' && b.place === 'r'));
  assert.deepEqual(places.find(({ place }) => place === 'a')!.routes, [], 'it learns its own');
});

test('what cannot be is refused with its field', () => {
  const cases: [routers: string, where: string, words: RegExp][] = [
    ['{name: a, racks: [below]}', 'routers[0].racks[0]', /has an uplink/],
    ['{name: a, routing: {type: bird}}', 'routers[0].routing.asn', /missing/],
    [
      '{name: a, routing: {type: bird, asn: 1, neighbors: [z]}}',
      'routers[0].routing.neighbors[0]',
      /allowed: \(none\)/,
    ],
    [
      '{name: a, routing: {type: bird, asn: 1, nodes: [{rack: r}]}}',
      'routers[0].routing.nodes[0].rack',
      /not a rack of this router/,
    ],
    [
      '{name: a, racks: [r], routing: {type: frr, asn: 1, nodes: [{rack: r, reflect: true}]}}',
      'routers[0].routing.nodes[0].reflect',
      /internal/,
    ],
    [
      '{name: a, racks: [r], routing: {type: gobgp, asn: 1, nodes: [{rack: r}]}}',
      'routers[0].routing.nodes[0].asn',
      /a number or internal/,
    ],
    [
      '{name: a, routing: {type: gobgp, asn: 1, originate: [default]}}',
      'routers[0].routing.originate',
      /cannot stand with gobgp/,
    ],
    [
      '{name: a, routing: {type: bird, asn: 1, originate: [10.0.0.1/8]}}',
      'routers[0].routing.originate[0]',
      /10\.0\.0\.0\/8/,
    ],
    [
      '{name: a, routing: {type: frr, asn: 1, bfd: {intervalMs: 1}}}',
      'routers[0].routing.bfd.intervalMs',
      />=50/,
    ],
  ];
  for (const [routers, where, words] of cases)
    assert.throws(
      () => plan(routers),
      (error: unknown) => {
        assert.ok(error instanceof LabError, String(error));
        const issue = error.issues.find((each) => each.path === where);
        assert.match(issue?.message ?? error.message, words, routers);
        return issue !== undefined;
      },
      routers,
    );
});

test('sessions are read out of what each daemon prints', () => {
  const { bird, frr, gobgp } = routerDaemons;
  const text = `BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     07:23:44.600  
r_rack_ipv4 BGP        ---        start  07:23:44.600  Passive       
  BGP state:          Passive
    Neighbor range:   10.9.1.0/24
r_rack_ipv4_1 BGP        ---        up     07:23:45.361  Established   
  BGP state:          Established
    Neighbor address: 10.9.1.11
    Neighbor AS:      65201
  Channel ipv4
    Routes:         3 imported, 1 filtered, 2 exported, 3 preferred
r_spine_ipv6 BGP        ---        start  07:23:45.361  Connect   
  BGP state:          Connect
    Neighbor address: fd09::2
    Neighbor AS:      65001
`;
  assert.deepEqual(bird.parseSessions(text), [
    { remote: '10.9.1.11', asn: 65201, established: true, state: 'Established', received: 3 },
    { remote: 'fd09::2', asn: 65001, established: false, state: 'Connect', received: 0 },
  ]);
  const json = {
    ipv4Unicast: { peers: { '10.9.1.11': { remoteAs: 65201, state: 'Active', pfxRcd: 0 } } },
  };
  assert.deepEqual(frr.parseSessions(JSON.stringify(json)), [
    { remote: '10.9.1.11', asn: 65201, established: false, state: 'Active', received: 0 },
  ]);
  assert.deepEqual(frr.parseSessions('{}'), [], 'a family without neighbours is left out');
  const list = [{ state: { neighbor_address: '10.9.1.11', peer_asn: 65201, session_state: 6 } }];
  assert.deepEqual(gobgp.parseSessions(JSON.stringify(list)), [
    { remote: '10.9.1.11', asn: 65201, established: true, state: 'Established', received: 0 },
  ]);
});
