import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IpEntry, RawEntry } from './entry.ts';
import { IpEntries } from './ip-entries.ts';
import { rawEntry } from './places.ts';

const PORTS = [{ name: 'http', port: 80, protocol: 'TCP' as const }];

const raw = (address: string, identity = 300, more: Partial<RawEntry> = {}): RawEntry =>
  rawEntry(address, { identity, ...more });

const seenBy = (entries: IpEntries, name: string, of?: 'ports') => {
  const changes = entries.changes(name, of);
  return () => {
    const prefixes: string[] = [];
    changes.take(1000, (slot) => prefixes.push(entries.prefixAt(slot)));
    return prefixes.sort();
  };
};

test('the own cluster has an address, else who held it first; the next one comes after it', () => {
  const entries = new IpEntries('east');
  entries.put('west', raw('10.0.0.1', 200_000));
  entries.put('north', raw('10.0.0.1', 300_000));
  assert.equal(entries.winner('10.0.0.1')?.cluster, 'west');
  entries.put('east', raw('10.0.0.1', 70_000, { pod: 'shop/web' }));
  assert.deepEqual(
    entries.claims('10.0.0.1').map(({ cluster }) => cluster),
    ['east', 'west', 'north'],
  );
  assert.equal(entries.contested, 2);
  assert.equal(entries.winner('10.0.0.1')?.pod, 'shop/web');
  const printed = entries.printed(10).map(({ cluster, yieldsTo }) => [cluster, yieldsTo]);
  assert.deepEqual(printed.sort(), [
    ['east', undefined],
    ['north', 'east'],
    ['west', 'east'],
  ]);
  entries.delete('east', '10.0.0.1');
  entries.delete('west', '10.0.0.1');
  assert.equal(entries.winner('10.0.0.1')?.cluster, 'north');
  assert.equal(entries.get('east', '10.0.0.1'), undefined);
});

test('an address and its /32 are two entries, and the address comes first', () => {
  const entries = new IpEntries('east');
  entries.put('east', raw('10.0.0.1/32', 1_000));
  assert.equal(entries.winner('10.0.0.1')?.identity, 1_000);
  entries.put('east', raw('10.0.0.1', 2_000));
  assert.equal(entries.winner('10.0.0.1/32')?.identity, 2_000);
  assert.equal(entries.size, 2);
  entries.delete('east', '10.0.0.1');
  assert.equal(entries.winner('10.0.0.1')?.address, '10.0.0.1/32');
});

test('a reader is told of each place once, also when it went and came back meanwhile', () => {
  const entries = new IpEntries('east');
  entries.put('east', raw('10.0.0.1'));
  const all = seenBy(entries, 'all');
  const ports = seenBy(entries, 'ports', 'ports');
  assert.deepEqual([all(), ports()], [['10.0.0.1/32'], []]);
  for (let round = 0; round < 100; round++) {
    entries.put('east', raw('10.0.0.2', 300 + round, { ports: PORTS }));
    entries.put('west', raw('10.0.0.2', 900 + round));
    entries.delete('east', '10.0.0.2');
    entries.delete('west', '10.0.0.2');
    entries.delete('east', '10.0.0.1');
    entries.put('west', raw('10.0.0.1', 400 + round));
    entries.delete('west', '10.0.0.1');
    entries.put('east', raw('10.0.0.1', 400 + round));
  }
  assert.deepEqual(all(), ['10.0.0.1/32', '10.0.0.2/32']);
  assert.deepEqual(ports(), ['10.0.0.2/32']);
  assert.deepEqual([all(), ports()], [[], []]);
  // What is put as it stands is no change, and what waits behind another is none either.
  entries.put('east', raw('10.0.0.1', 499));
  entries.put('west', raw('10.0.0.1', 499));
  assert.deepEqual(all(), []);
});

test('what a list does not show goes with its end, in its cluster only, whatever breaks before', () => {
  const entries = new IpEntries('east');
  for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) entries.put('west', raw(address));
  entries.put('east', raw('10.9.0.1'));
  for (let broken = 0; broken < 600; broken++) {
    entries.beginList('west');
    entries.put('west', raw(`10.0.0.${1 + (broken % 3)}`));
  }
  entries.beginList('west');
  entries.put('west', raw('10.0.0.2', 301));
  entries.put('west', raw('10.0.0.4'));
  assert.equal(entries.endList('west'), 2);
  assert.deepEqual([...entries.entriesOf('west')].map(({ address }) => address).sort(), [
    '10.0.0.2',
    '10.0.0.4',
  ]);
  assert.equal(entries.count('east'), 1);
  assert.equal(entries.drain('west'), 2);
  assert.equal(entries.size, 1);
});

test('a change of what lies towards a host is told for all entries behind it', () => {
  const entries = new IpEntries('east');
  const host = '192.0.2.7' as never;
  entries.put('west', raw('10.0.0.1', 300, { host }));
  entries.put('west', raw('10.0.0.2', 300, { host: '192.0.2.8' as never }));
  entries.put('west', raw('10.0.0.3', 300, { host }));
  const all = seenBy(entries, 'all');
  all();
  entries.touch([host, '192.0.2.99' as never]);
  assert.deepEqual(all(), ['10.0.0.1/32', '10.0.0.3/32']);
});

test('nobody listens for long: hosts, ports and slots are let go with the entries', () => {
  const entries = new IpEntries('east');
  for (let n = 0; n < 50_000; n++) {
    const host = `192.0.${(n >> 8) & 255}.${n & 255}` as never;
    const ports = [{ name: `p${n}`, port: 80, protocol: 'TCP' as const }];
    entries.put('west', raw('10.0.0.1', 300, { host, ports }));
    entries.put('west', raw(`10.1.${(n >> 8) & 255}.${n & 255}`, 300, { host, ports }));
    entries.delete('west', `10.1.${(n >> 8) & 255}.${n & 255}`);
  }
  assert.equal(entries.size, 1);
  assert.ok(entries.bytes < 64 * 1024, `${entries.bytes} bytes for one entry`);
  assert.deepEqual(entries.get('west', '10.0.0.1')?.namedPorts[0]?.name, 'p49999');
});

test('more than is taken of a cluster is refused, and what is there can still change', () => {
  const entries = new IpEntries('east');
  const one = { entries: 1, portBytes: 1000 };
  entries.put('west', raw('10.0.0.1'), one);
  assert.throws(() => entries.put('west', raw('10.0.0.2'), one), { code: 'too-many' });
  entries.put('west', raw('10.0.0.1', 301), one);
  assert.equal(entries.winner('10.0.0.1')?.identity, 301);
});

test('different sets of named ports are limited for each cluster; a refused one changes nothing', () => {
  const entries = new IpEntries('east');
  const most = { entries: 1000, portBytes: 2 * 104 };
  const named = (name: string) => ({ ports: [{ name, port: 80, protocol: 'TCP' as const }] });
  // One set is counted once, however many entries have it.
  for (let n = 1; n <= 50; n++) entries.put('west', raw(`10.0.0.${n}`, 300, named('p1')), most);
  entries.put('west', raw('10.0.1.2', 300, named('p2')), most);
  assert.throws(() => entries.put('west', raw('10.0.1.3', 300, named('p3')), most), {
    code: 'too-many',
  });
  assert.equal(entries.get('west', '10.0.1.3'), undefined);
  assert.throws(() => entries.put('west', raw('10.0.0.1', 301, named('p3')), most), {
    code: 'too-many',
  });
  assert.equal(entries.get('west', '10.0.0.1')?.identity, 300);
  entries.put('north', raw('10.3.0.1', 300, named('p3')), most);
  entries.put('west', raw('10.0.1.3', 300, named('p3')), most);
  // What nobody has any more makes room, over and over.
  for (let n = 0; n < 5; n++) {
    entries.delete('west', '10.0.1.2');
    entries.put('west', raw('10.0.1.2', 300, named(`q${n}`)), most);
  }
  entries.put('west', raw('10.0.1.2'), most);
  entries.put('west', raw('10.0.1.4', 300, named('p4')), most);
  assert.equal(entries.get('west', '10.0.1.4')?.namedPorts[0]?.name, 'p4');
});

const CLUSTERS = ['own', 'a', 'b'];
const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constant('put'), fc.constantFrom(...CLUSTERS), fc.nat(40), fc.nat(3)),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(
      fc.constant('delete'),
      fc.constantFrom(...CLUSTERS),
      fc.nat(40),
      fc.constant(0),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constantFrom('begin', 'end', 'drain', 'take'),
      fc.constantFrom(...CLUSTERS),
      fc.nat(20),
      fc.constant(0),
    ),
  },
);

test('whatever happens, winners and claims are those of a plain list, and a reader ends up with the winners', () => {
  const place = (n: number) =>
    n % 5 === 0 ? `10.0.${n}.0/24` : n % 5 === 1 ? `fd00::${n}` : `10.0.0.${n}`;
  fc.assert(
    fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
      const entries = new IpEntries('own');
      const changes = entries.changes('reader');
      const claims = new Map<string, { cluster: string; identity: number }[]>();
      const listed = new Map<string, Set<string>>();
      const told = new Map<string, number | undefined>();
      const take = (most: number) =>
        changes.take(most, (slot) => {
          const winner = entries.winnerAt(slot);
          told.set(entries.prefixAt(slot), winner < 0 ? undefined : entries.identityAt(winner));
        });
      const remove = (cluster: string, keep: (address: string) => boolean) => {
        for (const [address, held] of claims) {
          if (keep(address)) continue;
          claims.set(
            address,
            held.filter((each) => each.cluster !== cluster),
          );
        }
      };
      for (const [what, cluster, n, identity] of commands) {
        const address = place(n);
        const held = claims.get(address) ?? [];
        if (what === 'put') {
          entries.put(cluster, raw(address, 300 + identity));
          const mine = held.find((each) => each.cluster === cluster);
          if (mine !== undefined) mine.identity = 300 + identity;
          else if (cluster === 'own') held.unshift({ cluster, identity: 300 + identity });
          else held.push({ cluster, identity: 300 + identity });
          claims.set(address, held);
          listed.get(cluster)?.add(address);
        } else if (what === 'delete') {
          entries.delete(cluster, address);
          remove(cluster, (each) => each !== address);
        } else if (what === 'begin') {
          entries.beginList(cluster);
          listed.set(cluster, new Set());
        } else if (what === 'end') {
          const seen = listed.get(cluster);
          if (seen === undefined) continue;
          entries.endList(cluster);
          remove(cluster, (each) => seen.has(each));
        } else if (what === 'drain') {
          entries.drain(cluster);
          remove(cluster, () => false);
        } else take(n);
      }
      let size = 0;
      for (const [address, held] of claims) {
        const shown = entries
          .claims(address)
          .map(({ cluster, identity }: IpEntry) => ({ cluster, identity }));
        assert.deepEqual(shown, held);
        size += held.length;
      }
      assert.equal(entries.size, size);
      take(10_000);
      assert.equal(changes.pending, 0);
      for (const [address, [first]] of claims) {
        const prefix = address.includes('/')
          ? address
          : address.includes(':')
            ? `${address}/128`
            : `${address}/32`;
        assert.equal(told.get(prefix), first?.identity, address);
      }
    }),
    { numRuns: 300 },
  );
});
