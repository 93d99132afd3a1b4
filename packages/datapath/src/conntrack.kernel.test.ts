import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address } from '@causeway/ip';
import type { Connection } from './connections.ts';
import { frame, type Payload } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig } from './testing/rig.ts';

const timeouts = { tcp: 1000, tcpSyn: 50, tcpClose: 10, udp: 40, udpReply: 200, icmp: 30 };
const outside = { ipv4: Address.parse('198.51.100.7'), ipv6: Address.parse('2001:db8:ffff::7') };

describe('conntrack', () => {
  let rig: Rig;
  let a: TestPod;
  let b: TestPod;
  let port = 2000;

  before(() => {
    rig = new Rig({ name: 'ct', number: 1, datapath: { config: { timeouts } } });
    a = rig.addPod(2, 1001);
    b = rig.addPod(3, 1002);
  });
  after(() => rig[Symbol.dispose]());

  const send = (from: TestPod, to: TestPod, payload: Payload, family: 'ipv4' | 'ipv6' = 'ipv4') =>
    rig.run('from_pod', frame({ source: from[family], destination: to[family], payload }), {
      ifindex: from.hostIfindex,
    });
  const find = (sourcePort: number): Connection | undefined =>
    [...rig.datapath.connections.entries()].find((row) => row.sourcePort === sourcePort);
  const about = (actual: number | undefined, expected: number) =>
    assert.ok(
      actual !== undefined && Math.abs(actual - expected) <= 4,
      `${actual} is about ${expected}`,
    );

  for (const family of ['ipv4', 'ipv6'] as const) {
    test(`a TCP connection's life, ${family}`, () => {
      const sport = port++;
      const out = (flags: string) => send(a, b, { type: 'tcp', sport, dport: 80, flags }, family);
      const back = (flags: string) =>
        send(b, a, { type: 'tcp', sport: 80, dport: sport, flags }, family);
      out('S');
      let row = find(sport);
      assert.deepEqual(
        [row?.state, row?.source, row?.destination, row?.sourceIdentity, row?.midstream],
        ['new', a[family], b[family], 1001, false],
      );
      about(row?.expiresInSeconds, timeouts.tcpSyn);
      assert.deepEqual(back('SA').counted, ['to-pod']);
      out('A');
      row = find(sport);
      assert.equal(row?.state, 'established');
      about(row?.expiresInSeconds, timeouts.tcp);
      out('FA');
      assert.equal(find(sport)?.state, 'established', 'half closed');
      back('FA');
      assert.equal(find(sport)?.state, 'closed');
      about(find(sport)?.expiresInSeconds, timeouts.tcpClose);
      // The same ports again: a new connection, asked of policy anew.
      assert.deepEqual(out('S').counted, ['policy-unenforced', 'to-pod']);
      assert.equal(find(sport)?.state, 'new');
      back('RA');
      assert.equal(find(sport)?.state, 'closed', 'reset');
    });

    test(`UDP and echo, ${family}`, () => {
      const sport = port++;
      send(a, b, { type: 'udp', sport, dport: 53 }, family);
      about(find(sport)?.expiresInSeconds, timeouts.udp);
      assert.deepEqual(send(b, a, { type: 'udp', sport: 53, dport: sport }, family).counted, [
        'to-pod',
      ]);
      about(find(sport)?.expiresInSeconds, timeouts.udpReply);
      const id = port++;
      send(a, b, { type: 'echo', id }, family);
      about(find(id)?.expiresInSeconds, timeouts.icmp);
      assert.deepEqual(send(b, a, { type: 'echo', id, reply: true }, family).counted, ['to-pod']);
      assert.equal(find(id)?.state, 'established');
    });
  }

  test('one entry serves both ends of a connection within the node', () => {
    const before = rig.datapath.map('conntrack').map.count();
    const sport = port++;
    send(a, b, { type: 'tcp', sport, dport: 80, flags: 'S' });
    send(b, a, { type: 'tcp', sport: 80, dport: sport, flags: 'SA' });
    assert.equal(rig.datapath.map('conntrack').map.count(), before + 1);
  });

  test('TCP in the middle of a connection is taken up and counted; its end is not', () => {
    const sport = port++;
    const out = send(a, b, { type: 'tcp', sport, dport: 80, flags: 'A' });
    assert.deepEqual(out.counted, ['policy-unenforced', 'tcp-midstream', 'to-pod']);
    assert.equal(find(sport)?.midstream, true);
    const other = port++;
    send(a, b, { type: 'tcp', sport: other, dport: 80, flags: 'R' });
    assert.equal(find(other), undefined);
  });

  test('both fragments and the whole belong to one connection', () => {
    const sport = port++;
    const payload: Payload = { type: 'udp', sport, dport: 53, data: new Uint8Array(100) };
    const before = rig.datapath.map('conntrack').map.count();
    for (const [offset, more] of [
      [0, true],
      [56, false],
    ] as const) {
      const out = rig.run(
        'from_pod',
        frame({
          source: a.ipv4,
          destination: b.ipv4,
          payload,
          fragment: { id: 5, offset, more, length: 56 },
        }),
        { ifindex: a.hostIfindex },
      );
      assert.equal(out.verdict, 'redirect');
    }
    assert.equal(rig.datapath.map('conntrack').map.count(), before + 1);
  });

  test('an expired entry is as good as none, and is collected', () => {
    const sport = port++;
    send(a, b, { type: 'udp', sport, dport: 53 });
    const { connections } = rig.datapath;
    const later = process.hrtime.bigint() + 45_000_000_000n;
    assert.equal(connections.collect(), 0);
    assert.ok(connections.collect(later) >= 1);
    assert.equal(find(sport), undefined);
  });

  test('from the network: a pod is reached, its answers go out, a stranger with a local address does not come in', () => {
    const from = (source: Address, destination: Address, payload: Payload) =>
      rig.run('from_network', frame({ source, destination, payload }), { ifindex: 1 });
    for (const family of ['ipv4', 'ipv6'] as const) {
      const sport = port++;
      const syn = from(outside[family], a[family], { type: 'tcp', sport, dport: 80, flags: 'S' });
      assert.deepEqual([syn.verdict, syn.counted], ['redirect', ['policy-unenforced', 'to-pod']]);
      assert.deepEqual([syn.frame.ttl, syn.frame.destinationMac], [63, a.mac]);
      assert.equal(find(sport)?.sourceIdentity, 2, 'world');
      const answer = rig.run(
        'from_pod',
        frame({
          source: a[family],
          destination: outside[family],
          payload: { type: 'tcp', sport: 80, dport: sport, flags: 'SA' },
        }),
        { ifindex: a.hostIfindex },
      );
      assert.deepEqual(answer.counted, ['to-stack']);
      assert.equal(find(sport)?.state, 'established');

      const spoof = from(b[family], a[family], {
        type: 'tcp',
        sport: port++,
        dport: 80,
        flags: 'S',
      });
      assert.deepEqual([spoof.verdict, spoof.counted], ['drop', ['spoofed-source']]);
      // Not by the back door of a connection that is there either.
      const known = port++;
      send(b, a, { type: 'tcp', sport: known, dport: 80, flags: 'S' }, family);
      const guess = from(b[family], a[family], {
        type: 'tcp',
        sport: known,
        dport: 80,
        flags: 'A',
      });
      assert.deepEqual(guess.counted, ['spoofed-source']);
    }
    const past = from(outside.ipv4, Address.parse('203.0.113.50'), { type: 'echo', id: 1 });
    assert.deepEqual([past.verdict, past.counted], ['pass', ['to-stack']]);
  });

  test('from the stack: only to the pod behind this very device', () => {
    const to = (pod: TestPod, ifindex: number, mark = 0) =>
      rig.run(
        'to_pod',
        frame({
          source: rig.gateway4,
          destination: pod.ipv4,
          payload: { type: 'tcp', sport: port++, dport: 80, flags: 'S' },
        }),
        { ifindex, mark },
      );
    assert.deepEqual(
      [to(a, a.hostIfindex).verdict, to(a, a.hostIfindex).counted],
      ['pass', ['to-pod']],
    );
    assert.deepEqual(to(a, b.hostIfindex).counted, ['no-endpoint']);
  });
});
