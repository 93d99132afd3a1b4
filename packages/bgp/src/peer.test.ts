import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Address } from '@causeway/ip';
import { Asn, Peer, type PeerConfig, RouterId } from '../index.ts';
import { connectionIds, seededRandom, VirtualLink } from '../testing/peers.ts';

const base = (name: string, asn: number, routerId: string, remote: string): PeerConfig => ({
  name,
  target: { address: Address.parse(remote) },
  asn: 'any',
  localAsn: Asn.of(asn),
  routerId: RouterId.parse(routerId),
  families: [{ family: 'ipv4-unicast' }, { family: 'ipv6-unicast' }],
});

function pair(
  change: { a?: Partial<PeerConfig>; b?: Partial<PeerConfig>; seed?: number; delay?: number } = {},
): VirtualLink {
  const random = seededRandom(change.seed ?? 1);
  const nextConnection = connectionIds();
  const a = new Peer(
    { ...base('a', 65001, '10.0.0.1', '192.0.2.2'), ...change.a },
    { random, nextConnection },
  );
  const b = new Peer(
    { ...base('b', 65002, '10.0.0.2', '192.0.2.1'), ...change.b },
    { random, nextConnection },
  );
  return new VirtualLink(a, b, { delay: () => change.delay ?? 1 + random() * 20 });
}

const start = (link: VirtualLink) => {
  link.input(link.a, { type: 'start' });
  link.input(link.b, { type: 'start' });
};

test('two peers come up, whoever connects, and leave one connection', () => {
  for (let seed = 1; seed < 60; seed++) {
    const link = pair({ seed });
    start(link);
    assert.ok(
      link.run(60_000, () => link.established),
      `seed ${seed}`,
    );
    link.run(5_000);
    assert.ok(link.established, `seed ${seed}: stays`);
    assert.equal(link.openConnections, 1, `seed ${seed}`);
    link.run(600_000);
    assert.ok(link.established, `seed ${seed}: keep-alives`);
    const ups = link.a.outputs.filter((one) => one.type === 'established');
    assert.equal(ups.length, 1, `seed ${seed}: once`);
  }
});
