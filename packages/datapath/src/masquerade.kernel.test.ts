import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Address, Prefix } from '@causeway/ip';
import fc from 'fast-check';
import { dissect } from './testing/dissect.ts';
import { frame, type Payload, packetOf } from './testing/frames.ts';
import type { TestPod } from './testing/node-site.ts';
import { Rig } from './testing/rig.ts';

const MARK_MASQUERADE = 0x0c5a0002;
const MARK_ROUTED = 0x0c5a0001;
const natPorts = { first: 50_000, last: 50_063 };
const world = { ipv4: Address.parse('198.51.100.7'), ipv6: Address.parse('2001:db8:ffff::7') };
const node = { ipv4: Address.parse('192.0.2.1'), ipv6: Address.parse('2001:db8::1') };
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];

describe('masquerading', () => {
  let rig: Rig;
  let pod: TestPod;
  let port = 3000;
  // cw_host stands in for the network device: what counts is its row.
  let device: number;

  before(() => {
    rig = new Rig({
      name: 'mq',
      number: 1,
      datapath: { config: { masquerade: { ipv4: true, ipv6: true }, natPorts } },
    });
    pod = rig.addPod(2);
    device = rig.options.config.host.ifindex;
    rig.ns.run(() =>
      rig.datapath.setDeviceAddresses({ ifname: 'cw_host', ifindex: device, ...node }),
    );
    rig.datapath.putNodeAddress(node.ipv4);
    rig.datapath.putNodeAddress(node.ipv6);
  });
  after(() => rig[Symbol.dispose]());

  /** Through both programs, as a packet goes. */
  function leave(bytes: Uint8Array) {
    const first = rig.run('from_pod', bytes, { ifindex: pod.hostIfindex });
    const second = rig.run('to_network', first.bytes, { ifindex: device, mark: first.mark });
    return { ...second, frame: dissect(second.bytes), firstMark: first.mark };
  }
  const arrive = (bytes: Uint8Array) => rig.run('from_network', bytes, { ifindex: device });
  const out = (family: Family, payload: Payload, destination = world[family]) =>
    leave(frame({ source: pod[family], destination, payload }));

  for (const family of FAMILIES) {
    for (const type of ['tcp', 'udp'] as const) {
      test(`${type}, ${family}: out with the node's address and a port of its range, and back`, () => {
        const sport = port++;
        const sent = out(family, { type, sport, dport: 443, data: Uint8Array.of(1, 2, 3) });
        assert.equal(sent.verdict, 'pass');
        assert.equal(sent.firstMark, MARK_MASQUERADE);
        assert.deepEqual(
          [
            sent.frame.source,
            sent.frame.destination,
            sent.frame.dport,
            sent.frame.ipChecksum,
            sent.frame.l4Checksum,
          ],
          [node[family], world[family], 443, true, true],
        );
        const natPort = sent.frame.sport!;
        assert.ok(natPort >= natPorts.first && natPort <= natPorts.last, `port ${natPort}`);
        assert.equal(
          out(family, { type, sport, dport: 443 }).frame.sport,
          natPort,
          'the same again',
        );

        const answer = arrive(
          frame({
            source: world[family],
            destination: node[family],
            payload: { type, sport: 443, dport: natPort, data: Uint8Array.of(4, 5) },
          }),
        );
        assert.deepEqual([answer.verdict, answer.counted], ['redirect', ['to-pod']]);
        const { frame: got } = answer;
        assert.deepEqual(
          [got.source, got.destination, got.sport, got.dport, got.l4Checksum, got.ipChecksum],
          [world[family], pod[family], 443, sport, true, true],
        );
      });
    }

    test(`echo, ${family}: the identifier is the port`, () => {
      const id = port++;
      const sent = out(family, { type: 'echo', id });
      assert.deepEqual([sent.frame.source, sent.frame.l4Checksum], [node[family], true]);
      const answer = arrive(
        frame({
          source: world[family],
          destination: node[family],
          payload: { type: 'echo', id: sent.frame.id!, reply: true },
        }),
      );
      assert.deepEqual(
        [answer.verdict, answer.frame.destination, answer.frame.id, answer.frame.l4Checksum],
        ['redirect', pod[family], id, true],
      );
    });

    test(`an error about a masqueraded packet reaches its pod, ${family}`, () => {
      for (const type of ['udp', 'echo'] as const) {
        const sport = port++;
        const payload: Payload = type === 'udp' ? { type, sport, dport: 53 } : { type, id: sport };
        const sent = out(family, payload);
        const router = family === 'ipv4' ? '203.0.113.1' : '2001:db8:f::1';
        const error = arrive(
          frame({
            source: Address.parse(router),
            destination: node[family],
            payload: {
              type: 'icmp',
              icmpType: family === 'ipv4' ? 3 : 1,
              code: family === 'ipv4' ? 1 : 0,
              body: packetOf(sent.bytes, 48),
            },
          }),
        );
        assert.deepEqual([error.verdict, error.counted], ['redirect', ['to-pod']]);
        const { frame: got } = error;
        assert.deepEqual(
          [got.source, got.destination, got.l4Checksum, got.ipChecksum],
          [router, pod[family], true, true],
        );
        assert.deepEqual(
          [
            got.quoted?.source,
            got.quoted?.destination,
            got.quoted?.ipChecksum,
            got.quoted?.sport ?? got.quoted?.id,
          ],
          [pod[family], world[family], true, sport],
        );
      }
    });

    test(`a pod's own error about an answer leaves in the node's name, ${family}`, () => {
      const sport = port++;
      const sent = out(family, { type: 'udp', sport, dport: 53 });
      const answer = arrive(
        frame({
          source: world[family],
          destination: node[family],
          payload: { type: 'udp', sport: 53, dport: sent.frame.sport! },
        }),
      );
      const error = out(family, {
        type: 'icmp',
        icmpType: family === 'ipv4' ? 3 : 1,
        code: family === 'ipv4' ? 3 : 4,
        body: packetOf(answer.bytes, 48),
      });
      assert.equal(error.verdict, 'pass');
      assert.deepEqual(
        [
          error.frame.source,
          error.frame.l4Checksum,
          error.frame.quoted?.destination,
          error.frame.quoted?.dport,
        ],
        [node[family], true, node[family], sent.frame.sport],
      );
    });

    test(`fragments leave together, ${family}`, () => {
      const sport = port++;
      const payload: Payload = { type: 'udp', sport, dport: 53, data: new Uint8Array(100).fill(9) };
      const part = (offset: number, more: boolean) =>
        leave(
          frame({
            source: pod[family],
            destination: world[family],
            payload,
            fragment: { id: 77, offset, more, length: 56 },
          }),
        );
      const first = part(0, true);
      const second = part(56, false);
      assert.deepEqual(
        [first.frame.source, second.frame.source, first.frame.ipChecksum, second.frame.ipChecksum],
        [node[family], node[family], true, true],
      );
      // Put together again the checksum holds.
      const start = family === 'ipv4' ? 34 : 62;
      const l4 = Uint8Array.from([...first.bytes.slice(start), ...second.bytes.slice(start)]);
      const whole = frame({
        source: node[family],
        destination: world[family],
        payload: { type: 'raw', protocol: 17, data: l4 },
      });
      assert.equal(dissect(whole).l4Checksum, true);
    });

    test(`exceptions, the cluster, and answers to callers keep the pod's address, ${family}`, () => {
      const { datapath } = rig;
      const exception = Prefix.host(world[family]);
      datapath.natExceptions.replace([
        Prefix.parse(family === 'ipv4' ? '198.51.100.0/24' : '2001:db8:ffff::/48'),
      ]);
      const kept = out(family, { type: 'udp', sport: port++, dport: 53 });
      assert.deepEqual([kept.firstMark, kept.frame.source], [MARK_ROUTED, pod[family]]);
      // ::/0 means IPv6 alone.
      datapath.natExceptions.replace([Prefix.parse(family === 'ipv4' ? '::/0' : '0.0.0.0/0')]);
      assert.equal(
        out(family, { type: 'udp', sport: port++, dport: 53 }).frame.source,
        node[family],
      );
      datapath.natExceptions.replace([]);
      datapath.ipcache.put(exception, {
        identity: 6,
        tunnelEndpoint: undefined,
        noMasquerade: true,
        isProtected: false,
        isNode: true,
      });
      assert.equal(
        out(family, { type: 'udp', sport: port++, dport: 53 }).frame.source,
        pod[family],
      );
      datapath.ipcache.deleteAll([exception]);

      const sport = port++;
      arrive(
        frame({
          source: world[family],
          destination: pod[family],
          payload: { type: 'udp', sport, dport: 9999 },
        }),
      );
      const answer = out(family, { type: 'udp', sport: 9999, dport: sport });
      assert.deepEqual([answer.firstMark, answer.frame.source], [MARK_ROUTED, pod[family]]);
    });
  }

  test('UDP without a checksum stays without', () => {
    const sent = out('ipv4', { type: 'udp', sport: port++, dport: 53, checksum: 'zero' });
    assert.deepEqual([sent.frame.source, sent.frame.l4Checksum], [node.ipv4, 'absent']);
  });

  test('SCTP and others change their address alone', () => {
    const data = Uint8Array.from([0x13, 0x88, 0x13, 0x89, ...new Uint8Array(20)]);
    const sent = out('ipv4', { type: 'raw', protocol: 132, data });
    assert.deepEqual([sent.frame.source, sent.frame.sport], [node.ipv4, 5000]);
    const back = Uint8Array.from([0x13, 0x89, 0x13, 0x88, ...new Uint8Array(20)]);
    const answer = arrive(
      frame({
        source: world.ipv4,
        destination: node.ipv4,
        payload: { type: 'raw', protocol: 132, data: back },
      }),
    );
    assert.deepEqual([answer.verdict, answer.frame.destination], ['redirect', pod.ipv4]);
  });

  test('what is not ours goes to the node', () => {
    for (const payload of [
      { type: 'udp', sport: 53, dport: 40_000 },
      { type: 'udp', sport: 53, dport: 50_001 },
      { type: 'echo', id: 50_001 },
    ] as const) {
      const got = arrive(
        frame({ source: Address.parse('198.51.100.99'), destination: node.ipv4, payload }),
      );
      assert.deepEqual([got.verdict, got.counted], ['pass', ['to-stack']]);
    }
  });

  test('ports are never shared, and running out says so', () => {
    const destination = Address.parse('198.51.100.200');
    const seen = new Set<number>();
    let refused = 0;
    for (let i = 0; i < 80; i++) {
      const sent = out('ipv4', { type: 'udp', sport: 20_000 + i, dport: 53 }, destination);
      if (sent.verdict === 'drop') {
        assert.ok(sent.counted.includes('nat-no-port'));
        refused++;
        continue;
      }
      assert.ok(!seen.has(sent.frame.sport!), 'given twice');
      seen.add(sent.frame.sport!);
    }
    assert.ok(refused >= 16 && seen.size > 32, `${refused} refused, ${seen.size} given`);
  });

  test('either half of a translation is made again from the other', () => {
    for (const direction of [0, 1]) {
      const sport = port++;
      const before = out('ipv4', { type: 'udp', sport, dport: 53 }).frame.sport;
      const nat = rig.datapath.map('nat');
      for (const [key, value] of nat.entries()) {
        const ours = direction === 0 ? key.sport === sport : value.port === sport;
        if (ours && key.direction === direction) assert.ok(nat.delete(key));
      }
      assert.equal(out('ipv4', { type: 'udp', sport, dport: 53 }).frame.sport, before);
      const answer = arrive(
        frame({
          source: world.ipv4,
          destination: node.ipv4,
          payload: { type: 'udp', sport: 53, dport: before! },
        }),
      );
      assert.equal(answer.frame.dport, sport);
    }
  });

  test('checksums hold for any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.constantFrom<Family>('ipv4', 'ipv6'),
        fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
        fc.integer({ min: 1, max: 65_535 }),
        (data, family, type, dport) => {
          const destination = Address.add(world[family], dport % 64);
          const sent = out(family, { type, sport: 1234, dport, data }, destination);
          if (sent.verdict === 'drop') return;
          assert.deepEqual([sent.frame.ipChecksum, sent.frame.l4Checksum], [true, true]);
          assert.deepEqual(sent.frame.payload, data);
        },
      ),
      { numRuns: 80 },
    );
  });

  test('a device without an address lets nothing out under a pod’s', () => {
    rig.ns.run(() => rig.datapath.setDeviceAddresses({ ifname: 'cw_host', ifindex: device }));
    assert.deepEqual(out('ipv4', { type: 'udp', sport: port++, dport: 53 }).counted, [
      'nat-no-address',
    ]);
  });
});
